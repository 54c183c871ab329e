using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;
using Permafrost.Tokenizers;

namespace Permafrost.Models;

/// <summary>What a model does with a weight.</summary>
public enum WeightUse
{
    /// <summary>Reads it, as others may too.</summary>
    Frozen,
    /// <summary>Trains a copy of its own.</summary>
    Trained,
    /// <summary>Never reaches it: it takes no memory.</summary>
    Unused,
}

/// <summary>
/// The weights of one checkpoint or one random draw, immutable and known by their SHA-256, for any number of models at once. In memory is only what some model reads, in the form
/// in which it reads it (packed bfloat16, float32); what a model trains is read or drawn again for it. Safe for use by several threads. Models live on when it is disposed of.
/// </summary>
/// <example><code>
/// using var weights = FrozenWeights.Load("gpt2");
/// using Backbone one = weights.CreateBackbone(), two = weights.CreateBackbone();  // one body in memory
/// </code></example>
public sealed class FrozenWeights : IDisposable
{
    private readonly Lock gate = new();
    private readonly Dictionary<string, byte[]> hashes = [];
    private readonly Dictionary<(string Name, WeightForm Form), Tensor> shared = [];
    private bool disposed;
    private string? sha256;

    // A vocabulary takes as long to read as a text to answer, and more memory than an adapter.
    private readonly Lock reading = new();
    private Tokenizer? tokenizer;
    private Lazy<int?>? longest;
    private bool hasRead;

    private FrozenWeights(Architecture architecture, HfConfig config, string reference, string? folder, string init, long seed, string? skipWeights)
    {
        Architecture = architecture;
        Config = config;
        Reference = reference;
        Folder = folder;
        Init = init;
        Seed = seed;
        SkipWeights = skipWeights;
    }

    /// <summary>The model family.</summary>
    public Architecture Architecture { get; }

    /// <summary>The configuration.</summary>
    public HfConfig Config { get; }

    /// <summary>What they were asked for by.</summary>
    public string Reference { get; }

    /// <summary>Where they are on disk; null for a preset.</summary>
    public string? Folder { get; }

    /// <summary>One of <see cref="BackboneInit.All"/>.</summary>
    public string Init { get; }

    /// <summary>The body's seed, for inits that draw.</summary>
    public long Seed { get; }

    /// <summary>Patterns of the checkpoint's tensors that are left out; null for none.</summary>
    public string? SkipWeights { get; }

    /// <summary>How many tensors were left out; known once a model was made over the weights.</summary>
    public int SkippedWeights { get; private set; }

    /// <summary>A tokenizer in place of the folder's, for tests.</summary>
    internal Tokenizer? KnownTokenizer { get; set; }

    /// <summary>The longest sequence that a backbone of this configuration takes, in tokens; null where it takes any.</summary>
    internal int? LongestInput => (longest ??= new(() =>
    {
        using Backbone shape = Architecture.Backbone(Config);
        return shape.Traits.LongestInput;
    })).Value;

    /// <summary>The tokenizer that lies beside the weights; null where there is none. It is read once, and shared by whoever asks.</summary>
    /// <exception cref="PermafrostException">Its files are damaged, or its vocabulary is of another size than the token table.</exception>
    public Tokenizer? LoadTokenizer()
    {
        if (KnownTokenizer is not null || Folder is null) return KnownTokenizer;
        lock (reading)
        {
            if (hasRead) return tokenizer;
            Tokenizer? found = TokenizerFiles.Find(Folder);
            if (found is not null) CheckVocabulary(found.VocabularySize);
            (tokenizer, hasRead) = (found, true);
            return found;
        }
    }

    /// <summary>SHA-256 over every weight in float32, as lower-case hex: what an adapter knows its body by. Read or drawn once where no model did before.</summary>
    /// <exception cref="PermafrostException">A weight is missing or does not fit.</exception>
    public string Sha256
    {
        get
        {
            lock (gate)
            {
                if (sha256 is not null) return sha256;
                using Backbone backbone = Architecture.Backbone(Config);
                if (backbone.NamedParameters().Any(p => !hashes.ContainsKey(p.Name))) Fill(backbone, (_, _) => WeightUse.Unused, ScalarType.Float32, torch.CPU);
                return sha256 = WeightHash.Of(hashes.Select(pair => (pair.Key, pair.Value)));
            }
        }
    }

    /// <summary>The weights of a model folder, of a model in the Hugging Face cache, or, drawn at random, of a preset.</summary>
    /// <param name="reference">The folder, the model's name, or the preset's.</param>
    /// <param name="init">One of <see cref="BackboneInit.All"/>.</param>
    /// <param name="seed">The body's seed, for inits that draw.</param>
    /// <param name="skipWeights">Tensors of the checkpoint that are no part of the model and left out: patterns with commas, such as <c>v_head.*</c>; null for none.</param>
    /// <exception cref="PermafrostException">Nothing has that name, or its configuration is damaged or of an unknown family.</exception>
    /// <exception cref="UsageException">The init does not exist, or needs weights that the reference does not have.</exception>
    public static FrozenWeights Load(string reference, string init = "pretrained", long seed = 0, string? skipWeights = null) =>
        Load(BackboneSource.Resolve(reference), init, seed, skipWeights);

