using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>Runs that are stopped from outside, and go on.</summary>
public class SignalTests
{
    // No checkpoint but the one of the stop, however many steps the machine has done by then.
    private static readonly string[] Training =
    [
        "finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--per-device-train-batch-size", "4", "--logging-steps", "1",
        "--eval-steps", "0", "--save-steps", "0", "--save-minutes", "0", "--no-baselines",
    ];

    [Theory]
    [InlineData(Cli.Interrupt, 130)]
    [InlineData(Cli.Terminate, 75)]
    [InlineData(Cli.User, 75)]
    public void A_stopped_training_leaves_a_checkpoint_and_nothing_half_written(int signal, int exitCode)
    {
        using var scratch = new Scratch();
        using CliProcess process = Cli.Start(new CliSettings(), [.. Training, "--max-steps", "1000000", "--output-dir", scratch["run"]]);
        process.WaitForError("step ");
        process.Signal(signal);
        process.WaitForExit(CliSettings.Patience).Failed(exitCode, "--resume-from-checkpoint", scratch["run"]);

        string[] files = [.. Scratch.Left(scratch["run"]).Select(file => Path.GetRelativePath(scratch["run"], file))];
        foreach (string name in new[] { "command.txt", "config.yaml", "env.json", "metrics.jsonl" }) Assert.Contains(name, files);
        Assert.DoesNotContain(files, name => name.EndsWith(".tmp", StringComparison.Ordinal) || name.StartsWith("adapter", StringComparison.Ordinal) || name is "results.json" or "predictions.jsonl");
        Assert.Single(files, name => name.StartsWith("checkpoint-", StringComparison.Ordinal) && name.EndsWith("manifest.json", StringComparison.Ordinal));
        Assert.EndsWith("}\n", File.ReadAllText(scratch["run", "metrics.jsonl"]), StringComparison.Ordinal);
        Assert.NotEmpty(RunFiles.Metric(scratch["run"], "train/loss"));

        JsonNode row = Assert.Single(JsonNode.Parse(InProcess.Run("ls", "runs", "--runs-dir", scratch.Path, "--json").Succeeded().Output)!.AsArray())!;
        Assert.Equal((scratch["run"], "unfinished"), ((string?)row["run"], (string?)row["test score"]));
        InProcess.Run("evaluate", scratch["run"]).Refused(1, scratch["run"], "did not finish");
        InProcess.Run("show", "run", scratch["run"]).Refused(1, scratch["run"], "did not finish");
        InProcess.Run("predict", scratch["run"], "--input", "-").Refused(1, scratch["run"], "did not finish");
    }

    [Fact]
    public void A_training_that_was_stopped_and_goes_on_ends_as_if_never_stopped()
    {
        using var scratch = new Scratch();
        using (CliProcess process = Cli.Start(new CliSettings(), [.. Training, "--max-steps", "1000000", "--output-dir", scratch["parts"]]))
        {
            process.WaitForError("step ");
            process.Signal(Cli.Terminate);
            process.WaitForExit(CliSettings.Patience).Failed(75);
        }
        Assert.False(File.Exists(scratch["parts", "results.json"]));
        string steps = RunFiles.StepsBeyond(scratch["parts"]);
        Cli.Run("finetune", "--resume-from-checkpoint", scratch["parts"], "--max-steps", steps).Succeeded();
        Cli.Run([.. Training, "--max-steps", steps, "--output-dir", scratch["whole"]]).Succeeded();
        Assert.Equal(RunFiles.Adapter(scratch["whole"]), RunFiles.Adapter(scratch["parts"]));
        Assert.Equal(RunFiles.Metric(scratch["whole"], "train/loss"), RunFiles.Metric(scratch["parts"], "train/loss"));
        Assert.Equal(File.ReadAllText(scratch["whole", "predictions.jsonl"]), File.ReadAllText(scratch["parts", "predictions.jsonl"]));
    }

