using System.Text;

namespace Permafrost.Data;

/// <summary>Sequences of a FASTA file (Pearson and Lipman 1988): a line with > and a heading, then lines of letters. Plain or packed by gzip.</summary>
internal static class FastaFile
{
    /// <summary>Whether a file's name says that it is one.</summary>
    public static bool Is(string path)
    {
        string name = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? path[..^3] : path;
        return Path.GetExtension(name).ToUpperInvariant() is ".FASTA" or ".FA" or ".FAA" or ".FNA";
    }

    /// <summary>The sequences of a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="PermafrostException">It cannot be read, a name is there twice, or a sequence is empty; the message names the line.</exception>
    public static IEnumerable<(string Where, string Heading, string Sequence)> Read(string path)
    {
        var names = new HashSet<string>();
        var sequence = new StringBuilder();
        (string? where, string heading) = (null, "");
        (string Where, string Heading, string Sequence) Done() => sequence.Length > 0 ? (where!, heading, sequence.ToString())
            : throw new PermafrostException($"{where}: the sequence {heading} has no letters");
        foreach ((string place, string line) in TextLines.OfDataSet(Path.GetDirectoryName(Path.GetFullPath(path))!, Path.GetFileName(path)))
        {
            if (line[0] == ';') continue;
            if (line[0] != '>')
            {
                if (where is null) throw new PermafrostException($"{place}: letters before the first heading; a line that begins with > is expected");
                sequence.Append(line);
                continue;
            }
            if (where is not null) yield return Done();
            (where, heading) = (place, line[1..].Trim());
            string name = heading.Split([' ', '\t'])[0];
            if (name.Length == 0) throw new PermafrostException($"{place}: the heading has no name");
            if (!names.Add(name)) throw new PermafrostException($"{place}: the name {name} appears twice");
            sequence.Clear();
        }
        if (where is not null) yield return Done();
    }
}
