using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Tasks;
using Permafrost.Training;

namespace Permafrost.Cli.Commands;

internal static class PredictCommand
{
    public static Command Create()
    {
        var command = new Command("predict", "answer new inputs with a finished run's adapter: labels and probabilities");
        var run = new Argument<string>("RUN") { Description = "the run's folder" };
        var input = new Option<string>("--input") { Description = "the inputs, in the task's format; - for standard input where that is text", Required = true, HelpName = "FILE|-" };
        var output = new Option<string?>("--output") { Description = "write JSON lines to this file instead", HelpName = "FILE" };
        var backbone = new Option<string?>("--backbone") { Description = "the run's backbone, where it is no longer where the run found it", HelpName = "REF" };
        var batch = new Option<int>("--per-device-eval-batch-size") { Description = "examples a batch", DefaultValueFactory = _ => 64 };
        var json = new Option<bool>("--json") { Description = "print one JSON object a line" };
        command.Add(run);
        foreach (Option option in new Option[] { input, output, backbone, batch, json }) command.Add(option);
        command.SetAction((parsed, cancellation) => Task.FromResult(Run(
            parsed.GetRequiredValue(run), parsed.GetRequiredValue(input), parsed.GetValue(output), parsed.GetValue(backbone), parsed.GetValue(batch), parsed.GetValue(json), cancellation)));
        return command;
    }

    private static int Run(string path, string input, string? output, string? backbone, int batchSize, bool json, CancellationToken cancellation)
    {
        if (batchSize < 1) throw new UsageException($"--per-device-eval-batch-size is {batchSize}; it must be at least 1");
        using FinetuneRun run = FinetuneRun.Open(path, withData: false, options => options with { Backbone = backbone ?? options.Backbone });
        if (input == "-" && !run.Task.InputFormat.StartsWith("text", StringComparison.Ordinal)) throw new PermafrostException($"--input -: {run.Task.Name} reads {run.Task.InputFormat}, which cannot come from standard input; name a file");
        IExamples examples = run.Task.ReadInputs(input, run.Model.Shape, run.TaskOptions);
        batchSize = MemoryEstimate.FitScoring(run, batchSize, EnvironmentInfo.AvailableMemoryBytes);
        IEnumerable<Prediction> predictions = Evaluator.Predict(run.Model, examples, batchSize, run.Device, cancellation);
        if (output is not null)
        {
            using var writer = new StringWriter();
            foreach (Prediction prediction in predictions) writer.Write(FinetuneRun.ToJson(prediction, run.Model.Shape).ToJsonString() + "\n");
            Formats.AtomicFile.WriteText(output, writer.ToString());
            return 0;
        }
        foreach (Prediction prediction in predictions)
        {
            JsonObject record = FinetuneRun.ToJson(prediction, run.Model.Shape);
            Output.Line(json ? record.ToJsonString() : Plain(prediction, run.Model.Shape));
        }
        return 0;
    }

    // "17  7  0=0.0001 ... 7=0.9991 ...": number, label, probability of each class; several answers show theirs only.
    private static string Plain(Prediction prediction, TaskShape shape)
    {
        string Name(long answer) => shape.Labels.Count > 0 ? shape.Labels[(int)answer] : answer.ToString(CultureInfo.InvariantCulture);
        if (prediction.Classes.Length > 1)
        {
            IEnumerable<string> sure = prediction.Probabilities.Select((row, i) => row[prediction.Classes[i]].ToString("F4", CultureInfo.InvariantCulture));
            return $"{prediction.Index}\t{string.Join(shape.Classes <= 10 && shape.Labels.Count == 0 ? "" : " ", prediction.Classes.Select(Name))}\t{string.Join(' ', sure)}";
        }
        IEnumerable<string> all = prediction.Probabilities[0].Select((p, c) => FormattableString.Invariant($"{Name(c)}={p:F4}"));
        return $"{prediction.Index}\t{Name(prediction.Classes[0])}\t{string.Join(' ', all)}";
    }
}
