namespace Permafrost.Models;

/// <summary>
/// A body that this project pretrained itself and gives away: a Hugging Face folder with its model card, <c>assets/backbones/NAME</c> in the repository and <c>backbones/NAME</c>
/// beside a program built there.
/// </summary>
/// <param name="Name">What it is asked for by.</param>
/// <param name="Folder">The folder.</param>
public sealed record OwnBackbone(string Name, string Folder)
{
    /// <summary>The bodies beside this program, by name; none where the program was built without them.</summary>
    public static IReadOnlyList<OwnBackbone> All { get; } = Beside(Path.Combine(AppContext.BaseDirectory, "backbones"));

    /// <summary>The first paragraph of the model card, on one line; empty where there is none.</summary>
    public string Summary
    {
        get
        {
            string card = Path.Combine(Folder, "README.md");
            if (!File.Exists(card)) return "";
            IEnumerable<string> paragraph = File.ReadLines(card).SkipWhile(line => line.StartsWith('#') || string.IsNullOrWhiteSpace(line))
                .TakeWhile(line => !string.IsNullOrWhiteSpace(line));
            return string.Join(' ', paragraph.Select(line => line.Trim()));
        }
    }

    /// <summary>The body of a name; null for any other name.</summary>
    public static OwnBackbone? Find(string name) => All.FirstOrDefault(body => body.Name == name);

    private static OwnBackbone[] Beside(string folder) => !Directory.Exists(folder) ? []
        : [.. Directory.EnumerateDirectories(folder).Select(path => new OwnBackbone(Path.GetFileName(path), path))
            .Where(body => File.Exists(Path.Combine(body.Folder, "config.json")) && BundledBackbone.Find(body.Name) is null)
            .OrderBy(body => body.Name, StringComparer.Ordinal)];
}
