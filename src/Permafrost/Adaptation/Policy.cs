using System.Globalization;
using System.Text.RegularExpressions;
using Permafrost.Models;

namespace Permafrost.Adaptation;

/// <summary>One entry of a policy: a group, in all layers or in a range of them.</summary>
/// <param name="Group">The group; null for <c>*</c>, which is every group.</param>
/// <param name="First">First layer, negative ones counted from the end; null for all layers.</param>
/// <param name="Last">Last layer, included.</param>
public sealed record Selector(GroupName? Group, int? First = null, int? Last = null)
{
    /// <summary>Whether a parameter of this group and layer (-1 outside the layers) is chosen in a model of <paramref name="layers"/> layers.</summary>
    public bool Matches(GroupName group, int layer, int layers)
    {
        if (Group is not null && Group != group) return false;
        if (First is not { } first) return true;
        return layer >= 0 && layer >= Resolve(first, layers) && layer <= Resolve(Last!.Value, layers);
    }

    internal static int Resolve(int layer, int layers) => layer < 0 ? layers + layer : layer;
}

/// <summary>Which groups train: <c>fpt</c>, <c>output</c>, <c>input,output,ln,attn[-1]</c>, <c>ff[0..3]</c>, <c>*</c>.</summary>
public sealed partial record Policy
{
    /// <summary>The policies with a name of their own.</summary>
    public static IReadOnlyList<(string Name, string Selectors, string Summary)> Named { get; } =
    [
        ("fpt", "input,output,ln,pos", "the Frozen Pretrained Transformer (Lu et al. 2021): input and output layer, norms, positions"),
        ("output", "output", "a linear probe: the output layer alone"),
        ("*", "*", "everything: full fine-tuning"),
    ];

    private Policy(string text, IReadOnlyList<Selector> selectors)
    {
        Text = text;
        Selectors = selectors;
    }

    /// <summary>As it was written.</summary>
    public string Text { get; }

    /// <summary>Its entries.</summary>
    public IReadOnlyList<Selector> Selectors { get; }

    /// <summary>Reads a policy.</summary>
    /// <exception cref="UsageException">An entry names no group, or its layers cannot be.</exception>
    public static Policy Parse(string text)
    {
        string expanded = Named.FirstOrDefault(named => named.Name == text.Trim()).Selectors ?? text;
        var selectors = new List<Selector>();
        foreach (string entry in expanded.Split(',', StringSplitOptions.TrimEntries))
        {
            if (entry == "*") { selectors.Add(new Selector((GroupName?)null)); continue; }
            if (Named.FirstOrDefault(named => named.Name == entry).Selectors is { } inner && inner != entry) { selectors.AddRange(Parse(entry).Selectors); continue; }
            Match match = Entry().Match(entry);
            if (!match.Success || !Enum.TryParse(match.Groups["group"].Value, ignoreCase: true, out GroupName group))
                throw new UsageException(
                    $"`policy` '{text}': '{entry}' is no selector; write a group ({GroupNames}), a group's layers as attn[-1] or ff[0..3], *, " +
                    $"or a policy's name ({string.Join(", ", Named.Select(n => n.Name))})");
            if (!match.Groups["first"].Success) { selectors.Add(new Selector(group)); continue; }
            string from = match.Groups["first"].Value, to = match.Groups["last"].Success ? match.Groups["last"].Value : from;
            if (!int.TryParse(from, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int first)
                || !int.TryParse(to, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int last))
                throw new UsageException($"`policy` '{text}': the layers of '{entry}' are out of range");
            selectors.Add(new Selector(group, first, last));
        }
        return new Policy(text.Trim(), selectors);
    }

    /// <summary>Whether a parameter of this group and layer trains in a model of <paramref name="layers"/> layers.</summary>
    public bool Trains(GroupName group, int layer, int layers) => Selectors.Any(selector => selector.Matches(group, layer, layers));

    /// <summary>Whether the output layer alone trains, whatever the model.</summary>
    public bool IsOutputOnly => Selectors.All(selector => selector.Group == GroupName.Output);

    /// <summary>Refuses layers that a model does not have.</summary>
    /// <exception cref="UsageException">A selector's layers lie outside the model, or are the wrong way round.</exception>
    public void CheckLayers(int layers)
    {
        foreach (Selector selector in Selectors)
        {
            if (selector.First is not { } first || selector.Last is not { } last) continue;
            if (selector.Group is GroupName.Input or GroupName.Output)
                throw new UsageException($"`policy` '{Text}': the {selector.Group.ToString()!.ToLowerInvariant()} layer is one layer; leave out its [{first}]");
            if (layers == 0) throw new UsageException($"`policy` '{Text}': this backbone has no layers, so there are none to choose from");
            (int from, int to) = (Selector.Resolve(first, layers), Selector.Resolve(last, layers));
            if (from < 0 || to >= layers || from > to)
                throw new UsageException($"`policy` '{Text}': the layers [{first}..{last}] do not exist in a backbone of {layers} layers (0 to {layers - 1}, or -{layers} to -1)");
        }
    }

    /// <inheritdoc/>
    public override string ToString() => Text;

    /// <summary>All groups' names, separated by commas.</summary>
    public static string GroupNames => string.Join(", ", Enum.GetNames<GroupName>().Select(name => name.ToLowerInvariant()));

    [GeneratedRegex(@"^(?<group>[a-z]+)(\[(?<first>-?\d+)(\.\.(?<last>-?\d+))?\])?$")]
    private static partial Regex Entry();
}
