namespace Permafrost.Cli.Tests;

/// <summary>A disk that fills up, and has room again.</summary>
public class FullDiskTests
{
    private const string Training = "permafrost finetune --task bit-xor --backbone gpt2-tiny --init random --per-device-train-batch-size 2 --eval-steps 0 --no-baselines --no-score-test --feature-cache memory --max-time 1h";

    // 4 MB take two checkpoints of 1.6 MB, but not the third before the first is gone; or somebody else fills the disk between two checkpoints.
    [Theory]
    [InlineData("4m", "--logging-steps 1000 --save-steps 20", "", "disk/run/checkpoint-60")]
    [InlineData("8m", "--policy output --logging-steps 1 --save-steps 100", "(for i in $(seq 3000); do if compgen -G \"disk/run/checkpoint-*[0-9]\" > /dev/null; then cat /dev/zero > disk/other; break; fi; sleep 0.05; done) 2> /dev/null &", "disk/run/")]
    public void A_training_on_a_disk_that_fills_up_ends_in_a_sentence_and_goes_on_when_there_is_room(string size, string flags, string meanwhile, string file)
    {
        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["disk"]);
        var settings = new CliSettings { WorkingDirectory = scratch.Path };
        Assert.SkipWhen(Cli.Shell(settings, "unshare -Urm mount -t tmpfs none disk").ExitCode != 0, "needs a small disk of its own, and may not mount one here (unshare -Urm mount -t tmpfs)");
        CliResult result = Cli.Shell(settings, $$"""
            unshare -Urm bash -c '
            mount -t tmpfs -o size={{size}} none disk
            {{meanwhile}}
            {{Training}} {{flags}} --max-steps 1000000 --output-dir disk/run 2> full.txt; echo $? > code.txt
            find disk > left.txt
            mount -o remount,size=64m disk
            newest=$(find disk/run -maxdepth 1 -name "checkpoint-*" | sed -n "s/.*-\([0-9]*\)$/\1/p" | sort -n | tail -n 1)
            echo $((newest + 50)) > steps.txt
            permafrost finetune --resume-from-checkpoint disk/run --max-steps $((newest + 50)) && cp -r disk/run parts'
            """);
        Assert.True(File.Exists(scratch["full.txt"]), result.ToString());
        new CliResult(["finetune"], int.Parse(File.ReadAllText(scratch["code.txt"])), "", File.ReadAllText(scratch["full.txt"])).Failed(1, file, "No space left on device", "free some space");
        string[] left = File.ReadAllLines(scratch["left.txt"]);
        Assert.DoesNotContain(left, path => path.EndsWith(".tmp", StringComparison.Ordinal));
        Assert.Contains(left, path => path.EndsWith("manifest.json", StringComparison.Ordinal));
        result.Succeeded();
        Cli.Shell(settings, $"{Training} {flags} --max-steps $(cat steps.txt) --output-dir whole").Succeeded();
        Assert.Equal(RunFiles.Adapter(scratch["whole"]), RunFiles.Adapter(scratch["parts"]));
        Assert.Equal(RunFiles.Metric(scratch["whole"], "train/loss"), RunFiles.Metric(scratch["parts"], "train/loss"));
    }

    // Where nothing may be mounted: files of this process may grow to so many KiB only. The runtime's own must not, and its signal is not for us.
    [Theory]
    [InlineData(24, "--max-steps 300 --policy output --logging-steps 1 --save-steps 20", "metrics.jsonl")]
    [InlineData(400, "--max-steps 300 --logging-steps 1000 --save-steps 20", "checkpoint-20")]
    public void A_file_that_cannot_grow_ends_the_training_in_a_sentence(int kilobytes, string flags, string file)
    {
        using var scratch = new Scratch();
        var settings = new CliSettings { WorkingDirectory = scratch.Path, Environment = new Dictionary<string, string?> { ["DOTNET_EnableWriteXorExecute"] = "0" } };
        Cli.Shell(settings, $"trap '' XFSZ; ulimit -f {kilobytes}; {Training} {flags} --output-dir run").Failed(1, file, "free some space");
        Assert.DoesNotContain(Scratch.Files(scratch["run"]), path => path.Contains(".tmp", StringComparison.Ordinal) || path.EndsWith("results.json", StringComparison.Ordinal));
    }
}
