using Permafrost.Adaptation.Heads;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tasks;

namespace Permafrost.Adaptation;

/// <summary>A parameter of an adapted model and what becomes of it.</summary>
/// <param name="Name">As in the adapter: <c>input_layer.weight</c>, <c>h.0.ln_1.bias</c>, ...</param>
/// <param name="Parameter">The weight.</param>
/// <param name="Group">Its group.</param>
/// <param name="Layer">Its layer, -1 outside the layers.</param>
/// <param name="Unused">Whether the run's inputs never reach it.</param>
/// <param name="Trained">Whether it trains.</param>
public sealed record AdaptedParameter(string Name, Parameter Parameter, GroupName Group, int Layer, bool Unused, bool Trained);

/// <summary>Numbers of weights, as PEFT counts them: whole tables, the new layers included.</summary>
/// <param name="Total">All of them.</param>
/// <param name="Trained">Those that train.</param>
/// <param name="Unused">Those that the model's inputs never reach.</param>
public sealed record ParameterCounts(long Total, long Trained, long Unused)
{
    /// <summary>Share of the trained ones, in percent.</summary>
    public double TrainedPercent => 100.0 * Trained / Total;

    /// <summary>PEFT's line, which users look for.</summary>
    public override string ToString() => FormattableString.Invariant($"trainable params: {Trained:N0} || all params: {Total:N0} || trainable%: {TrainedPercent:F4}");
}

/// <summary>
/// The whole computation in one place: batch -> input layer -> backbone -> readout -> head -> outputs, with a policy that says what trains.
/// Follows FPT of kzl/universal-computation (fpt.py) where the paper's tasks are concerned: dropout after a linear input layer, none after a table.
/// Trained by one thread at a time; with dropout off, several threads may compute at once.
/// </summary>
public sealed partial class AdaptedModel : Module
{
    /// <summary>Gain of the input layer's orthogonal start weights (fpt.py, orth_gain).</summary>
    public const double InputGain = 1.41;

    private readonly Linear? inputLinear;
    private readonly Embedding? inputTable;
    private readonly Embedding? decoderTable;

    // The backbone's dropouts are numbered from 0.
    private const int InputPlace = -1;

    // The number of the thread that trains it; 0 for none.
    private int trainer;
    private bool disposed;

    /// <summary>Adapts a body to a task.</summary>
    /// <param name="weights">The body; not owned, and shared with whatever else is made over it.</param>
    /// <param name="spec">What the task feeds and asks for.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <exception cref="UsageException">The policy trains nothing, or the combination cannot be.</exception>
    /// <exception cref="PermafrostException">The body's weights are missing or damaged, or the task's sequences do not fit it.</exception>
    public AdaptedModel(FrozenWeights weights, TaskSpec spec, AdaptationOptions? options = null)
    {
        options ??= new AdaptationOptions();
        (Weights, Spec, Policy, DropoutProbability) = (weights, spec, options.Policy, options.Dropout);
        Readout = options.Readout ?? Readout.Parse(spec.Readout);
        Device device = options.Device ?? torch.CPU;
        FrozenType = options.FrozenType ?? AdaptationOptions.BestFrozenType(device);
        bool ownTokens = options.PretrainedEmbedding;
        Use = new BackboneUse(!ownTokens, Readout.Kind != ReadoutKind.Decoder ? DecoderUse.None : spec.Output is SequenceOutput ? DecoderUse.Sequence : DecoderUse.FirstToken);
        if (ownTokens && spec.Input is not (IdInput or TextInput))
            throw new UsageException("`input_layer` pretrained-embedding needs a task that feeds ids, and this one feeds vectors; use `input_layer` new");
        if (Readout.Count > spec.Input.Length) throw new UsageException($"`readout` {Readout} reads {Readout.Count} tokens, but the sequences have {spec.Input.Length}");
        Backbone? made = null;
        try
        {
            Backbone = made = weights.CreateBackbone((backbone, name) => UseOf(backbone, name), FrozenType, device);
            Check(options, spec);
            Backbone.DropoutOverride = options.Dropout;
            Backbone.UseDropoutKeys(DropoutKeys);
            (inputLinear, inputTable) = InputLayer(spec.Input, ownTokens, Backbone.Traits.Width);
            Head = Head.For(spec.Output, Readout, Backbone.Traits.Width);
            decoderTable = spec.Output is SequenceOutput answers && !ownTokens ? new Embedding(answers.Vocabulary + 1, Backbone.Traits.Width, Initializers.Normal(1)) : null;
            if (inputLinear is not null) Declare("input_layer", inputLinear);
            if (inputTable is not null) Declare("input_layer", inputTable);
            if (decoderTable is not null) Declare(DecoderInputLayer, decoderTable);
            Declare("output_layer", Head);
            Declare("", Backbone);
            Parameters = [.. List()];
            if (!Parameters.Any(parameter => parameter.Trained))
                throw new UsageException($"`policy` '{Policy}' trains nothing here: no parameter that this run uses is in its groups; try fpt");
            using (torch.no_grad()) foreach (AdaptedParameter parameter in Parameters.Where(IsNew)) Draw(parameter, options.Seed, device);
            StartFromOwnHead(ownTokens);
        }
        catch
        {
            // The backbone may not be declared yet; new layers are, before they hold anything.
            made?.Dispose();
            Dispose();
            throw;
        }
    }

