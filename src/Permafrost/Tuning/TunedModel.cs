using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tasks;

namespace Permafrost.Tuning;

/// <summary>A parameter of a tuned model and what becomes of it.</summary>
/// <param name="Name">As in the adapter: <c>input_layer.weight</c>, <c>h.0.ln_1.bias</c>, ...</param>
/// <param name="Parameter">The weight.</param>
/// <param name="Group">Its group.</param>
/// <param name="Layer">Its layer, -1 outside the layers.</param>
/// <param name="Unused">Whether the run's inputs never reach it.</param>
/// <param name="Trained">Whether it trains.</param>
public sealed record TunedParameter(string Name, Parameter Parameter, GroupName Group, int Layer, bool Unused, bool Trained);

/// <summary>
/// The whole computation in one place: batch -> input layer -> backbone -> readout -> output layer -> logits, with a policy that says what trains.
/// Follows FPT of kzl/universal-computation (fpt.py) where the paper's tasks are concerned: dropout after a linear input layer, none after a table.
/// </summary>
public sealed class TunedModel : IDisposable
{
    /// <summary>Gain of the input layer's orthogonal start weights (fpt.py, orth_gain).</summary>
    public const double InputGain = 1.41;

    private readonly Linear? inputLinear;
    private readonly Embedding? inputTable;
    private readonly Linear outputLayer;

    // The backbone's dropouts are numbered from 0.
    private const int InputPlace = -1;

    /// <summary>Wraps a backbone for a task.</summary>
    /// <param name="backbone">The backbone with its weights; from now on owned by this model.</param>
    /// <param name="shape">What the task feeds and asks for.</param>
    /// <param name="readout">Where the answers are read.</param>
    /// <param name="policy">What trains.</param>
    /// <param name="ownTokens">Feed ids through the backbone's own token table instead of a new one (Ballout et al. 2023).</param>
    /// <param name="dropout">Probability of every dropout.</param>
    /// <param name="seed">Of the new layers' start values.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="frozenType">Of frozen weights that are multiplied with: float32 or bfloat16.</param>
    /// <exception cref="UsageException">The policy trains nothing, or the combination cannot be.</exception>
    public TunedModel(
        Backbone backbone, TaskShape shape, Readout readout, Policy policy, bool ownTokens, double dropout, long seed, Device device, ScalarType frozenType = ScalarType.Float32)
    {
        (Backbone, Shape, Readout, Policy, Dropout, FrozenType) = (backbone, shape, readout, policy, dropout, frozenType);

        if (shape.Targets % readout.Count != 0) throw new UsageException($"--readout {readout} reads {readout.Count} tokens, which do not share {shape.Targets} answers evenly");
        if (ownTokens && shape.FeedsVectors)
            throw new UsageException("--input-layer pretrained-embedding needs a task that feeds ids, and this one feeds vectors; use --input-layer new");
        if (backbone.MaxPositions < shape.SequenceLength)
            throw new PermafrostException(
                $"sequences of {shape.SequenceLength} tokens do not fit the backbone's {backbone.MaxPositions} positions; take a longer backbone or shorter sequences");
        if (readout.Count > shape.SequenceLength) throw new UsageException($"--readout {readout} reads {readout.Count} tokens, but the sequences have {shape.SequenceLength}");
        policy.CheckLayers(backbone.Layers);
        backbone.DropoutOverride = dropout;
        backbone.UseDropoutKeys(DropoutKeys);
        if (shape.VectorSize is { } size)
            inputLinear = new Linear(size, backbone.Width, weightInitializer: Initializers.Orthogonal(InputGain), biasInitializer: Initializers.Zeros);
        else if (!ownTokens)
            inputTable = new Embedding(shape.Vocabulary!.Value, backbone.Width, Initializers.Normal(1));
        outputLayer = new Linear(backbone.Width, shape.Targets / readout.Count * shape.Classes);
        using (torch.no_grad()) foreach ((string name, Parameter parameter) in NewLayers()) Draw(name, parameter, seed);
        Parameters = [.. Declare(ownTokens)];
        if (!Parameters.Any(parameter => parameter.Trained))
            throw new UsageException($"--policy '{policy}' trains nothing here: no parameter that this run uses is in its groups; try fpt");
        backbone.UseActivationType(frozenType);
        foreach (TunedParameter parameter in Parameters)
        {
            if (!parameter.Parameter.HasValue) continue;
            parameter.Parameter.To(device);
            if (parameter.Trained) parameter.Parameter.Value.requires_grad = true;
            else if (FrozenType == ScalarType.BFloat16 && !InAdapter.Contains(parameter)) parameter.Parameter.FreezeAsBFloat16();
        }
        Workspace.Trim();
    }

