using System.Text.Json.Nodes;
using Permafrost.Runs;

namespace Permafrost.Tests.Runs;

/// <summary>The time of day is set back again and again; only the log's times may show it.</summary>
[Collection(ProcessWide.Name)]
public sealed class ClockTests : IDisposable
{
    private readonly TinyRun tiny = new();

    public void Dispose() => tiny.Dispose();

    [Fact]
    public void A_clock_that_is_set_back_changes_nothing_but_the_times_in_the_log()
    {
        RunOptions options = tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 6 }, Evaluation = tiny.Options.Evaluation with { EvalSteps = 3 } };
        (RunFolder steady, _) = tiny.Train(options);
        (RunFolder folder, JsonObject results) = tiny.Train(options, new Backwards());
        Assert.Equal(TinyRun.AdapterBytes(steady), TinyRun.AdapterBytes(folder));
        JsonObject[] lines = [.. MetricsLog.Read(folder.Metrics)];
        Assert.Equal(MetricsLog.Read(steady.Metrics).Select(line => (long)line["step"]!), lines.Select(line => (long)line["step"]!));
        Assert.True((double)lines[0]["time"]! > (double)lines[^1]["time"]!);
        Assert.All(tiny.Reports, report => Assert.InRange(report.TokensPerSecond, 1, 1e9));
        // The clock moves a second with every look at it, and a step takes some looks.
        Assert.InRange((double)results["seconds"]!, 6, 60);
        Assert.Single(Directory.GetFiles(folder.Path, "events.out.tfevents.*"));
    }

    [Fact]
    public void Checkpoints_by_time_go_on_while_the_clock_is_set_back()
    {
        (RunFolder folder, _) = tiny.Train(tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 40 }, Checkpoints = tiny.Options.Checkpoints with { SaveSteps = 0, SaveMinutes = 0.5, SaveTotalLimit = 100 } }, new Backwards());
        Assert.InRange(Checkpoint.All(folder).Count, 3, 20);
    }

    [Fact]
    public void A_time_limit_holds_while_the_clock_is_set_back()
    {
        Assert.Contains("`max_time`", Assert.Throws<StoppedException>(() => tiny.Train(tiny.Options with { Schedule = tiny.Options.Schedule with { MaxSteps = 1000 }, Checkpoints = tiny.Options.Checkpoints with { MaxTime = "60s" } }, new Backwards())).Message, StringComparison.Ordinal);
        Assert.InRange(tiny.Reports.Count, 5, 60);
    }

    [Fact]
    public void A_folder_s_name_that_is_taken_is_not_used_again()
    {
        RunFolder folder = RunFolder.Create(tiny.NewFolder());
        Assert.Equal(folder.Path + "-2", RunFolder.Unused(folder.Path));
        Directory.CreateDirectory(folder.Path + "-2");
        Assert.Equal(folder.Path + "-3", RunFolder.Unused(folder.Path));
        Assert.Equal(folder.Path + "x", RunFolder.Unused(folder.Path + "x"));
    }

    [Fact]
    public void Runs_that_begin_at_the_same_moment_get_folders_of_their_own()
    {
        string[] paths = new string[16];
        string wanted = tiny["runs/same"];
        Parallel.For(0, paths.Length, new ParallelOptions { MaxDegreeOfParallelism = paths.Length }, i => paths[i] = RunFolder.CreateUnused(wanted).Path);
        Assert.Equal([wanted, .. Enumerable.Range(2, 15).Select(i => $"{wanted}-{i}")], paths.OrderBy(path => path.Length).ThenBy(path => path, StringComparer.Ordinal));
    }

    // The time of day falls by an hour, and a second passes, whenever somebody looks.
    private sealed class Backwards : TimeProvider
    {
        private DateTimeOffset now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
        private long seconds;

        public override long TimestampFrequency => 1;

        public override DateTimeOffset GetUtcNow() => now -= TimeSpan.FromHours(1);

        public override long GetTimestamp() => seconds++;
    }
}
