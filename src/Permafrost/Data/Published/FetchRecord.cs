using System.Globalization;
using System.Text;
using Permafrost.Formats;

namespace Permafrost.Data.Published;

/// <summary>
/// What was fetched without a published checksum: a file <c>SHA256SUMS</c> in the data set's folder, as sha256sum writes and checks them. A line
/// <c># fetched NAME BYTES SHA256 ADDRESS</c> says what came; the other lines are the files that are there now.
/// </summary>
internal sealed class FetchRecord
{
    public const string FileName = "SHA256SUMS";

    private const string Mark = "# fetched ";

    private readonly string path;
    private readonly SortedDictionary<string, string> sources = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, string> files = new(StringComparer.Ordinal);

    private FetchRecord(string path) => this.path = path;

    /// <summary>The record of a folder; empty where there is none.</summary>
    /// <exception cref="PermafrostException">It cannot be read.</exception>
    public static FetchRecord Read(string folder)
    {
        var record = new FetchRecord(Path.Combine(folder, FileName));
        if (!File.Exists(record.path)) return record;
        foreach ((int _, string line) in TextLines.Of(record.path))
        {
            if (line.StartsWith(Mark, StringComparison.Ordinal) && line[Mark.Length..].Split(' ', 4) is [var name, _, { Length: 64 }, _]) record.sources[name] = line;
            else if (line.Length > 66 && line[64..66] == "  ") record.files[line[66..]] = line[..64];
        }
        return record;
    }

    /// <summary>The SHA-256 that a file, as it came, had at the first download; null where it has not been fetched.</summary>
    public string? Source(string name) => sources.TryGetValue(name, out string? line) ? line[Mark.Length..].Split(' ')[2] : null;

    /// <summary>The recorded files below a folder (whose name ends with <c>/</c>), or the one of that name.</summary>
    public IReadOnlyList<(string Name, string Sha256)> Below(string place) =>
        [.. files.Where(file => place.EndsWith('/') ? file.Key.StartsWith(place, StringComparison.Ordinal) : file.Key == place).Select(file => (file.Key, file.Value))];

    /// <summary>Records what came, and what has become of it.</summary>
    public void Add(string name, string sha256, long bytes, string address, IEnumerable<(string Name, string Sha256)> contents)
    {
        sources[name] = string.Create(CultureInfo.InvariantCulture, $"{Mark}{name} {bytes} {sha256} {address}");
        foreach ((string file, string hash) in contents) files[file] = hash;
        var text = new StringBuilder();
        foreach (string line in sources.Values) text.Append(line).Append('\n');
        foreach ((string file, string hash) in files) text.Append(hash).Append("  ").Append(file).Append('\n');
        AtomicFile.WriteText(path, text.ToString());
    }
}