    [Fact]
    public void A_training_ends_with_a_checkpoint_when_its_time_is_up()
    {
        using var scratch = new Scratch();
        Cli.Run([.. Training, "--max-steps", "1000000", "--max-time", "1s", "--output-dir", scratch["run"]]).Failed(75, "--resume-from-checkpoint", scratch["run"]);
        Assert.Contains(Scratch.Left(scratch["run"]), file => Path.GetFileName(file) == "manifest.json");
    }

    [Theory]
    [InlineData(Cli.Interrupt, 130, "Ctrl-C")]
    [InlineData(Cli.Terminate, 143, "signal")]
    public void A_stopped_download_leaves_nothing(int signal, int exitCode, string mention)
    {
        using var scratch = new Scratch();
        using var hold = new ManualResetEventSlim();
        IEnumerable<byte[]> Body()
        {
            yield return new byte[1000];
            hold.Wait(CliSettings.Patience);
        }
        using var server = new FileServer(_ => FileServer.Raw("200 OK", "Content-Length: 9912422", Body()));
        var settings = new CliSettings { Environment = new Dictionary<string, string?> { ["PERMAFROST_HOME"] = scratch.Path } };
        using CliProcess process = Cli.Start(settings, "data", "fetch", "mnist", "--from", server.Address);
        process.WaitForError("fetching");
        process.Signal(signal);
        process.WaitForExit(CliSettings.Patience).Failed(exitCode, mention);
        hold.Set();
        Assert.Empty(Scratch.Files(scratch.Path));
    }

    [Theory]
    [InlineData(Cli.Interrupt, 130, "Ctrl-C")]
    [InlineData(Cli.Terminate, 143, "signal")]
    [InlineData(Cli.User, 143, "signal")]
    public void What_has_nothing_to_save_ends_soon(int signal, int exitCode, string mention)
    {
        // Measuring these takes a minute, and looks at no token.
        using CliProcess process = Cli.Start(new CliSettings(), "baselines", "bit-memory");
        process.WaitFor(() => process.CatchesSignals, "began");
        process.Signal(signal);
        process.WaitForExit(CliSettings.Patience).Failed(exitCode, mention);
    }

    [Fact]
    public void A_log_on_a_full_disk_does_not_end_a_training()
    {
        using var scratch = new Scratch();
        var settings = new CliSettings { WorkingDirectory = scratch.Path };
        string line = $"permafrost {string.Join(' ', Training)} --max-steps 20";
        CliResult result = Cli.Shell(settings, $"{line} --output-dir full 2> /dev/full").Succeeded();
        Assert.Contains("accuracy", result.Output, StringComparison.Ordinal);
        Assert.Equal(2, Cli.Shell(settings, "permafrost ls taskss 2> /dev/full").ExitCode);
        // A result that cannot be printed is told; it is in the run's folder too.
        Cli.Shell(settings, $"{line} --output-dir mute > /dev/full").Failed(1, "standard output cannot be written", "No space left");
        Assert.True(File.Exists(scratch["mute", "results.json"]));
    }

    [Fact]
    public void Streams_that_are_closed_are_opened_before_the_program_opens_files()
    {
        string launcher = File.ReadAllText(Path.Combine(Repository.Root, "permafrost"));
        string lines = launcher[launcher.IndexOf("if [ -e /dev/fd ]", StringComparison.Ordinal)..(launcher.IndexOf("\nfi\n", StringComparison.Ordinal) + 4)];
        using var scratch = new Scratch();
        scratch.Write("lines.sh", lines);
        var settings = new CliSettings { WorkingDirectory = scratch.Path };
        string opened = Cli.Shell(settings, "exec 3>&1; bash -c 'source lines.sh; for fd in 0 1 2; do readlink /proc/$$/fd/$fd >&3; done' <&- >&- 2>&-").Output;
        Assert.Equal("/dev/null\n/dev/null\n/dev/null\n", opened);
        // And those that are not are left alone.
        Assert.Equal("here\n", Cli.Shell(settings, "echo here | bash -c 'source lines.sh; cat'").Output);
    }
}