    /// <summary>The model in the middle.</summary>
    public Backbone Backbone { get; }

    /// <summary>What the task feeds and asks for.</summary>
    public TaskShape Shape { get; }

    /// <summary>Where the answers are read.</summary>
    public Readout Readout { get; }

    /// <summary>What trains.</summary>
    public Policy Policy { get; }

    /// <summary>Probability of every dropout.</summary>
    public double Dropout { get; }

    /// <summary>Type of frozen weights that are multiplied with.</summary>
    public ScalarType FrozenType { get; }

    /// <summary>Every parameter, the new layers first.</summary>
    public IReadOnlyList<TunedParameter> Parameters { get; }

    /// <summary>The parameters that train.</summary>
    public IEnumerable<TunedParameter> Trained => Parameters.Where(parameter => parameter.Trained);

    /// <summary>The parameters that must not change.</summary>
    public IEnumerable<TunedParameter> Frozen => Parameters.Where(parameter => !parameter.Trained);

    /// <summary>Numbers of elements, as PEFT counts them: whole tables, the new layers included.</summary>
    public (long Total, long Trained, long Unused) Counts =>
        (Parameters.Sum(p => p.Parameter.Elements), Trained.Sum(p => p.Parameter.Elements), Parameters.Where(p => p.Unused).Sum(p => p.Parameter.Elements));

    /// <summary>PEFT's line, which users look for.</summary>
    public string CountsLine
    {
        get
        {
            (long total, long trained, _) = Counts;
            return FormattableString.Invariant($"trainable params: {trained:N0} || all params: {total:N0} || trainable%: {100.0 * trained / total:F4}");
        }
    }

    /// <summary>
    /// What <see cref="BackboneSource.Load"/> can do with a parameter as soon as it is there, so that a whole float32 backbone never is in memory:
    /// drop it where the run's inputs never reach it, pack it where it is frozen. The constructor then finds the rest as it would have left it.
    /// </summary>
    public static void Settle(Backbone backbone, string name, Parameter parameter, Policy policy, bool ownTokens, ScalarType frozenType, Device device)
    {
        (GroupName group, int layer) = backbone.GroupOf(name);
        if (backbone.UnusedParameters(vectors: !ownTokens).Contains(name)) parameter.Free();
        else if (frozenType == ScalarType.BFloat16 && device.type == DeviceType.CPU && !policy.Trains(group, layer, backbone.Layers)) parameter.FreezeAsBFloat16();
    }

    /// <summary>Switches dropout on or off.</summary>
    public void Train(bool training)
    {
        Backbone.Train(training);
        Training = training;
    }

    /// <summary>Whether <see cref="Read"/> gives the same at every step: nothing below the output layer trains, and nothing is dropped at random.</summary>
    public bool ReadsConstants => Dropout == 0 && Trained.All(parameter => parameter.Group == GroupName.Output);

    /// <summary>Whether dropout is on.</summary>
    public bool Training { get; private set; }

    /// <summary>What dropout's masks follow from.</summary>
    public DropoutKeys DropoutKeys { get; } = new();

