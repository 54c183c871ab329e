namespace Permafrost.Cli.Tests;

/// <summary>
/// Compares a text with a file of the repository. With PERMAFROST_UPDATE=1 the files are written instead: look at the difference before
/// it is committed.
/// </summary>
internal static class Expectation
{
    public static void Check(string name, string actual)
    {
        string path = Path.Combine(Repository.Root, name);
        if (Environment.GetEnvironmentVariable("PERMAFROST_UPDATE") == "1")
        {
            File.WriteAllText(path, actual);
            return;
        }
        Assert.True(File.Exists(path), $"{path} does not exist; write it with PERMAFROST_UPDATE=1");
        string expected = File.ReadAllText(path);
        if (expected == actual) return;
        string[] before = expected.Split('\n');
        string[] now = actual.Split('\n');
        int line = Enumerable.Range(0, Math.Max(before.Length, now.Length)).First(i => i >= before.Length || i >= now.Length || before[i] != now[i]);
        Assert.Fail($"{path}:{line + 1} has changed; if that is meant, run the tests with PERMAFROST_UPDATE=1\nwas: {At(before, line)}\nnow: {At(now, line)}");
    }

    private static string At(string[] lines, int line) => line < lines.Length ? lines[line] : "(the end)";
}
