using System.Text.RegularExpressions;

namespace Permafrost.Cli.Tests;

/// <summary>A terminal of 20 columns: nothing fails, nothing is cut to shreds.</summary>
public partial class NarrowTerminalTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    [Theory]
    [InlineData("ls tasks", "task listops@published\n  summary another reading of listops\n")]
    [InlineData("ls runs --runs-dir RUNS", "  test score ")]
    [InlineData("show run RUN", "\ntest\n  accuracy ")]
    [InlineData("show backbone gpt2-tiny", "  parameters ")]
    [InlineData("compare RUN RUN", "test accuracy\n")]
    [InlineData("finetune --task bit-xor --backbone gpt2-tiny --init random --max-steps 20 --output-dir run", "step 20/20  loss ")]
    [InlineData("--help", "quickstart")]
    [InlineData("finetune --help", "--learning-rate")]
    public void What_is_said_can_be_read(string command, string mention)
    {
        using var scratch = new Scratch();
        string line = command.Replace("RUNS", run.Runs, StringComparison.Ordinal).Replace("RUN", run.Folder, StringComparison.Ordinal);
        var settings = new CliSettings { WorkingDirectory = scratch.Path, Environment = new Dictionary<string, string?> { ["SHELL"] = "/bin/bash", ["TERM"] = "xterm", ["NO_COLOR"] = null } };
        Assert.SkipWhen(Cli.Shell(settings, "script --version").ExitCode != 0, "needs a terminal of its own: script(1)");
        CliResult result = Cli.Shell(settings, $"script -qec 'stty cols 20 rows 24; permafrost {line}' /dev/null").Succeeded();
        string text = Control().Replace(result.Output, "").Replace("\r", "", StringComparison.Ordinal);
        Assert.Contains(mention, text, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", text, StringComparison.Ordinal);
        Assert.True(text.Count(c => c == '\n') < 1000, text);
    }

    [GeneratedRegex(@"\e(\[[0-9;?]*[a-zA-Z]|=)")]
    private static partial Regex Control();
}