    /// <summary>The weights of a backbone that was found.</summary>
    /// <param name="source">Where it is.</param>
    /// <param name="init">One of <see cref="BackboneInit.All"/>.</param>
    /// <param name="seed">The body's seed, for inits that draw.</param>
    /// <param name="skipWeights">Tensors of the checkpoint that are no part of the model and left out: patterns with commas, such as <c>v_head.*</c>; null for none.</param>
    /// <exception cref="PermafrostException">The family is not known.</exception>
    /// <exception cref="UsageException">The init does not exist, or needs weights that the source does not have.</exception>
    public static FrozenWeights Load(BackboneSource source, string init = "pretrained", long seed = 0, string? skipWeights = null) =>
        Load(ModelRegistry.Find(source.Config), source, init, seed, skipWeights);

    /// <summary>The weights of a folder of a model of one's own.</summary>
    /// <param name="architecture">The family; it need not be in <see cref="ModelRegistry"/>.</param>
    /// <param name="source">Where it is.</param>
    /// <param name="init">One of <see cref="BackboneInit.All"/>.</param>
    /// <param name="seed">The body's seed, for inits that draw.</param>
    /// <param name="skipWeights">Tensors of the checkpoint that are no part of the model and left out: patterns with commas, such as <c>v_head.*</c>; null for none.</param>
    /// <exception cref="UsageException">The init does not exist, or needs weights that the source does not have.</exception>
    public static FrozenWeights Load(Architecture architecture, BackboneSource source, string init = "pretrained", long seed = 0, string? skipWeights = null)
    {
        BackboneInit.Check(init, source);
        _ = WeightPatterns.Parse(skipWeights);
        if (skipWeights is not null && !BackboneInit.NeedsWeights(init))
            throw new UsageException($"`skip_weights` {skipWeights} leaves out tensors of a checkpoint, and `init` {init} reads none; leave one out");
        string? left = BackboneInit.NeedsWeights(init) ? source.Skipping(skipWeights) : skipWeights;
        return new FrozenWeights(architecture, source.Config, source.Reference, source.Folder, init, seed, left);
    }

    /// <summary>A random draw for a model of one's own, by the initialisers that its layers declare.</summary>
    /// <param name="architecture">The family; it need not be in <see cref="ModelRegistry"/>.</param>
    /// <param name="config">The configuration.</param>
    /// <param name="seed">The body's seed.</param>
    public static FrozenWeights Draw(Architecture architecture, HfConfig config, long seed = 0) => new(architecture, config, config.Source, null, "random", seed, null);

