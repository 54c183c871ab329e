using Permafrost.Data;

namespace Permafrost.Tests.Data;

/// <summary>Where data sets are looked for, and what counts as one.</summary>
[Collection(ProcessWide.Name)]
public sealed class DataHomeTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly string? data = Environment.GetEnvironmentVariable("PERMAFROST_DATA"), home = Environment.GetEnvironmentVariable("PERMAFROST_HOME");

    public DataHomeTests()
    {
        Environment.SetEnvironmentVariable("PERMAFROST_DATA", folder["data"]);
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", folder["home"]);
    }

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("PERMAFROST_DATA", data);
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", home);
        folder.Dispose();
    }

    [Fact]
    public void What_a_fetch_that_was_broken_off_has_left_is_no_data()
    {
        folder.Write("data/imdb/archive.tar.gz.incomplete", "half");
        folder.Write("data/imdb/.unpacking.12.tmp/train/a.txt", "half");
        Directory.CreateDirectory(folder["home/data/imdb"]);
        Assert.Null(DataHome.Here("imdb"));
        Assert.Contains("permafrost data fetch imdb", Refusal.Of("imdb", () => DataHome.Find("imdb", null)), StringComparison.Ordinal);
        folder.Write("home/data/imdb/train.csv", "whole");
        Assert.Equal(folder["home/data/imdb"], DataHome.Find("imdb", null));
        folder.Write("data/imdb/train.csv", "whole");
        Assert.Equal(folder["data/imdb"], DataHome.Here("imdb"));
    }

    [Fact]
    public void A_path_that_is_not_here_is_looked_for_where_data_sets_are()
    {
        folder.Write("data/series/one_TRAIN.ts", "x");
        folder.Write("home/data/ucr/two/two_TEST.ts", "x");
        Assert.Equal(folder["data/series/one_TRAIN.ts"], DataHome.Located("series/one_TRAIN.ts"));
        Assert.Equal(folder["home/data/ucr/two/two_TEST.ts"], DataHome.Located("ucr/two/two_TEST.ts"));
        Assert.Equal("nowhere/three.ts", DataHome.Located("nowhere/three.ts"));
        Assert.Equal(folder["absent"], DataHome.Located(folder["absent"]));
        Assert.Null(DataHome.Located(null));
    }
}
