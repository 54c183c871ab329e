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
        if (Models.BackboneSource.Resolve(backbone).Folder is { } there) return there;
        string folder = folders[backbone] = Directory.CreateTempSubdirectory("permafrost-bench-").FullName;
        using BenchProcess writer = new BenchSide(BenchSide.Own).Start();
        writer.Ask(new JsonObject { ["cmd"] = "save", ["backbone"] = backbone, ["folder"] = folder });
        return folder;
    }

    /// <summary>A folder that holds a configuration and no weights, to draw them for.</summary>
    public string Described(JsonObject config)
    {
        string folder = Directory.CreateTempSubdirectory("permafrost-bench-").FullName;
        folders[folder] = folder;
        System.IO.File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        return folder;
    }

    /// <summary>A file that is gone when the benchmark ends.</summary>
    public string File(string name)
    {
        if (!folders.TryGetValue("", out string? folder)) folder = folders[""] = Directory.CreateTempSubdirectory("permafrost-bench-").FullName;
        return Path.Combine(folder, name);
    }

    /// <summary>A folder of one's own, gone when the benchmark ends.</summary>
    public string Create(string name) => Directory.CreateDirectory(File(name)).FullName;

    /// <summary>The model file that ONNX Runtime reads, written by its own worker.</summary>
    /// <exception cref="PermafrostException">The package that holds it is not here.</exception>
    public string OnnxModel()
    {
        string file = File("model.onnx");
        if (System.IO.File.Exists(file)) return file;
        using BenchProcess writer = new BenchSide(BenchSide.Onnx).Start();
        writer.Ask(new JsonObject { ["cmd"] = "extract", ["file"] = file });
        return file;
    }

    public void Dispose()
    {
        foreach (string folder in folders.Values) Directory.Delete(folder, recursive: true);
        folders.Clear();
    }
}
