namespace Permafrost.Cli.Tests;

/// <summary>A short bit-xor run on a small random body, which the tests of a class share and only read.</summary>
public sealed class TrainedRun : IDisposable
{
    private readonly Scratch scratch = new();

    public TrainedRun() =>
        Result = Cli.Run("finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--max-steps", "30", "--eval-steps", "20", "--no-load-best-model-at-end", "--learning-rate", "3e-3", "--seed", "7", "--output-dir", Folder).Succeeded();

    /// <summary>The run's folder.</summary>
    public string Folder => scratch["runs", "first"];

    /// <summary>The folder around it.</summary>
    public string Runs => scratch["runs"];

    /// <summary>What the command printed.</summary>
    internal CliResult Result { get; }

    /// <summary>A copy that a test may damage.</summary>
    public string Copy(Scratch target)
    {
        string copy = target["copy"];
        foreach (string file in Scratch.Files(Folder))
        {
            string path = Path.Combine(copy, Path.GetRelativePath(Folder, file));
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.Copy(file, path);
        }
        return copy;
    }

    public void Dispose() => scratch.Dispose();
}