    /// <summary>(B, P, C) logits of a batch.</summary>
    public Tensor Forward(Tensor inputs, Tensor? mask)
    {
        if (Training && DropoutKeys.CountsForwards) DropoutKeys.Step++;
        using DisposeScope scope = torch.NewDisposeScope();
        (inputs, mask) = Trimmed(inputs, mask);
        return scope.MoveToOuter(Segment.Run(given => Answer(ReadTrimmed(given, mask)), inputs));
    }

    /// <summary>(B, P, C) logits of a batch, of inputs or of what was read from them before.</summary>
    public Tensor Forward(Batch batch) => batch.ReadFrom is null ? Forward(batch.Inputs, batch.Mask) : Answer(batch.Inputs);

    /// <summary>(B, K, C) hidden states that the output layer reads.</summary>
    public Tensor Read(Tensor inputs, Tensor? mask)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        (inputs, mask) = Trimmed(inputs, mask);
        return scope.MoveToOuter(Segment.Run(given => ReadTrimmed(given, mask), inputs));
    }

    private Tensor ReadTrimmed(Tensor inputs, Tensor? mask)
    {
        Tensor vectors = inputLinear is not null ? inputLinear.Forward(inputs).FusedDropout(Training && Dropout > 0 ? DropoutKeys.Draw(Dropout, InputPlace) : DropoutDraw.None)
            : inputTable is not null ? inputTable.Forward(inputs)
            : Backbone.EmbedTokens(inputs);  // (B, T, width)
        Tensor? positions = Readout.Positions(mask, vectors.size(0), vectors.size(1), vectors.device);
        Tensor hidden = Backbone.Forward(new BackboneInput(InputsEmbeds: vectors, AttentionMask: mask, ReadPositions: positions)).LastHiddenState;
        return positions is null ? Readout.Read(hidden, mask) : hidden;
    }

    private (Tensor Inputs, Tensor? Mask) Trimmed(Tensor inputs, Tensor? mask) =>
        mask is not null && Backbone.Causal ? WithoutPaddedTail(inputs, mask, Readout.Count) : (inputs, mask);

    /// <summary>(B, P, C) logits from what <see cref="Read"/> gives: the output layer alone.</summary>
    public Tensor Answer(Tensor read) => Segment.Run(given => outputLayer.Forward(given).Reshaped(read.size(0), Shape.Targets, Shape.Classes), read);

    // Tokens after the last one of the batch that counts: none that counts sees them, so they need not be computed.
    private static (Tensor Inputs, Tensor? Mask) WithoutPaddedTail(Tensor inputs, Tensor mask, int least)
    {
        long[] counts = mask.ne(0).to(ScalarType.Int64).sum([0]).ToArray<long>();
        int used = Array.FindLastIndex(counts, count => count > 0) + 1;
        if (used == 0) return (inputs, mask);
        used = Math.Min(counts.Length, Math.Max(used, least));
        // Without padding there is no mask to look at either.
        bool full = counts.AsSpan(0, used).IndexOfAnyExcept(mask.size(0)) < 0;
        return (inputs.narrow(1, 0, used).contiguous(), full ? null : mask.narrow(1, 0, used).contiguous());
    }

    /// <summary>Mean cross entropy in nats over all answers of a batch.</summary>
    public Tensor Loss(Tensor logits, Tensor targets) => torch.nn.functional.cross_entropy(logits.reshape(-1, Shape.Classes), targets.reshape(-1));

    /// <summary>The trained parameters by name, to be saved as an adapter; the new layers are always among them, since nothing else holds their values.</summary>
    public IReadOnlyDictionary<string, Tensor> Adapter() => InAdapter.ToDictionary(parameter => parameter.Name, parameter => parameter.Parameter.Value);

    private IEnumerable<TunedParameter> InAdapter => Parameters.Where(parameter => parameter.Trained || parameter.Group is GroupName.Input or GroupName.Output);

    /// <summary>Sets parameters to saved values. Backbone names may carry the prefix of a class with a head.</summary>
    /// <param name="tensors">Values by name.</param>
    /// <param name="source">Names the file in errors.</param>
    /// <param name="complete">Whether every trained parameter must be among them.</param>
    /// <returns>The names of those that are not among them and keep the values they had.</returns>
    /// <exception cref="PermafrostException">A tensor is missing, unknown, frozen here, or has another shape.</exception>
    public IReadOnlyList<string> LoadAdapter(IReadOnlyDictionary<string, Tensor> tensors, string source, bool complete)
    {
        Dictionary<string, TunedParameter> known = Parameters.ToDictionary(parameter => parameter.Name);
        var seen = new HashSet<string>();
        using var noGrad = torch.no_grad();
        foreach ((string stored, Tensor tensor) in tensors)
        {
            string? prefix = ModelRegistry.Find(Backbone.Config).BasePrefixes.FirstOrDefault(candidate => stored.StartsWith(candidate, StringComparison.Ordinal));
            string name = prefix is null ? stored : stored[prefix.Length..];
            if (!known.TryGetValue(name, out TunedParameter? parameter)) throw new PermafrostException($"{source}: the tensor '{stored}' is no parameter of this run");
            if (!InAdapter.Contains(parameter)) throw new PermafrostException($"{source}: the tensor '{stored}' is frozen under --policy {Policy}, so an adapter cannot set it");
            if (!tensor.shape.AsSpan().SequenceEqual(parameter.Parameter.Shape))
                throw new PermafrostException(
                    $"{source}: the tensor '{stored}' has the shape {TensorExtensions.FormatShape(tensor.shape)}, " +
                    $"this run's is {TensorExtensions.FormatShape(parameter.Parameter.Shape)}");
            parameter.Parameter.Value.copy_(tensor);
            seen.Add(name);
        }
        string[] missing = [.. InAdapter.Select(parameter => parameter.Name).Where(name => !seen.Contains(name))];
        if (complete && missing.Length > 0) throw new PermafrostException($"{source}: {missing.Length} trained tensor(s) are missing, the first is '{missing[0]}'");
        return missing;
    }

    /// <summary>SHA-256 of everything that must not change.</summary>
    public string FrozenSha256() => BackboneSource.Sha256(Frozen.Select(parameter => (parameter.Name, parameter.Parameter)));

    /// <summary>Frees all weights.</summary>
    public void Dispose()
    {
        Backbone.Dispose();
        inputLinear?.Dispose();
        inputTable?.Dispose();
        outputLayer.Dispose();
    }

    private IEnumerable<(string Name, Parameter Parameter)> NewLayers()
    {
        foreach ((string name, Parameter parameter) in inputLinear?.NamedParameters() ?? inputTable?.NamedParameters() ?? []) yield return ($"input_layer.{name}", parameter);
        foreach ((string name, Parameter parameter) in outputLayer.NamedParameters()) yield return ($"output_layer.{name}", parameter);
    }

    private IEnumerable<TunedParameter> Declare(bool ownTokens)
    {
        foreach ((string name, Parameter parameter) in NewLayers())
        {
            GroupName group = name.StartsWith("input", StringComparison.Ordinal) ? GroupName.Input : GroupName.Output;
            yield return new TunedParameter(name, parameter, group, -1, Unused: false, Trained: Policy.Trains(group, -1, Backbone.Layers));
        }
        HashSet<string> unused = [.. Backbone.UnusedParameters(vectors: !ownTokens)];
        foreach ((string name, Parameter parameter) in Backbone.NamedParameters())
        {
            (GroupName group, int layer) = Backbone.GroupOf(name);
            bool reached = !unused.Contains(name);
            yield return new TunedParameter(name, parameter, group, layer, Unused: !reached, Trained: reached && Policy.Trains(group, layer, Backbone.Layers));
        }
    }

    private static void Draw(string name, Parameter parameter, long seed)
    {
        using Generator random = Initializers.GeneratorFor(seed, name);
        parameter.Initialize(random);
    }
}
