namespace Permafrost.Cli.Tests;

/// <summary>A folder that is gone after the test.</summary>
public sealed class Scratch : IDisposable
{
    /// <summary>The folder.</summary>
    public string Path { get; } = Directory.CreateTempSubdirectory("permafrost-test-").FullName;

    /// <summary>A path in the folder.</summary>
    public string this[params string[] parts] => System.IO.Path.Combine([Path, .. parts]);

    /// <summary>Writes a file in the folder.</summary>
    /// <returns>Its path.</returns>
    public string Write(string name, string text)
    {
        File.WriteAllText(this[name], text);
        return this[name];
    }

    /// <summary>Writes a file in the folder.</summary>
    /// <returns>Its path.</returns>
    public string Write(string name, byte[] content)
    {
        File.WriteAllBytes(this[name], content);
        return this[name];
    }

    /// <summary>Every file below a folder, temporary and hidden ones too; none where there is no such folder.</summary>
    public static string[] Files(string folder) => Directory.Exists(folder) ? Directory.GetFiles(folder, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 }) : [];

    /// <summary>What a refused command left of a run: nothing but the file that says who works in the folder may be there.</summary>
    public static string[] Left(string folder) => [.. Files(folder).Where(file => System.IO.Path.GetFileName(file) != ".lock")];

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