    /// <summary>The body.</summary>
    public FrozenWeights Weights { get; }

    /// <summary>The model in the middle.</summary>
    public Backbone Backbone { get; }

    /// <summary>The output layer with its loss.</summary>
    public Head Head { get; }

    /// <summary>What the task feeds and asks for.</summary>
    public TaskSpec Spec { get; }

    /// <summary>Where the answers are read.</summary>
    public Readout Readout { get; }

    /// <summary>Which parts of the backbone its inputs reach.</summary>
    public BackboneUse Use { get; }

    /// <summary>What trains.</summary>
    public Policy Policy { get; }

    /// <summary>Probability of every dropout.</summary>
    public double DropoutProbability { get; }

    /// <summary>Of frozen weights that are multiplied with.</summary>
    public ScalarType FrozenType { get; }

    /// <summary>Every parameter, the new layers first.</summary>
    public IReadOnlyList<AdaptedParameter> Parameters { get; }

    /// <summary>The parameters that train.</summary>
    public IEnumerable<AdaptedParameter> Trained => Parameters.Where(parameter => parameter.Trained);

    /// <summary>The parameters that must not change.</summary>
    public IEnumerable<AdaptedParameter> Frozen => Parameters.Where(parameter => !parameter.Trained);

    /// <summary>Whether, of the parameters that train, the output layer's alone learn from here on: the others have learnt before, in a stage of their own.</summary>
    internal bool OutputOnly { get; set; }

    /// <summary>The parameters that learn at this stage.</summary>
    internal IEnumerable<AdaptedParameter> Learning => OutputOnly ? Trained.Where(parameter => parameter.Group == GroupName.Output) : Trained;

    /// <summary>Numbers of weights.</summary>
    public ParameterCounts Counts =>
        new(Parameters.Sum(p => p.Parameter.Elements), Trained.Sum(p => p.Parameter.Elements), Parameters.Where(p => p.Unused).Sum(p => p.Parameter.Elements));

    /// <summary>Whether <see cref="Read"/> gives the same at every step: nothing below the output layer trains, and nothing is dropped at random.</summary>
    public bool ReadsConstants =>
        (DropoutProbability == 0 || OutputOnly) && Readout.Kind != ReadoutKind.All && Use.Decoder != DecoderUse.Sequence
        && Learning.All(parameter => parameter.Group == GroupName.Output);

    /// <summary>What dropout's masks follow from.</summary>
    public DropoutKeys DropoutKeys { get; } = new();