    /// <summary>Makes a model over these weights.</summary>
    /// <param name="use">What the model does with each weight; null reads all of them.</param>
    /// <param name="frozenType">Of frozen matrices: float32, or bfloat16, which is packed where this processor multiplies it. Norms, biases and tables stay float32.</param>
    /// <param name="device">Where it computes; null for the processor.</param>
    /// <exception cref="PermafrostException">A weight is missing, does not fit, or has changed on disk since it was first read.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed of.</exception>
    public Backbone CreateBackbone(Func<Backbone, string, WeightUse>? use = null, ScalarType frozenType = ScalarType.Float32, Device? device = null)
    {
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            Backbone backbone = Architecture.Backbone(Config);
            try
            {
                Fill(backbone, use ?? ((_, _) => WeightUse.Frozen), frozenType, device ?? torch.CPU);
                backbone.UseActivationType(frozenType);
                return backbone;
            }
            catch
            {
                backbone.Dispose();
                throw;
            }
        }
    }

    /// <summary>The rows of a table of the checkpoint, to be read one by one from its file; null where they cannot be, or are not the checkpoint's.</summary>
    internal MatrixRows? OpenRows(string name)
    {
        if (Init != "pretrained") return null;
        using var reader = new CheckpointReader(Architecture, "", Folder!, SkipWeights);
        return reader.OpenRows(name);
    }

    /// <summary>Copies of weights in float32, on the processor, by name.</summary>
    /// <param name="names">Which.</param>
    /// <exception cref="PermafrostException">There is no such weight, or it cannot be read.</exception>
    public IReadOnlyDictionary<string, Tensor> Copy(IReadOnlyCollection<string> names)
    {
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            using Backbone backbone = Architecture.Backbone(Config);
            Dictionary<string, Parameter> known = backbone.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
            if (names.FirstOrDefault(name => !known.ContainsKey(name)) is { } missing) throw new PermafrostException($"{Reference} has no weight '{missing}'");
            HashSet<string> wanted = [.. names];
            Fill(backbone, (_, name) => wanted.Contains(name) ? WeightUse.Trained : WeightUse.Unused, ScalarType.Float32, torch.CPU);
            using var noGrad = torch.no_grad();
            return wanted.ToDictionary(name => name, name => known[name].Value.detach().clone());
        }
    }

    /// <summary>Frees what no model holds.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            foreach (Tensor tensor in shared.Values) tensor.Dispose();
            shared.Clear();
            disposed = true;
        }
    }

    private void CheckVocabulary(int tokens)
    {
        using Backbone backbone = Architecture.Backbone(Config);
        if (backbone.Traits.Vocabulary is { } rows) CheckVocabulary(Folder!, tokens, rows);
    }

    /// <summary>
    /// Refuses a tokenizer that is another model's. A table may have rows that no token has, up to a multiple of 8 or 128, which processors like, or for tokens to come.
    /// </summary>
    internal static void CheckVocabulary(string folder, int tokens, int rows)
    {
        bool spare = tokens < rows && rows % 8 == 0 && (rows - tokens < 128 || (rows - tokens < 1024 && rows - tokens <= rows / 100));
        if (tokens == rows || spare) return;
        throw new PermafrostException($"{folder}: the tokenizer has {tokens:N0} tokens and the token table {rows:N0} rows; they do not belong together");
    }

    // One weight at a time, so that a whole float32 body never is in memory: read or draw it, know it by its hash, then pack, copy or drop it.
    private void Fill(Backbone backbone, Func<Backbone, string, WeightUse> use, ScalarType frozenType, Device device)
    {
        using var noGrad = torch.no_grad();
        CheckpointReader? reader = null;
        CheckpointHashes? remembered = null;
        try
        {
            foreach ((string name, Parameter parameter) in backbone.NamedParameters())
            {
                WeightUse what = use(backbone, name);
                var form = WeightForm.Of(parameter, frozenType, device);
                if (what == WeightUse.Frozen && shared.TryGetValue((name, form), out Tensor? known))
                {
                    parameter.Share(known.alias(), form.Packed);
                    continue;
                }
                if (what == WeightUse.Unused && hashes.ContainsKey(name)) continue;
                if (reader is null && BackboneInit.NeedsWeights(Init))
                {
                    reader = new CheckpointReader(Architecture, "", Folder!, SkipWeights);
                    // What is drawn anew from a checkpoint's weights has other hashes than they.
                    remembered = Init == "pretrained" ? CheckpointHashes.Of(Folder!, Config, reader.Stamps) : null;
                }
                if (what == WeightUse.Unused && remembered?.Find(name) is { } hash)
                {
                    hashes[name] = hash;
                    continue;
                }
                using DisposeScope scope = torch.NewDisposeScope();
                bool kept = what == WeightUse.Trained || (what == WeightUse.Frozen && form.Type == ScalarType.Float32);
                if (reader is not null) reader.Read(name, parameter, kept);
                else BackboneInit.Draw(this, name, parameter);
                BackboneInit.Redraw(Init, backbone, name, parameter, Seed);
                Know(name, parameter, remembered?.Find(name));
                Place(name, parameter, what, form, reader);
                reader?.Release(name);
            }
            if (reader is not null) SkippedWeights = reader.CheckNames(backbone.NamedParameters().Select(p => p.Name));
            remembered?.Save(hashes);
        }
        finally
        {
            reader?.Dispose();
            Workspace.Trim();
        }
    }

    private void Know(string name, Parameter parameter, byte[]? remembered)
    {
        byte[] hash = remembered ?? WeightHash.Of(name, parameter.Value);
        if (!hashes.TryGetValue(name, out byte[]? known)) hashes[name] = hash;
        else if (!known.AsSpan().SequenceEqual(hash))
            throw new PermafrostException($"{Folder}: the tensor '{name}' is not what it was when the model was first loaded; load it again");
    }

    private void Place(string name, Parameter parameter, WeightUse what, WeightForm form, CheckpointReader? reader)
    {
        if (what == WeightUse.Unused)
        {
            parameter.Free();
            return;
        }
        // Nothing outlives the mapped file.
        if ((what == WeightUse.Trained || form.Type == ScalarType.Float32) && reader?.Holds(parameter.Value) == true) parameter.Value = parameter.Value.clone();
        if (what == WeightUse.Trained)
        {
            parameter.To(form.Device);
            parameter.Train();
            return;
        }
        Tensor made = form.Packed ? parameter.Matrix.Pack(transposed: parameter.Layout == MatrixLayout.OutputsFirst) : parameter.Value.to(form.Type).to(form.Device);
        shared[(name, form)] = ReferenceEquals(made, parameter.Value) ? made.alias().DetachFromDisposeScope() : made.DetachFromDisposeScope();
        parameter.Share(shared[(name, form)].alias(), form.Packed);
    }

    // How a frozen weight lies in memory.
    private sealed record WeightForm(ScalarType Type, bool Packed, string Kernels, string DeviceName)
    {
        public Device Device => torch.device(DeviceName);

        public static WeightForm Of(Parameter parameter, ScalarType frozenType, Device device)
        {
            ScalarType type = parameter.Layout == MatrixLayout.None ? ScalarType.Float32 : frozenType;
            bool packed = type == ScalarType.BFloat16 && device.IsCpu() && KernelSet.MultipliesBFloat16;
            return new WeightForm(type, packed, packed ? KernelSet.Name : "", device.Name());
        }
    }
}
