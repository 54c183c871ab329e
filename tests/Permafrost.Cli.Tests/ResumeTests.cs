namespace Permafrost.Cli.Tests;

/// <summary>Runs that are killed, changed or damaged, and go on or refuse to. What the option takes and refuses is in <see cref="ResumeOptionTests"/>.</summary>
public class ResumeTests
{
    private const int Kill = 9;

    private static readonly string[] Training =
    [
        "finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--per-device-train-batch-size", "4", "--logging-steps", "7",
        "--eval-steps", "60", "--save-steps", "10", "--no-baselines",
    ];

    [Theory]
    [InlineData(3)]
    [Trait("tier", "default")]
    public void Killed_at_random_moments_it_ends_as_if_never_stopped(int kills) => KillAndResume(kills);

    [Theory]
    [InlineData(20)]
    [Trait("tier", "slow")]
    public void Killed_twenty_times_at_random_moments_it_ends_as_if_never_stopped(int kills) => KillAndResume(kills);

    [Theory]
    [InlineData("policy", "--policy", "output,ln")]
    [InlineData("learning_rate", "--learning-rate", "0.002")]
    [InlineData("seed", "--seed", "1")]
    [InlineData("init_seed", "--init-seed", "5")]
    [InlineData("per_device_train_batch_size", "--per-device-train-batch-size", "8")]
    public void Refuses_to_go_on_as_another_run(string name, string flag, string value)
    {
        using var scratch = new Scratch();
        Stopped(scratch);
        Cli.Run("finetune", "--resume-from-checkpoint", scratch["run"], flag, value).Refused(2, name, "belongs to another run");
    }

    [Fact]
    public void Goes_on_with_a_changed_rate_where_that_is_allowed()
    {
        using var scratch = new Scratch();
        Stopped(scratch);
        Cli.Run("finetune", "--resume-from-checkpoint", scratch["run"], "--learning-rate", "0.002", "--allow-changes", "learning_rate", "--max-steps", RunFiles.StepsBeyond(scratch["run"])).Succeeded();
    }

    [Fact]
    public void Refuses_a_hand_edited_configuration()
    {
        using var scratch = new Scratch();
        Stopped(scratch);
        string config = scratch["run", "config.yaml"];
        File.WriteAllText(config, File.ReadAllText(config).Replace("dropout: 0.1", "dropout: 0.3", StringComparison.Ordinal));
        Cli.Run("finetune", "--resume-from-checkpoint", scratch["run"]).Refused(2, "dropout was 0.1, is 0.3");
    }