    /// <summary>The outputs of a batch, as the head gives them: (B, P, C) logits for classes.</summary>
    /// <param name="inputs">As <see cref="TaskSpec.Input"/> says.</param>
    /// <param name="mask">(B, T), 1 for tokens and 0 for padding; null when nothing is padded.</param>
    /// <exception cref="PermafrostException">The inputs have another shape than the task's.</exception>
    /// <exception cref="ObjectDisposedException">The model was disposed of.</exception>
    /// <exception cref="InvalidOperationException">Another thread is training it.</exception>
    public Tensor Forward(Tensor inputs, Tensor? mask) => Forward(inputs, mask, null);

    /// <summary>The outputs of a batch, of inputs or of what was read from them before. Where a sequence is asked for, the decoder is fed the targets, one place later.</summary>
    /// <exception cref="PermafrostException">The inputs have another shape than the task's.</exception>
    public Tensor Forward(Batch batch) => batch.ReadFrom is null ? Forward(batch.Inputs, batch.Mask, batch.Targets) : Answer(batch.Inputs);

    private Tensor Forward(Tensor inputs, Tensor? mask, Tensor? targets)
    {
        using Turn turn = Begin(inputs);
        if (training && DropoutKeys.CountsForwards) DropoutKeys.Step++;
        using DisposeScope scope = torch.NewDisposeScope();
        if (training && OutputOnly && Use.Decoder != DecoderUse.Sequence) return scope.MoveToOuter(Answer(ReadAsKept(inputs, mask)));
        (inputs, mask) = Trimmed(inputs, mask);
        Tensor? decoderIds = Use.Decoder == DecoderUse.Sequence ? DecoderIds(targets) : null;
        return scope.MoveToOuter(Segment.Run(given => Answer(ReadTrimmed(given, mask, decoderIds)), inputs));
    }

    /// <summary>(B, K, C) hidden states that the output layer reads.</summary>
    /// <exception cref="PermafrostException">The inputs have another shape than the task's.</exception>
    public Tensor Read(Tensor inputs, Tensor? mask)
    {
        using Turn turn = Begin(inputs);
        using DisposeScope scope = torch.NewDisposeScope();
        (inputs, mask) = Trimmed(inputs, mask);
        return scope.MoveToOuter(Segment.Run(given => ReadTrimmed(given, mask, null), inputs));
    }

    // As it is read where the states are computed once: nothing below the output layer learns, so nothing is dropped there, and no gradient goes there.
    private Tensor ReadAsKept(Tensor inputs, Tensor? mask)
    {
        using var noGrad = torch.no_grad();
        eval();
        try
        {
            return Read(inputs, mask);
        }
        finally
        {
            train();
        }
    }

