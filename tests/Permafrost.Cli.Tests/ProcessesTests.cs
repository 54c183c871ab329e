using System.Globalization;
using System.Text;
using Permafrost.Runs;

namespace Permafrost.Cli.Tests;

/// <summary>Several processes of one start: trainings that know nothing of one another are refused, and a pretraining over MPI is the same as in one process.</summary>
public class ProcessesTests
{
    private static readonly string Program = Path.Combine(AppContext.BaseDirectory, "Permafrost.Cli.dll");

    private static CliSettings With(string environment) =>
        new() { Environment = environment.Split(' ').Select(pair => pair.Split('=')).ToDictionary(pair => pair[0], string? (pair) => pair[1]) };

    [Theory]
    [InlineData("OMPI_COMM_WORLD_SIZE=2", "finetune --task bit-xor --backbone gpt2-tiny --init random")]
    [InlineData("PMI_SIZE=4 PMI_RANK=0", "finetune --resume-from-checkpoint run")]
    [InlineData("SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0", "quickstart")]
    [InlineData("MV2_COMM_WORLD_SIZE=2", "study run table1 --scale smoke")]
    public void A_training_in_one_process_is_not_started_several_times(string environment, string command) =>
        Cli.Run(With(environment), command.Split(' ')).Refused(2, $"one of {environment.Split('=', ' ')[1]} processes", environment.Split('=')[0]);

    [Fact]
    public void The_other_processes_leave_the_sentence_to_the_first()
    {
        CliResult other = Cli.Run(With("SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1"), "finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny");
        Assert.Equal((2, "", ""), (other.ExitCode, other.Output, other.Error));
    }

