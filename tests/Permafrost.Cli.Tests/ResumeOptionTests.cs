using Permafrost.Models;

namespace Permafrost.Cli.Tests;

/// <summary>`--resume-from-checkpoint`: what it takes, and what it refuses. <see cref="ResumeTests"/> kills and resumes trainings.</summary>
public class ResumeOptionTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    [Fact]
    public void More_steps_go_on_from_the_last_checkpoint()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        CliResult result = Cli.Run("finetune", "--resume-from-checkpoint", "--output-dir", copy, "--max-steps", "40", "--no-baselines", "--json").Succeeded();
        Assert.Contains(Path.Combine(copy, "checkpoint-30"), result.Error, StringComparison.Ordinal);
        Assert.Equal(40, (long)result.Json["steps"]!);
        Cli.Run("finetune", "--config", Path.Combine(run.Folder, "config.yaml"), "--max-steps", "40", "--no-baselines", "--output-dir", scratch["whole"]).Succeeded();
        Assert.Equal(RunFiles.Adapter(scratch["whole"]), RunFiles.Adapter(copy));
    }

    [Theory]
    [InlineData("--optim sgd", "optim")]
    [InlineData("--set task_options.length=4", "task_options")]
    [InlineData("--backbone gpt2-mini", "backbone_sha256")]
    [InlineData("--task bit-memory", "task")]
    public void Another_run_is_refused_with_what_differs(string change, string mention)
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        byte[] before = RunFiles.Adapter(copy);
        InProcess.Run(["finetune", "--resume-from-checkpoint", copy, "--max-steps", "40", .. change.Split(' ')]).Refused(2, copy, mention, "--allow-changes");
        Assert.Equal(before, RunFiles.Adapter(copy));
    }

    [Theory]
    [InlineData("adapter_model.safetensors")]
    [InlineData("optimizer.safetensors")]
    [InlineData("trainer_state.json")]
    [InlineData("run_identity.json")]
    [InlineData("manifest.json")]
    public void A_damaged_checkpoint_is_refused(string name)
    {
        using var scratch = new Scratch();
        string checkpoint = Path.Combine(run.Copy(scratch), "checkpoint-30");
        byte[] content = File.ReadAllBytes(Path.Combine(checkpoint, name));
        File.WriteAllBytes(Path.Combine(checkpoint, name), content[..^20]);
        InProcess.Run("finetune", "--resume-from-checkpoint", checkpoint, "--max-steps", "40").Refused(1, checkpoint, name, $"--resume-from-checkpoint {scratch["copy"]} takes the newest");
        File.Delete(Path.Combine(checkpoint, name));
        InProcess.Run("finetune", "--resume-from-checkpoint", checkpoint, "--max-steps", "40").Refused(1, checkpoint, name);
        InProcess.Run("finetune", "--resume-from-checkpoint", scratch["copy"], "--max-steps", "40").Failed(1, scratch["copy"], "no sound checkpoint");
    }

    [Fact]
    public void What_is_no_run_is_refused()
    {
        using var scratch = new Scratch();
        InProcess.Run("finetune", "--resume-from-checkpoint").Refused(2, "--resume-from-checkpoint", "--output-dir");
        InProcess.Run("finetune", "--resume-from-checkpoint", scratch["nowhere"]).Refused(1, scratch["nowhere"], "does not exist");
        InProcess.Run("finetune", "--resume-from-checkpoint", scratch.Path).Refused(1, scratch.Path, "config.yaml");
        InProcess.Run("finetune", "--resume-from-checkpoint", Path.Combine(run.Folder, "checkpoint-7")).Refused(1, "checkpoint-7");
    }

    [Fact]
    public void A_dry_run_shows_what_would_go_on_and_leaves_everything_as_it_is()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        Dictionary<string, byte[]> before = Scratch.Left(copy).ToDictionary(file => file, File.ReadAllBytes);
        CliResult result = InProcess.Run("finetune", "--resume-from-checkpoint", copy, "--max-steps", "40", "--dry-run", "--json").Succeeded();
        Assert.Equal(40, (long)result.Json["steps"]!);
        Assert.Contains("checkpoint-30", result.Error, StringComparison.Ordinal);
        Assert.Equal(before.Keys.Order(), Scratch.Left(copy).Order());
        Assert.All(before, file => Assert.Equal(file.Value, File.ReadAllBytes(file.Key)));
    }

    [Fact]
    public void A_run_that_was_ended_before_its_first_checkpoint_begins_again()
    {
        using var scratch = new Scratch();
        string[] line = ["finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--eval-steps", "0", "--logging-steps", "1", "--no-baselines", "--output-dir", scratch["run"]];
        using (CliProcess process = Cli.Start(new CliSettings(), [.. line, "--save-steps", "0", "--save-minutes", "0", "--max-steps", "1000000"]))
        {
            process.WaitForError("step ");
            process.Signal(9);
            process.WaitForExit(CliSettings.Patience);
        }
        Assert.Empty(RunFiles.Checkpoints(scratch["run"]));
        InProcess.Run([.. line, "--max-steps", "20"]).Refused(2, "holds a run already", $"--resume-from-checkpoint {scratch["run"]}");
        InProcess.Run("finetune", "--resume-from-checkpoint", scratch["run"], "--policy", "output").Refused(2, "policy was fpt, is output");
        Assert.Contains("begins again", Cli.Run("finetune", "--resume-from-checkpoint", scratch["run"], "--max-steps", "20").Succeeded().Error, StringComparison.Ordinal);
        Cli.Run([.. line[..^1], scratch["whole"], "--max-steps", "20"]).Succeeded();
        Assert.Equal(RunFiles.Adapter(scratch["whole"]), RunFiles.Adapter(scratch["run"]));
        Assert.Equal(RunFiles.Metric(scratch["whole"], "train/loss"), RunFiles.Metric(scratch["run"], "train/loss"));
    }

    [Fact]
    public void Results_are_put_aside_while_a_run_trains_on()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        string scores = File.ReadAllText(Path.Combine(copy, "results.json"));
        Cli.Run("finetune", "--resume-from-checkpoint", copy, "--max-steps", "1000000", "--max-time", "1s").Failed(75, "--resume-from-checkpoint");
        Assert.Equal(scores, File.ReadAllText(Path.Combine(copy, "results-30.json")));
        Assert.True(File.Exists(Path.Combine(copy, "adapter-30", "adapter_model.safetensors")));
        InProcess.Run("show", "run", copy).Refused(1, "did not finish");
        InProcess.Run("evaluate", copy).Refused(1, "did not finish");
        // Ended once more, and taken up from an earlier step: both results keep their own.
        string steps = RunFiles.StepsBeyond(copy);
        Cli.Run("finetune", "--resume-from-checkpoint", copy, "--max-steps", steps, "--save-total-limit", "9", "--max-time", "1h").Succeeded();
        string later = File.ReadAllText(Path.Combine(copy, "results.json"));
        Cli.Run("finetune", "--resume-from-checkpoint", RunFiles.Checkpoints(copy)[0], "--max-steps", steps, "--learning-rate", "1e-4", "--allow-changes", "learning_rate").Succeeded();
        Assert.Equal(later, File.ReadAllText(Path.Combine(copy, $"results-{steps}.json")));
        Assert.Equal(scores, File.ReadAllText(Path.Combine(copy, "results-30.json")));
        Assert.NotEqual(later, File.ReadAllText(Path.Combine(copy, "results.json")));
    }

    [Fact]
    public void The_same_folder_written_another_way_is_no_change()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        Cli.Run(new CliSettings { WorkingDirectory = scratch.Path }, "finetune", "--resume-from-checkpoint", "copy/", "--max-steps", "40").Succeeded();
        string described = File.ReadAllText(Path.Combine(copy, "config.yaml"));
        Assert.Contains("(max_steps was 30, is 40)", described, StringComparison.Ordinal);
        Assert.Contains($"\n  output_dir: {copy}\n", described.Replace("\"", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Cli.Run("finetune", "--resume-from-checkpoint", Path.Combine(copy, "checkpoint-40"), "--output-dir", copy + "/", "--max-steps", "50").Succeeded();
        InProcess.Run("finetune", "--resume-from-checkpoint", copy, "--set", "output_dir=elsewhere", "--max-steps", "60").Refused(2, "goes on in its own folder");
    }

    [Theory]
    [InlineData("--allow-changes learning_rat", "did you mean learning_rate?")]
    [InlineData("--allow-changes anything", "there is no such difference")]
    [InlineData("--output-dir elsewhere", "--output-dir elsewhere")]
    public void What_would_be_passed_over_is_refused(string flags, string mention)
    {
        using var scratch = new Scratch();
        InProcess.Run(["finetune", "--resume-from-checkpoint", run.Copy(scratch), "--max-steps", "40", .. flags.Split(' ')]).Refused(2, mention);
    }

    [Fact]
    public void A_folder_is_found_by_the_way_there_from_the_run_where_both_were_moved()
    {
        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["tree"]);
        var settings = new CliSettings { WorkingDirectory = scratch["tree"] };
        using (var weights = FrozenWeights.Load("gpt2-tiny", "random"))
        using (Backbone backbone = weights.CreateBackbone()) BackboneFolder.Save(backbone, weights, scratch["tree", "quick start", "body"]);
        string arm = "bit-xor";
        Cli.Run(settings, "finetune", "--task", "bit-xor", "--backbone", Path.Combine("quick start", "body"), "--max-steps", "4", "--output-dir", Path.Combine("quick start", arm)).Succeeded();
        // From another folder, and moved.
        string expected = InProcess.Run("evaluate", scratch["tree", "quick start", arm]).Succeeded().Output;
        Directory.Move(scratch["tree"], scratch["moved"]);
        Assert.Equal(expected, InProcess.Run("evaluate", scratch["moved", "quick start", arm]).Succeeded().Output);
        // Alone, it has to be told.
        Directory.Move(scratch["moved", "quick start", arm], scratch["alone"]);
        InProcess.Run("evaluate", scratch["alone"]).Refused(1, "is no backbone");
        Assert.Equal(expected, InProcess.Run("evaluate", scratch["alone"], "--backbone", scratch["moved", "quick start", "body"]).Succeeded().Output);
    }
}
