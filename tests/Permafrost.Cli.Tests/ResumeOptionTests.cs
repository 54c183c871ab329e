namespace Permafrost.Cli.Tests;

/// <summary>`--resume-from-checkpoint`: what it takes, and what it refuses. <see cref="ResumeTests"/> kills and resumes trainings.</summary>
public class ResumeOptionTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    [Fact]
    public void More_steps_go_on_from_the_last_checkpoint()
    {
        using var scratch = new Scratch();
        string copy = run.Copy(scratch);
        CliResult result = Cli.Run("finetune", "--resume-from-checkpoint", "--output-dir", copy, "--max-steps", "40", "--no-floors", "--json").Succeeded();
        Assert.Contains(Path.Combine(copy, "checkpoint-30"), result.Error, StringComparison.Ordinal);
        Assert.Equal(40, (long)result.Json["steps"]!);
        Cli.Run("finetune", "--config", Path.Combine(run.Folder, "config.yaml"), "--max-steps", "40", "--no-floors", "--output-dir", scratch["whole"]).Succeeded();
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
    [InlineData("rng_state.json")]
    [InlineData("run_identity.json")]
    [InlineData("manifest.json")]
    public void A_damaged_checkpoint_is_refused(string name)
    {
        using var scratch = new Scratch();
        string checkpoint = Path.Combine(run.Copy(scratch), "checkpoint-30");
        byte[] content = File.ReadAllBytes(Path.Combine(checkpoint, name));
        File.WriteAllBytes(Path.Combine(checkpoint, name), content[..^20]);
        InProcess.Run("finetune", "--resume-from-checkpoint", checkpoint, "--max-steps", "40").Refused(1, checkpoint, name);
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
}
