using System.IO.Enumeration;

namespace Permafrost.Models;

/// <summary>Names of tensors that a checkpoint holds and a model is not to have: patterns in which <c>*</c> stands for any characters and <c>?</c> for one.</summary>
internal sealed class WeightPatterns
{
    private readonly string[] patterns;

    private WeightPatterns(string[] patterns) => this.patterns = patterns;

    /// <summary>Reads patterns with commas between them.</summary>
    /// <param name="text">The patterns; null for none.</param>
    /// <exception cref="UsageException">One is empty.</exception>
    public static WeightPatterns Parse(string? text)
    {
        if (text is null) return new WeightPatterns([]);
        string[] patterns = text.Split(',', StringSplitOptions.TrimEntries);
        return patterns.All(pattern => pattern.Length > 0) ? new WeightPatterns(patterns)
            : throw new UsageException($"`skip_weights` '{text}' holds an empty pattern; write names or patterns with commas between them, such as v_head.*");
    }

    /// <summary>The tensors that are left out.</summary>
    /// <param name="stored">The checkpoint's tensors.</param>
    /// <param name="needed">Those that the model takes.</param>
    /// <param name="folder">The checkpoint, for errors.</param>
    /// <exception cref="UsageException">A pattern means none of them, or one that the model needs.</exception>
    public HashSet<string> Choose(IEnumerable<string> stored, IReadOnlySet<string> needed, string folder)
    {
        var chosen = new HashSet<string>();
        foreach (string pattern in patterns)
        {
            string[] meant = [.. stored.Where(name => FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: false)).Order(StringComparer.Ordinal)];
            if (meant.Length == 0) throw new UsageException($"`skip_weights` {pattern}: {folder} has no tensor of that name");
            if (Array.Find(meant, needed.Contains) is { } wanted) throw new UsageException($"`skip_weights` {pattern}: the model needs the tensor '{wanted}' of {folder}");
            chosen.UnionWith(meant);
        }
        return chosen;
    }
}