    [Theory]
    // A batch script with several tasks, a task of an array, and a launcher of one process: each is refused for what is wrong with it alone.
    [InlineData("SLURM_NTASKS=4 SLURM_ARRAY_TASK_ID=3", "finetune --task none --backbone gpt2-tiny", "none")]
    [InlineData("OMPI_COMM_WORLD_SIZE=1", "pretrain --data none.txt --tokenizer none", "none")]
    [InlineData("SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0", "study run none --index 1/4", "none")]
    public void What_is_one_process_or_takes_a_part_is_not_refused(string environment, string command, string mention)
    {
        CliResult result = Cli.Run(With(environment), command.Split(' '));
        Assert.Contains(mention, result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("processes", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_bridge_to_MPI_several_processes_are_refused() =>
        Cli.Run(With("OMPI_COMM_WORLD_SIZE=2 PERMAFROST_MPI=none"), "pretrain", "--data", "a.txt", "--tokenizer", "t").Refused(2, "OMPI_COMM_WORLD_SIZE", "mpicc");

    [Fact]
    public void Several_processes_train_as_one_does()
    {
        SkipWithoutMpi();
        using var scratch = new Scratch();
        string options = Furnish(scratch) + " --max-steps 12";
        CliSettings settings = Settings(scratch);
        Cli.Shell(settings, $"permafrost {options} --output-dir one").Succeeded();
        foreach ((string name, int processes) in new[] { ("two", 2), ("again", 2), ("four", 4) })
            Cli.Shell(settings, $"{Mpirun(processes)} {options} --output-dir {name}").Succeeded();

        double[] one = Losses(scratch, "one");
        Assert.Equal(12, one.Length);
        foreach (string name in new[] { "two", "four" })
            Assert.All(one.Zip(Losses(scratch, name)), pair => Assert.Equal(pair.First, pair.Second, 2e-5));
        // Learned, so that wrong gradients would show.
        Assert.True(one[^1] < one[0] - 0.3, $"{one[0]} to {one[^1]}");
        Assert.Equal(File.ReadAllBytes(scratch["two", "model", "model.safetensors"]), File.ReadAllBytes(scratch["again", "model", "model.safetensors"]));
        Assert.Equal(Losses(scratch, "two"), Losses(scratch, "again"));
        // One process wrote.
        Assert.Equal(File.ReadAllLines(scratch["one", "metrics.jsonl"]).Length, File.ReadAllLines(scratch["four", "metrics.jsonl"]).Length);

        // The first says what is wrong for all, and more processes than sequences are wrong.
        CliResult few = Cli.Shell(settings, $"{Mpirun(4)} {options.Replace("--batch-size 8", "--batch-size 3", StringComparison.Ordinal)} --output-dir few");
        Assert.Equal(2, few.ExitCode);
        Assert.Single(few.Error.Split('\n'), line => line.StartsWith("permafrost", StringComparison.Ordinal) && line.Contains("--batch-size 3", StringComparison.Ordinal));
    }

    [Fact]
    public void A_signal_stops_all_with_a_checkpoint_and_another_number_goes_on()
    {
        SkipWithoutMpi();
        using var scratch = new Scratch();
        string options = Furnish(scratch);
        CliSettings settings = Settings(scratch);
        using (CliProcess process = Cli.StartShell(settings, $"exec {Mpirun(2)} {options} --max-steps 1000000 --output-dir run"))
        {
            process.WaitForError("step 1/");
            process.Signal(Cli.User);
            CliResult stopped = process.WaitForExit(CliSettings.Patience);
            Assert.Equal(75, stopped.ExitCode);
            Assert.Single(stopped.Error.Split('\n'), line => line.Contains("--resume-from-checkpoint run", StringComparison.Ordinal));
        }
        long done = Directory.GetDirectories(scratch["run"], "checkpoint-*").Max(path => long.Parse(path[(path.LastIndexOf('-') + 1)..], CultureInfo.InvariantCulture));
        CliResult resumed = Cli.Shell(settings, $"permafrost pretrain --resume-from-checkpoint run --max-steps {done + 3}").Succeeded();
        Assert.Contains("2 process(es) computed it so far, and 1 do from here on", resumed.Error, StringComparison.Ordinal);
        Assert.Equal(done + 3, Losses(scratch, "run").Length);
    }

    [Fact]
    public void A_process_that_dies_ends_the_others_and_the_checkpoint_stands()
    {
        SkipWithoutMpi();
        using var scratch = new Scratch();
        string options = Furnish(scratch);
        CliSettings settings = Settings(scratch);
        using (CliProcess process = Cli.StartShell(settings, $"echo $$ >pid; exec {Mpirun(2)} {options} --max-steps 1000000 --save-steps 3 --output-dir run"))
        {
            process.WaitFor(() => Directory.Exists(scratch["run"]) && Directory.GetDirectories(scratch["run"], "checkpoint-*").Any(path => !path.EndsWith(".tmp", StringComparison.Ordinal)), "wrote a checkpoint");
            string mpirun = File.ReadAllText(scratch["pid"]).Trim();
            string last = File.ReadAllText($"/proc/{mpirun}/task/{mpirun}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries)[^1];
            using (var rank = System.Diagnostics.Process.GetProcessById(int.Parse(last, CultureInfo.InvariantCulture))) rank.Kill();
            Assert.NotEqual(0, process.WaitForExit(CliSettings.Patience).ExitCode);
        }
        Assert.False(File.Exists(scratch["run", "results.json"]));
        long done = Directory.GetDirectories(scratch["run"], "checkpoint-*").Where(path => !path.EndsWith(".tmp", StringComparison.Ordinal))
            .Max(path => long.Parse(path[(path.LastIndexOf('-') + 1)..], CultureInfo.InvariantCulture));
        Cli.Shell(settings, $"{Mpirun(2)} pretrain --resume-from-checkpoint run --max-steps {done + 2}").Succeeded();
    }

    private static void SkipWithoutMpi()
    {
        bool there = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, "mpirun")));
        Assert.SkipUnless(there, "needs mpirun (Debian's openmpi-bin)");
        Assert.SkipUnless(File.Exists(Path.Combine(AppContext.BaseDirectory, "libpermafrost_mpi.so")), "needs the bridge to MPI, which is built where there is mpicc (Debian's libopenmpi-dev)");
    }

    // Two processes on one core, and as root in a container, are what Open MPI warns of.
    private static CliSettings Settings(Scratch scratch) => new()
    {
        WorkingDirectory = scratch.Path,
        Environment = new Dictionary<string, string?>
        {
            ["PERMAFROST_HOME"] = scratch["home"],
            ["OMPI_ALLOW_RUN_AS_ROOT"] = "1",
            ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1",
            ["OMPI_MCA_rmaps_base_oversubscribe"] = "1",
            ["PRTE_ALLOW_RUN_AS_ROOT"] = "1",
            ["PRTE_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1",
            ["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe",
        },
    };

    private static string Mpirun(int processes) => $"mpirun -n {processes} \"${{DOTNET_HOST_PATH:-dotnet}}\" '{Program}'";

    private static string Furnish(Scratch scratch)
    {
        var text = new StringBuilder();
        for (int i = 0; i < 1000; i++) text.Append(CultureInfo.InvariantCulture, $"The people of village {i % 97} sang about the old bridge over the river {i % 13}.\n");
        scratch.Write("train.txt", text.ToString());
        scratch.Write("test.txt", "The people of village 5 sang about the old bridge over the river 7.\n");
        InProcess.Run("tokenizer", "train", "--data", scratch["train.txt"], "--vocabulary-size", "350", "--output-dir", scratch["tokenizer"], "--json").Succeeded();
        return "pretrain --data train.txt test.txt --tokenizer tokenizer --held-out test.txt --preset gpt2-tiny --layers 1 --width 32 --heads 2 --context 32 --batch-size 8 --micro-batch-size 2 " +
            "--dropout 0.1 --dtype float32 --warmup-steps 2 --learning-rate 0.01 --lr-scheduler-type constant_with_warmup --logging-steps 1 --eval-steps 0 --save-minutes 0 --save-dtype float32";
    }

    private static double[] Losses(Scratch scratch, string run) =>
        [.. MetricsLog.Read(scratch[run, "metrics.jsonl"]).Where(line => line["train/loss"] is not null).Select(line => (double)line["train/loss"]!)];
}
