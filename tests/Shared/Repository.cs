namespace Permafrost.Tests.Shared;

/// <summary>Where tests find the repository and the reference material beside it.</summary>
public static class Repository
{
    /// <summary>The folder that holds Permafrost.slnx.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>The folder of golden fixtures and data sets: $PERMAFROST_SHARED, or `shared` beside the repository.</summary>
    public static string Shared { get; } =
        Environment.GetEnvironmentVariable("PERMAFROST_SHARED") is { Length: > 0 } given ? given : Path.GetFullPath(Path.Combine(Root, "..", "shared"));

    /// <summary>The path of a golden fixture's file; skips the test, visibly, where the fixtures are not at hand.</summary>
    public static string Fixture(params string[] parts)
    {
        string path = Path.Combine([Shared, "fixtures", .. parts]);
        Assert.SkipUnless(File.Exists(path) || Directory.Exists(path), $"needs the golden fixtures: {path} is not there (set PERMAFROST_SHARED)");
        return path;
    }

    /// <summary>The path of a real data set's file; skips the test, visibly, where the data sets are not at hand.</summary>
    public static string Data(params string[] parts)
    {
        string path = Path.Combine([Environment.GetEnvironmentVariable("PERMAFROST_DATA") is { Length: > 0 } given ? given : Path.Combine(Shared, "data"), .. parts]);
        Assert.SkipUnless(File.Exists(path) || Directory.Exists(path), $"needs the data sets: {path} is not there (set PERMAFROST_DATA)");
        return path;
    }

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Permafrost.slnx"))) return folder.FullName;
        }
        throw new DirectoryNotFoundException($"no Permafrost.slnx above {AppContext.BaseDirectory}");
    }
}
