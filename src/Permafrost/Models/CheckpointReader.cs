using Permafrost.Formats;
using Permafrost.Formats.PyTorchPickle;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>Reads a model's parameters from a Hugging Face folder, name by name; nothing may be missing, and nothing unknown may be there.</summary>
public sealed class CheckpointReader : IDisposable
{
    // What the first checkpoints of many families, converted from TensorFlow, call a norm's weight and bias; Hugging Face's library renames them in all of them.
    internal static readonly (string Name, string Old)[] OldNorms = [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")];

    private readonly Architecture architecture;
    private readonly string prefix;
    private readonly string folder;
    private readonly IWeightFolder weights;
    private readonly bool tied;
    private readonly WeightPatterns skip;

    /// <summary>Opens a folder's weights.</summary>
    /// <param name="architecture">The family, which knows the spellings of checkpoints.</param>
    /// <param name="prefix">What the module's own names put before the backbone's: empty for a headless model.</param>
    /// <param name="folder">The folder.</param>
    /// <param name="skipWeights">Patterns with commas between them, such as <c>v_head.*</c>, of tensors to leave out; null for none.</param>
    /// <exception cref="PermafrostException">There are no weights, or a file is malformed.</exception>
    /// <exception cref="UsageException">The patterns are none.</exception>
    public CheckpointReader(Architecture architecture, string prefix, string folder, string? skipWeights = null)
    {
        skip = WeightPatterns.Parse(skipWeights);
        (this.architecture, this.prefix, this.folder) = (architecture, prefix, folder);
        var config = HfConfig.Load(folder);
        tied = config.Flag("tie_word_embeddings", architecture.TiedByDefault);
        weights = Open(folder, config);
    }

    /// <summary>Whether a folder holds weights that can be read.</summary>
    internal static bool IsIn(string folder) => SafetensorsFolder.IsIn(folder) || PyTorchFolder.IsIn(folder) || OnnxWeights.Find(folder) is not null;

    private static IWeightFolder Open(string folder, HfConfig config)
    {
        if (SafetensorsFolder.IsIn(folder)) return new SafetensorsFolder(folder);
        if (PyTorchFolder.IsIn(folder)) return new PyTorchFolder(folder);
        return OnnxWeights.Find(folder) is { } model ? new OnnxWeights(model, config) : new SafetensorsFolder(folder);
    }

    /// <summary>The files that the weights are in, as they were opened; none where what is computed of them is not to be remembered.</summary>
    internal IReadOnlyList<FileStamp> Stamps => weights.Stamps;

    /// <summary>Fills every parameter of a model, in float32.</summary>
    /// <returns>The number of tensors that were left out, as <paramref name="skipWeights"/> says.</returns>
    /// <exception cref="PermafrostException">A tensor is missing, unknown, or has the wrong shape or type.</exception>
    /// <exception cref="UsageException">A pattern means no tensor, or one that the model needs.</exception>
    public static int Load(Module module, Architecture architecture, string prefix, string folder, string? skipWeights = null)
    {
        using var noGrad = torch.no_grad();
        using var reader = new CheckpointReader(architecture, prefix, folder, skipWeights);
        foreach ((string name, Parameter parameter) in module.NamedParameters())
        {
            reader.Read(name, parameter, copy: true);
            // Of a tensor that was copied as a whole, as one that lies otherwise than row by row, the file's pages are still in memory.
            reader.Release(name);
        }
        return reader.CheckNames(module.NamedParameters().Select(pair => pair.Name));
    }

    /// <summary>Gives a parameter its value in float32, which may be a view of the mapped file: to be read or replaced, not to be written to.</summary>
    /// <exception cref="PermafrostException">The tensor is missing, or has the wrong shape or type.</exception>
    public void Read(string name, Parameter parameter) => Read(name, parameter, copy: false);

    /// <summary>The same; a copy of its own where it is to be kept.</summary>
    internal void Read(string name, Parameter parameter, bool copy)
    {
        if (parameter.IsBuffer && Stored(name) is null)
        {
            using Generator unused = Initializers.GeneratorFor(0, name);
            parameter.Initialize(unused);
            return;
        }
        string stored = Stored(name)
            ?? throw new PermafrostException(
                $"{folder}: the tensor '{name}' {TensorExtensions.FormatShape(parameter.Shape)} is missing; the weights do not belong to this config.json, or are incomplete");
        WeightDescription entry = weights.Describe(stored);
        if (!entry.Shape.AsSpan().SequenceEqual(parameter.Shape))
            throw new PermafrostException(
                $"{folder}: the tensor '{stored}' has the shape {TensorExtensions.FormatShape(entry.Shape)}, " +
                $"config.json asks for {TensorExtensions.FormatShape(parameter.Shape)}");
        if (entry.ElementType is not { } type || !type.IsFloatingPoint())
            throw new PermafrostException($"{folder}: the tensor '{stored}' has the type {entry.Type}; weights must be F32, F16, BF16 or F64");
        using var scope = torch.NewDisposeScope();
        parameter.Value = (copy ? weights.Read(stored) : weights.View(stored)).to(ScalarType.Float32);
    }

    /// <summary>The element type that a parameter is stored in, as safetensors names it; null where it is missing.</summary>
    internal string? TypeOf(string name) => Stored(name) is { } stored ? weights.Describe(stored).Type : null;

    /// <summary>The rows of a parameter, to be read one by one; null where they cannot be.</summary>
    internal MatrixRows? OpenRows(string name) => Stored(name) is { } stored ? weights.OpenRows(stored) : null;

    /// <summary>Lets go of the memory that a parameter's part of a mapped file takes.</summary>
    internal void Release(string name)
    {
        if (Stored(name) is { } stored) weights.Release(stored);
    }

    /// <summary>Whether a tensor's memory is a mapped file's.</summary>
    public bool Holds(Tensor tensor) => weights.Holds(tensor);

    /// <summary>Refuses tensors that no parameter of these names takes, and that are neither buffers, nor another head's, nor to be left out.</summary>
    /// <returns>The number of tensors that were left out.</returns>
    /// <exception cref="PermafrostException">There is one.</exception>
    /// <exception cref="UsageException">A pattern means no tensor, or one that the model needs.</exception>
    public int CheckNames(IEnumerable<string> names)
    {
        HashSet<string> used = [.. names.Select(Stored).OfType<string>()];
        HashSet<string> left = skip.Choose(weights.Names, used, folder);
        string[] extra = [.. weights.Names.Where(name => !used.Contains(name) && !left.Contains(name) && !IsKnown(name)).Order(StringComparer.Ordinal)];
        if (extra.Length > 0)
            throw new PermafrostException(
                $"{folder}: {extra.Length} tensor(s) that {architecture.ModelType} does not have, the first is '{extra[0]}'; " +
                "the weights do not belong to this config.json, or hold another head, which `skip_weights` leaves out by patterns such as v_head.*");
        return left.Count;
    }

    /// <summary>Unmaps the files.</summary>
    public void Dispose() => weights.Dispose();

    private string? Stored(string name) => Candidates(name).SelectMany(Spellings).FirstOrDefault(weights.Names.Contains);

    private IEnumerable<string> Spellings(string name)
    {
        yield return name;
        foreach ((string ending, string old) in architecture.OldEndings.Concat(OldNorms))
            if (name.EndsWith(ending, StringComparison.Ordinal)) yield return name[..^ending.Length] + old;
    }

    private IEnumerable<string> Candidates(string name)
    {
        yield return name;
        string bare = prefix.Length > 0 && name.StartsWith(prefix, StringComparison.Ordinal) ? name[prefix.Length..] : name;
        yield return bare;
        foreach (string known in architecture.BasePrefixes) yield return known + bare;
        if (tied && architecture.Tied is { } pair && bare == pair.Table) yield return pair.Head;
    }

    private bool IsKnown(string name) =>
        architecture.Buffers.Any(suffix => name.EndsWith(suffix, StringComparison.Ordinal))
        || architecture.HeadPrefixes.Any(head => name.StartsWith(head, StringComparison.Ordinal));
}
