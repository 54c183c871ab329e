using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>Fills a model's parameters from a Hugging Face folder, name by name; nothing may be missing, and nothing unknown may be there.</summary>
public static class WeightLoader
{
    /// <summary>Loads the weights, converted to float32.</summary>
    /// <param name="module">The model, headless or with its head.</param>
    /// <param name="architecture">Its family, which knows the spellings of checkpoints.</param>
    /// <param name="prefix">What the module's own names put before the backbone's: empty for a headless model.</param>
    /// <param name="folder">The folder.</param>
    /// <param name="loaded">Told of each parameter as soon as its value is there: to be read or replaced, not to be written to.</param>
    /// <exception cref="PermafrostException">A tensor is missing, unknown, or has the wrong shape or type.</exception>
    public static void Load(Module module, Architecture architecture, string prefix, string folder, Action<string, Parameter>? loaded = null)
    {
        using var weights = new SafetensorsFolder(folder);
        bool tied = HfConfig.Load(folder).Flag("tie_word_embeddings", true);
        var used = new HashSet<string>();
        foreach ((string name, Parameter parameter) in module.NamedParameters())
        {
            string stored = Candidates(name, architecture, prefix, tied).FirstOrDefault(weights.Names.Contains)
                ?? throw new PermafrostException(
                    $"{folder}: the tensor '{name}' {TensorExtensions.FormatShape(parameter.Shape)} is missing; the weights do not belong to this config.json, or are incomplete");
            SafetensorsEntry entry = weights.Entry(stored);
            if (!entry.Shape.AsSpan().SequenceEqual(parameter.Shape))
                throw new PermafrostException(
                    $"{folder}: the tensor '{stored}' has the shape {TensorExtensions.FormatShape(entry.Shape)}, " +
                    $"config.json asks for {TensorExtensions.FormatShape(parameter.Shape)}");
            if (entry.ElementType is not { } type || !type.IsFloatingPoint())
                throw new PermafrostException($"{folder}: the tensor '{stored}' has the type {entry.Type}; weights must be F32, F16, BF16 or F64");
            using var scope = torch.NewDisposeScope();
            // Most weights are dropped or packed at once, straight from the file.
            parameter.Value = weights.View(stored).to(ScalarType.Float32);
            used.Add(stored);
            loaded?.Invoke(name, parameter);
            if (parameter.HasValue && weights.Holds(parameter.Stored)) parameter.Value = parameter.Value.clone();
        }
        string[] extra = [.. weights.Names.Where(name => !used.Contains(name) && !IsKnown(name, architecture)).Order(StringComparer.Ordinal)];
        if (extra.Length > 0)
            throw new PermafrostException(
                $"{folder}: {extra.Length} tensor(s) that {architecture.ModelType} does not have, the first is '{extra[0]}'; the weights do not belong to this config.json");
    }

    private static IEnumerable<string> Candidates(string name, Architecture architecture, string prefix, bool tied)
    {
        yield return name;
        string bare = prefix.Length > 0 && name.StartsWith(prefix, StringComparison.Ordinal) ? name[prefix.Length..] : name;
        yield return bare;
        foreach (string known in architecture.BasePrefixes) yield return known + bare;
        if (tied && bare == architecture.Tied.Table) yield return architecture.Tied.Head;
    }

    private static bool IsKnown(string name, Architecture architecture) =>
        architecture.Buffers.Any(suffix => name.EndsWith(suffix, StringComparison.Ordinal))
        || architecture.HeadPrefixes.Any(head => name.StartsWith(head, StringComparison.Ordinal));
}
