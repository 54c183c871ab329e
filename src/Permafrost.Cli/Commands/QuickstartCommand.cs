using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Training;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class QuickstartCommand
{
    // Both arms of a comparison have the same budget, and each picks its own learning rate on validation: with one rate for both, whichever it
    // suits better would win (Rothermel et al. 2021).
    private const int PretrainSteps = 1500;
    private const int XorSteps = 700;
    private const int ListOpsSteps = 1000;
    private const string Caution = "One seed, one body: a demonstration, not a finding. Frozen weights were bit-identical before and after every run.";
    private const string Record = "quickstart.json";
    private static readonly double[] Rates = [3e-3, 1e-2];

    public static Command Create()
    {
        var command = new Command("quickstart", "the main idea in a few minutes, no data needed: pretrain a body on one task, freeze it, and compute on others");
        var output = new Option<string?>("--output-dir") { Description = "the folder; default runs/quickstart-<time>; one that was stopped goes on" };
        var seed = new Option<long>("--seed") { Description = "seed of everything" };
        var scale = new Option<double>("--scale") { Description = "multiplies every number of steps: 0.01 for a quick look at what happens", DefaultValueFactory = _ => 1 };
        Option<bool> json = CommonOptions.Json();
        foreach (Option option in new Option[] { output, seed, scale, json }) command.Add(option);
        command.SetAction(parsed => Run(parsed.GetValue(output), parsed.GetValue(seed), parsed.GetValue(scale), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string? output, long seed, double scale, bool json)
    {
        if (scale is not (> 0 and <= 100)) throw new UsageException("--scale must be above 0 and at most 100");
        string root = output ?? RunFolder.CreateUnused(Path.Combine("runs", FormattableString.Invariant($"quickstart-{DateTime.Now:yyyyMMdd-HHmmss}"))).Path;
        Begin(root, seed, scale);
        using var held = new RunLock(root);
        string again = FormattableString.Invariant($"permafrost quickstart --output-dir {ShellWord.Quoted(root)} --seed {seed} --scale {scale}");
        try
        {
            return Compare(root, seed, scale, json);
        }
        catch (StoppedException stopped)
        {
            throw new StoppedException($"{stopped.Message.Split("; go on with")[0]} in {root}; go on with: {again}", stopped.Reason);
        }
        catch (OperationCanceledException)
        {
            throw new StoppedException($"stopped while scoring in {root}; go on with: {again}", CommandLine.Stop.Reason);
        }
    }

    // A folder that a quickstart was stopped in is gone on in, by the same seed and scale.
    private static void Begin(string root, long seed, double scale)
    {
        string record = Path.Combine(root, Record);
        bool used = Directory.Exists(root) && Directory.EnumerateFileSystemEntries(root).Any(entry => Path.GetFileName(entry) != ".lock" && Path.GetExtension(entry) is not (".tmp" or ".probe"));
        if (!used)
        {
            RunFolder.Create(root);
            RunFolder.WriteJson(record, new JsonObject { ["seed"] = seed, ["scale"] = scale });
            return;
        }
        if (!File.Exists(record)) throw new UsageException($"--output-dir {root} is not empty; choose another folder, or remove it");
        JsonObject known = Formats.JsonFile.Read(record);
        if (known["finished"] is not null) throw new UsageException($"--output-dir {root} holds a quickstart that has finished; choose another folder, or remove it");
        if (known["seed"]?.ToString() != JsonValue.Create(seed).ToString() || known["scale"]?.ToString() != JsonValue.Create(scale).ToString())
            throw new UsageException($"--output-dir {root} holds another quickstart (--seed {known["seed"]} --scale {known["scale"]}); choose another folder, or go on with that one");
        Output.Note($"going on in {root}");
    }

    private static int Compare(string root, long seed, double scale, bool json)
    {
        int Steps(int steps) => Math.Max(4, (int)(steps * scale));
        var common = new RunOptions { Backbone = "gpt2-tiny", Init = "random", InitSeed = seed, Seed = seed, Dropout = 0, PerDeviceTrainBatchSize = 32, LearningRate = 3e-3, SaveMinutes = 5 };

        Output.Note("1. A GPT-2 of 2 layers and 128 numbers learns Bit Memory, all of its weights training: show three bit strings, recall one of them, half masked.");
        string body = Path.Combine(root, "body");
        var memory = new Dictionary<string, string> { ["length"] = "60", ["patterns"] = "3", ["chunk"] = "10" };
        RunOptions pretraining = common with
        {
            Task = "bit-memory",
            TaskOptions = memory,
            Policy = "*",
            LearningRate = 1e-3,
            LrSchedulerType = "constant_with_warmup",
            WarmupSteps = Steps(100),
            MaxSteps = Steps(PretrainSteps),
            EvalSteps = Steps(500),
        };
        // The configuration is written last: where it is, the body is whole.
        JsonObject pretrained = Train(pretraining, Path.Combine(root, "pretrain"), done: File.Exists(Path.Combine(body, "config.json")), run => BackboneFolder.Save(run.Model.Backbone, body));

        var results = new List<(string Task, string Body, JsonObject Results, string Folder)>();
        foreach ((string task, int steps, Dictionary<string, string> settings) in new[]
        {
            ("bit-xor", XorSteps, new Dictionary<string, string>()),
            ("listops", ListOpsSteps, new Dictionary<string, string> { ["max_length"] = "25", ["min_length"] = "4" }),
        })
        {
            Output.Note($"{results.Count / 2 + 2}. {task}: the body stays frozen; input and output layer, norms and positions train. Once with the body that learned Bit Memory, once with a random one.");
            foreach (bool isPretrained in new[] { true, false })
            {
                RunOptions options = common with { Task = task, TaskOptions = settings, MaxSteps = Steps(steps), EvalSteps = Steps(100), ScoreTest = false };
                if (isPretrained) options = options with { Backbone = body, Init = "pretrained" };
                (JsonObject chosen, string folder) = Sweep(options, Path.Combine(root, $"{task}-{(isPretrained ? "pretrained" : "random")}"));
                results.Add((task, isPretrained ? "pretrained on Bit Memory" : "random", chosen, folder));
            }
        }
        string[] findings = [.. results.Select(result => result.Task).Distinct().Select(task => Verdict(task, [.. results.Where(result => result.Task == task)])), Caution];
        Print(root, pretrained, results, findings, json);
        if (ReportFile.Write(root, [Path.Combine(root, "pretrain"), .. results.Select(result => result.Folder)], findings) is { } report && !json) Output.Line($"report: {report}");
        RunFolder.WriteJson(Path.Combine(root, Record), new JsonObject { ["seed"] = seed, ["scale"] = scale, ["finished"] = true });
        return 0;
    }

    // One run for each rate; the best on validation is the arm's, and only it sees the test split.
    private static (JsonObject Results, string Folder) Sweep(RunOptions options, string path)
    {
        string best = "";
        double accuracy = -1;
        foreach (double rate in Rates)
        {
            string folder = FormattableString.Invariant($"{path}-lr{rate}");
            double own = (double)Train(options with { LearningRate = rate }, folder, done: true)["metrics"]!["validation"]!["accuracy"]!;
            if (own > accuracy) (best, accuracy) = (folder, own);
        }
        JsonObject chosen = FinetuneRun.ScoreChosen(best, CommandLine.Stop.Token);
        ReportFile.Write(best, [best]);
        return (chosen, best);
    }

    // A run that has finished is not run again where what follows it is done too; one that was stopped goes on.
    private static JsonObject Train(RunOptions options, string path, bool done, Action<FinetuneRun>? then = null)
    {
        string results = Path.Combine(path, "results.json");
        if (done && File.Exists(results)) return Formats.JsonFile.Read(results);
        bool begun = File.Exists(Path.Combine(path, "config.yaml"));
        if (begun) Checkpoint.Recover(RunFolder.Open(path));
        begun = begun && Checkpoint.All(RunFolder.Open(path)).Count > 0;
        if (!begun && Directory.Exists(path)) Directory.Delete(path, recursive: true);
        RunFolder folder = begun ? RunFolder.Open(path) : RunFolder.Create(path);
        using var held = new RunLock(path);
        using FinetuneRun run = FinetuneRun.Prepare(options with { OutputDir = path }, wholeBackbone: true);
        string? checkpoint = begun ? Checkpoint.Newest(folder, Output.Note) : null;
        if (checkpoint is not null) run.CheckSameRun(checkpoint, []);
        Output.Note(run.Model.CountsLine);
        JsonObject made = TrainingProgress.Train(run, folder, "permafrost quickstart", checkpoint);
        then?.Invoke(run);
        return made;
    }

    private static void Print(string root, JsonObject pretrained, List<(string Task, string Body, JsonObject Results, string Folder)> results, string[] findings, bool json)
    {
        if (json)
        {
            Output.Json(new JsonObject { ["pretrain"] = pretrained.DeepClone(), ["runs"] = new JsonArray([.. results.Select(result => result.Results.DeepClone())]), ["folder"] = root });
            return;
        }
        Table table = Output.Table("task", "frozen body", "test accuracy", "best trivial rule", "trained", "rate", "steps to 99 %", "tokens/s");
        foreach ((string task, string body, JsonObject result, string folder) in results)
        {
            JsonNode parameters = result["parameters"]!;
            table.AddRow(task, body, ResultTable.Percent(Accuracy(result)), ResultTable.Percent(BestFloor(result)), $"{(double)parameters["trained_percent"]!:F2} %",
                ((double)result["learning_rate"]!).ToString("R", CultureInfo.InvariantCulture), StepsTo(folder, 0.99) is { } step ? step.ToString("N0", CultureInfo.InvariantCulture) : "-", ((double)result["tokens_per_second"]!).ToString("N0", CultureInfo.InvariantCulture));
        }
        Output.Write(table);
        foreach (string finding in findings) Output.Line(finding);
        Output.Line();
        Output.Line($"next:  printf '0110110001\\n' | ./permafrost predict {ShellWord.Quoted(results[0].Folder)} --input -      (01101 xor 10001 = 11100)");
        Output.Line($"folder: {root}");
    }

    // What pretraining did, or did not, from the numbers of this run alone: a difference within two standard errors is none.
    private static string Verdict(string task, (string Task, string Body, JsonObject Results, string Folder)[] arms)
    {
        (double with, double without) = (Accuracy(arms[0].Results), Accuracy(arms[1].Results));
        long count = (long)arms[0].Results["metrics"]!["test"]!["count"]!;
        double error = Math.Sqrt((with * (1 - with) + without * (1 - without)) / count);
        (long? fast, long? slow) = (StepsTo(arms[0].Folder, 0.99), StepsTo(arms[1].Folder, 0.99));
        string speed = fast is null || slow is null ? "" : fast == slow ? $", and both reached 99 % within {fast:N0} steps" : $", reaching 99 % after {fast:N0} steps instead of {slow:N0}";
        string score = Math.Abs(with - without) <= 2 * error
            ? $"pretraining made no difference to the score ({ResultTable.Percent(with)} against {ResultTable.Percent(without)} from a random body)"
            : $"pretraining {(with > without ? "helped" : "hurt")}: {ResultTable.Percent(with)} against {ResultTable.Percent(without)} from a random body";
        double floor = BestFloor(arms[0].Results);
        string beaten = Math.Max(with, without) < floor ? $"; both stay below the {ResultTable.Percent(floor)} of a trivial rule" : "";
        return $"{task}: {score}{speed}{beaten}.";
    }

    private static double Accuracy(JsonObject results) => (double)results["metrics"]!["test"]!["accuracy"]!;

    private static double BestFloor(JsonObject results) => results["floors"]!.AsObject().Max(floor => (double)floor.Value!);

    private static long? StepsTo(string folder, double accuracy) =>
        MetricsLog.Read(Path.Combine(folder, "metrics.jsonl")).Where(line => line["eval/accuracy"] is { } value && (double)value >= accuracy).Select(line => (long?)line["step"]!).FirstOrDefault();
}
