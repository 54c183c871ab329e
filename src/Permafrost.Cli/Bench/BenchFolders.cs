using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench;

/// <summary>Model folders with random weights, one for each backbone that is asked for, written by a worker and gone when the benchmark ends.</summary>
internal sealed class BenchFolders : IDisposable
{
    private readonly Dictionary<string, string> folders = [];

    /// <summary>A folder in Hugging Face's layout.</summary>
    public string Of(string backbone)
    {
        if (folders.TryGetValue(backbone, out string? known)) return known;
        string folder = folders[backbone] = Directory.CreateTempSubdirectory("permafrost-bench-").FullName;
        using BenchProcess writer = new BenchSide(BenchSide.Own).Start();
        writer.Ask(new JsonObject { ["cmd"] = "save", ["backbone"] = backbone, ["folder"] = folder });
        return folder;
    }

    public void Dispose()
    {
        foreach (string folder in folders.Values) Directory.Delete(folder, recursive: true);
        folders.Clear();
    }
}