    [Fact]
    public void Passes_over_a_damaged_checkpoint_and_refuses_it_when_it_is_asked_for()
    {
        using var scratch = new Scratch();
        Stopped(scratch);
        string newest = RunFiles.Checkpoints(scratch["run"]).Last();
        using (var file = new FileStream(Path.Combine(newest, "optimizer.safetensors"), FileMode.Open))
        {
            file.Seek(-3, SeekOrigin.End);
            int flipped = file.ReadByte() ^ 1;
            file.Seek(-1, SeekOrigin.Current);
            file.WriteByte((byte)flipped);
        }
        Cli.Run("finetune", "--resume-from-checkpoint", newest).Refused(1, "optimizer.safetensors", "is damaged");
        CliResult result = Cli.Run("finetune", "--resume-from-checkpoint", scratch["run"], "--max-steps", RunFiles.StepsBeyond(scratch["run"])).Succeeded();
        Assert.Contains($"{newest} is damaged", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(99, "version 99", "update")]
    [InlineData(1, "earlier version", "evaluate its adapter")]
    public void Refuses_a_checkpoint_of_another_version(int version, params string[] words)
    {
        using var scratch = new Scratch();
        Stopped(scratch);
        string newest = RunFiles.Checkpoints(scratch["run"]).Last();
        string manifest = Path.Combine(newest, "manifest.json"), text = File.ReadAllText(manifest), changed = text.Replace("\"checkpoint_version\": 3", $"\"checkpoint_version\": {version}", StringComparison.Ordinal);
        Assert.NotEqual(text, changed);
        File.WriteAllText(manifest, changed);
        Cli.Run("finetune", "--resume-from-checkpoint", newest).Refused(1, words);
    }

    [Fact]
    public void Refuses_a_folder_that_another_process_trains_in()
    {
        using var scratch = new Scratch();
        using CliProcess process = Cli.Start(new CliSettings(), [.. Training, "--max-steps", "1000000", "--output-dir", scratch["run"]]);
        process.WaitForError("step ");
        Cli.Run("finetune", "--resume-from-checkpoint", scratch["run"]).Refused(1, scratch["run"], "in use");
        process.Signal(Kill);
    }

    [Fact]
    public void Keeps_as_many_checkpoints_as_it_is_told()
    {
        using var scratch = new Scratch();
        Cli.Run([.. Training, "--max-steps", "240", "--save-total-limit", "3", "--output-dir", scratch["run"]]).Succeeded();
        Assert.Equal(["checkpoint-220", "checkpoint-230", "checkpoint-240"], RunFiles.Checkpoints(scratch["run"]).Select(path => Path.GetFileName(path)!));
    }

    private static void KillAndResume(int kills)
    {
        using var scratch = new Scratch();
        string[] resume = ["finetune", "--resume-from-checkpoint", scratch["parts"]];
        var random = new Random(kills);
        for (int i = 0; i < kills; i++)
        {
            // It would go on for an hour, so that every kill finds it alive: in start-up, training, validating or saving.
            using CliProcess process = Cli.Start(new CliSettings(), i == 0 ? [.. Training, "--max-steps", "1000000", "--output-dir", scratch["parts"]] : resume);
            // Every third one as soon as it is there: in start-up. The others once they have come further: in training, validating or saving.
            string newest = RunFiles.Checkpoints(scratch["parts"]).LastOrDefault("");
            if (i % 3 != 2) process.WaitFor(() => RunFiles.Checkpoints(scratch["parts"]).LastOrDefault("") != newest, "wrote a checkpoint");
            Thread.Sleep(random.Next(0, 500));
            process.Signal(Kill);
            process.WaitForExit(CliSettings.Patience);  // it holds the folder's lock until it is gone
        }
        string steps = RunFiles.StepsBeyond(scratch["parts"]);
        using (CliProcess process = Cli.Start(new CliSettings(), [.. resume, "--max-steps", steps]))
        {
            // Killed too, wherever it has got to by then.
            process.WaitForError("scoring the test split");
            process.Signal(Kill);
            process.WaitForExit(CliSettings.Patience);
        }
        Cli.Run([.. resume, "--max-steps", steps]).Succeeded();
        Cli.Run([.. Training, "--max-steps", steps, "--output-dir", scratch["whole"]]).Succeeded();

        Assert.Equal(RunFiles.Adapter(scratch["whole"]), RunFiles.Adapter(scratch["parts"]));
        Assert.Equal(RunFiles.Metric(scratch["whole"], "train/loss"), RunFiles.Metric(scratch["parts"], "train/loss"));
        Assert.Equal(RunFiles.Metric(scratch["whole"], "eval/accuracy"), RunFiles.Metric(scratch["parts"], "eval/accuracy"));
        Assert.Equal(RunFiles.Metric(scratch["whole"], "train/grad_norm"), RunFiles.Metric(scratch["parts"], "train/grad_norm"));
        Assert.Equal(File.ReadAllText(scratch["whole", "predictions.jsonl"]), File.ReadAllText(scratch["parts", "predictions.jsonl"]));
        Assert.DoesNotContain(Directory.EnumerateFileSystemEntries(scratch["parts"]), path => path.EndsWith(".old", StringComparison.Ordinal) || path.EndsWith(".tmp", StringComparison.Ordinal));
    }

    // With two checkpoints and the one of the stop.
    private static void Stopped(Scratch scratch)
    {
        using CliProcess process = Cli.Start(new CliSettings(), [.. Training, "--max-steps", "1000000", "--output-dir", scratch["run"]]);
        process.WaitFor(() => RunFiles.Checkpoints(scratch["run"]).Length > 1, "wrote two checkpoints");
        process.Signal(Cli.Terminate);
        process.WaitForExit(CliSettings.Patience).Failed(75, "--resume-from-checkpoint");
    }

}