    /// <summary>The outputs from what <see cref="Read"/> gives: the output layer alone.</summary>
    /// <exception cref="ObjectDisposedException">The model was disposed of.</exception>
    public Tensor Answer(Tensor read)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        return Segment.Run(given => Head.Forward(given), read);
    }

    /// <summary>Tokens of a batch that are no padding.</summary>
    public long CountTokens(Batch batch)
    {
        if (batch.ReadFrom is { } read) return read;
        if (batch.Mask is null) return batch.Count * (Spec.Input is PixelInput ? Spec.Input.Length : batch.Inputs.size(1));
        using var scope = torch.NewDisposeScope();
        return batch.Mask.ne(0.Hold()).sum().Integer();
    }

    /// <summary>The trained parameters by name, to be saved as an adapter; the new layers are always among them, since nothing else holds their values.</summary>
    /// <exception cref="ObjectDisposedException">The model was disposed of.</exception>
    public IReadOnlyDictionary<string, Tensor> Adapter()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        return InAdapter.ToDictionary(parameter => parameter.Name, parameter => parameter.Parameter.Value);
    }

    /// <summary>Sets parameters to saved values. Backbone names may carry the prefix of a class with a head.</summary>
    /// <param name="tensors">Values by name.</param>
    /// <param name="source">Names the file in errors.</param>
    /// <param name="complete">Whether every trained parameter must be among them.</param>
    /// <returns>The names of those that are not among them and keep the values they had.</returns>
    /// <exception cref="PermafrostException">A tensor is missing, unknown, frozen here, or has another shape.</exception>
    /// <exception cref="ObjectDisposedException">The model was disposed of.</exception>
    public IReadOnlyList<string> LoadAdapter(IReadOnlyDictionary<string, Tensor> tensors, string source, bool complete)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        Dictionary<string, AdaptedParameter> known = Parameters.ToDictionary(parameter => parameter.Name);
        var found = new Dictionary<string, (AdaptedParameter Parameter, Tensor Value)>();
        foreach ((string stored, Tensor tensor) in tensors)
        {
            string? prefix = Weights.Architecture.BasePrefixes.FirstOrDefault(candidate => stored.StartsWith(candidate, StringComparison.Ordinal));
            string name = prefix is null ? stored : stored[prefix.Length..];
            if (!known.TryGetValue(name, out AdaptedParameter? parameter)) throw new PermafrostException($"{source}: the tensor '{stored}' is no parameter of this run");
            if (!InAdapter.Contains(parameter)) throw new PermafrostException($"{source}: the tensor '{stored}' is frozen under `policy` {Policy}, so an adapter cannot set it");
            if (!tensor.shape.AsSpan().SequenceEqual(parameter.Parameter.Shape))
                throw new PermafrostException(
                    $"{source}: the tensor '{stored}' has the shape {TensorExtensions.FormatShape(tensor.shape)}, " +
                    $"this run's is {TensorExtensions.FormatShape(parameter.Parameter.Shape)}");
            found[name] = (parameter, tensor);
        }
        string[] missing = [.. InAdapter.Select(parameter => parameter.Name).Where(name => !found.ContainsKey(name))];
        if (complete && missing.Length > 0) throw new PermafrostException($"{source}: {missing.Length} trained tensor(s) are missing, the first is '{missing[0]}'");
        // Only what is whole is taken: a model whose adapter is refused is as it was.
        using var noGrad = torch.no_grad();
        foreach ((AdaptedParameter parameter, Tensor value) in found.Values) parameter.Parameter.Value.copy_(value);
        return missing;
    }

    /// <summary>SHA-256 of everything that must not change.</summary>
    public string FrozenSha256() => WeightHash.Of(Frozen.Select(parameter => (parameter.Name, parameter.Parameter)));

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        disposed = true;
        base.Dispose(disposing);
    }

    private IEnumerable<AdaptedParameter> InAdapter => Parameters.Where(parameter => parameter.Trained || IsNew(parameter));

    private static bool IsNew(AdaptedParameter parameter) => parameter.Group is GroupName.Input or GroupName.Output;

    private WeightUse UseOf(Backbone backbone, string name)
    {
        if (backbone.UnusedParameters(Use).Contains(name)) return WeightUse.Unused;
        (GroupName group, int layer) = backbone.GroupOf(name);
        return Policy.Trains(group, layer, Layers(backbone)) && !backbone.ConstantParameters(Use).Contains(name) ? WeightUse.Trained : WeightUse.Frozen;
    }

    // A decoder that does not run has no layers to choose from.
    private int Layers(Backbone backbone) => backbone.Traits.Layers - (Use.Decoder == DecoderUse.None ? backbone.Traits.DecoderLayers : 0);

    private void Check(AdaptationOptions options, TaskSpec spec)
    {
        BackboneTraits traits = Backbone.Traits;
        if (traits.LongestInput < spec.Input.Length)
            throw new PermafrostException(
                $"sequences of {spec.Input.Length} tokens do not fit the backbone's {traits.LongestInput} positions; take a longer backbone or shorter sequences");
        if (Use.Decoder != DecoderUse.None && !traits.EncoderDecoder)
            throw new UsageException($"`readout` {Readout}: {Backbone.Config.ModelType} has no decoder behind an encoder; use last, first, mean or last:K");
        Policy.CheckLayers(Layers(Backbone));
        if (spec.Output is SequenceOutput sequence && traits.LongestInput < sequence.Length)
            throw new PermafrostException(
                $"answers of {sequence.Length} tokens do not fit the decoder's {traits.LongestInput} positions; take a longer backbone or shorter answers");
        int? vocabulary = spec.Input is IdInput ids ? ids.Vocabulary : (spec.Input as TextInput)?.Vocabulary;
        if (!options.PretrainedEmbedding || vocabulary is null) return;
        vocabulary = Math.Max(vocabulary.Value, (spec.Output as SequenceOutput)?.Vocabulary ?? 0);
        if (traits.Vocabulary is null) throw new UsageException($"`input_layer` pretrained-embedding: {Backbone.Config.ModelType} has no token table; use `input_layer` new");
        if (vocabulary > traits.Vocabulary)
            throw new PermafrostException($"the task has ids up to {vocabulary - 1}, but the backbone's token table has {traits.Vocabulary} rows; use `input_layer` new");
    }

    private static (Linear? Linear, Embedding? Table) InputLayer(InputSpec input, bool ownTokens, int width)
    {
        Linear Map(int size) => new(size, width, weightInitializer: Initializers.Orthogonal(InputGain), biasInitializer: Initializers.Zeros);
        return input switch
        {
            VectorInput vectors => (Map(vectors.Size), null),
            PixelInput pixels => (Map(pixels.PatchSize), null),
            IdInput ids => (null, ownTokens ? null : new Embedding(ids.Vocabulary, width, Initializers.Normal(1))),
            TextInput text => (null, ownTokens ? null : new Embedding(text.Vocabulary, width, Initializers.Normal(1))),
            _ => throw new ArgumentException($"there is no input layer for {input.GetType().Name}", nameof(input)),
        };
    }

    private IEnumerable<AdaptedParameter> List()
    {
        HashSet<string> unused = [.. Backbone.UnusedParameters(Use)], constant = [.. Backbone.ConstantParameters(Use)];
        foreach ((string name, Parameter parameter) in NamedParameters())
        {
            bool isInput = name.StartsWith("input_layer.", StringComparison.Ordinal) || name.StartsWith($"{DecoderInputLayer}.", StringComparison.Ordinal);
            bool isNew = isInput || name.StartsWith("output_layer.", StringComparison.Ordinal);
            (GroupName group, int layer) = isNew ? (isInput ? GroupName.Input : GroupName.Output, -1) : Backbone.GroupOf(name);
            bool reached = isNew || !unused.Contains(name);
            bool trains = reached && Policy.Trains(group, layer, Layers(Backbone)) && !constant.Contains(name);
            yield return new AdaptedParameter(name, parameter, group, layer, Unused: !reached, Trained: trains);
        }
    }

    private static void Draw(AdaptedParameter parameter, long seed, Device device)
    {
        using Generator random = Initializers.GeneratorFor(seed, parameter.Name);
        parameter.Parameter.Initialize(random);
        parameter.Parameter.To(device);
        if (parameter.Trained) parameter.Parameter.Train();
    }

    private Tensor ReadTrimmed(Tensor inputs, Tensor? mask, Tensor? decoderIds)
    {
        if (Spec.Input is PixelInput pixels) inputs = pixels.Cut(inputs);
        Tensor vectors = Embed(inputs);  // (B, T, width)
        Tensor? positions = Readout.Positions(mask, vectors.size(0), vectors.size(1), vectors.device);
        var input = new ModelInputs(InputsEmbeds: vectors, AttentionMask: mask, ReadPositions: positions);
        if (Use.Decoder == DecoderUse.FirstToken)
        {
            Scalar start = Backbone.Traits.DecoderStart!.Value.Hold();
            input = input with { DecoderInputIds = torch.full([vectors.size(0), 1], start, ScalarType.Int64, vectors.device) };
        }
        if (Use.Decoder == DecoderUse.Sequence)
        {
            if (decoderIds is null)
                throw new InvalidOperationException("this model answers with sequences, which have no states to read before they are there; use Forward of a batch, or Generate");
            input = input with { DecoderInputsEmbeds = EmbedAnswers(decoderIds) };
        }
        Tensor hidden = Backbone.Forward(input).LastHiddenState;
        return positions is null ? Readout.Read(hidden, mask) : hidden;
    }

    private Tensor Embed(Tensor inputs)
    {
        if (inputLinear is null) return inputTable is not null ? inputTable.Forward(inputs) : Backbone.EmbedTokens(inputs);
        Tensor vectors = inputLinear.Forward(inputs);
        return vectors.FusedDropout(training && DropoutProbability > 0 ? DropoutKeys.Draw(DropoutProbability, InputPlace) : DropoutDraw.None);
    }

    private (Tensor Inputs, Tensor? Mask) Trimmed(Tensor inputs, Tensor? mask) =>
        mask is not null && Backbone.Traits.Causal && Readout.Kind != ReadoutKind.All ? WithoutPaddedTail(inputs, mask, Readout.Count) : (inputs, mask);

    // Tokens after the last one of the batch that counts: none that counts sees them, so they need not be computed.
    private static (Tensor Inputs, Tensor? Mask) WithoutPaddedTail(Tensor inputs, Tensor mask, int least)
    {
        long[] counts = mask.ne(0.Hold()).to(ScalarType.Int64).sum([0]).ToArray<long>();
        int used = Array.FindLastIndex(counts, count => count > 0) + 1;
        if (used == 0) return (inputs, mask);
        used = Math.Min(counts.Length, Math.Max(used, least));
        // Without padding there is no mask to look at either.
        bool full = counts.AsSpan(0, used).IndexOfAnyExcept(mask.size(0)) < 0;
        return (inputs.narrow(1, 0, used).contiguous(), full ? null : mask.narrow(1, 0, used).contiguous());
    }

    // One sentence for what would be a crash, or a wrong result, further in.
    private Turn Begin(Tensor inputs)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        bool fits = Spec.Input switch
        {
            VectorInput vectors => inputs.Dimensions == 3 && inputs.size(2) == vectors.Size,
            PixelInput pixels => inputs.Dimensions == 4 && inputs.size(1) == pixels.Channels && inputs.size(2) == pixels.Height && inputs.size(3) == pixels.Width,
            _ => inputs.Dimensions == 2,
        };
        if (!fits) throw new PermafrostException($"the inputs are {inputs.Describe()}; this model takes {Spec.Input}");
        return training ? new Turn(this) : default;
    }

    /// <summary>Keeps other threads from training it, until it is disposed of.</summary>
    /// <exception cref="InvalidOperationException">Another thread is training it.</exception>
    /// <exception cref="ObjectDisposedException">The model was disposed of.</exception>
    internal IDisposable BeginTraining()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        return new Turn(this);
    }

    // Dropout keys, and the gradients that a forward pass leads to, belong to one training at a time.
    private readonly struct Turn : IDisposable
    {
        private readonly AdaptedModel? owner;

        public Turn(AdaptedModel model)
        {
            int thread = Environment.CurrentManagedThreadId;
            int before = Interlocked.CompareExchange(ref model.trainer, thread, 0);
            if (before != 0 && before != thread)
                throw new InvalidOperationException("another thread is training this model; make one model for each thread, over the same weights");
            if (before == 0) owner = model;
        }

        public void Dispose()
        {
            if (owner is not null) Volatile.Write(ref owner.trainer, 0);
        }
    }
}
