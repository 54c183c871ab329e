using System.CommandLine;
using System.Globalization;
using Permafrost.Adaptation;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Runs;
using Permafrost.Training;

namespace Permafrost.Cli.Commands;

internal static class PredictCommand
{
    public static Command Create()
    {
        var command = new Command("predict", "answer new inputs with a finished run's adapter: labels and probabilities");
        var run = new Argument<string>("RUN") { Description = "the run's folder" };
        var input = new Option<string>("--input")
        {
            Description = "the inputs, in the task's format; - for standard input where that is text",
            Required = true,
            HelpName = "FILE|-",
        };
        var output = new Option<string?>("--output") { Description = "write JSON lines to this file instead", HelpName = "FILE" };
        Option<string?> backbone = CommonOptions.Backbone();
        Option<int> batch = CommonOptions.EvalBatch();
        var json = new Option<bool>("--json") { Description = "print one JSON object a line" };
        command.Add(run);
        foreach (Option option in new Option[] { input, output, backbone, batch, json }) command.Add(option);
        command.SetAction((parsed, cancellation) => Task.FromResult(Run(
            parsed.GetRequiredValue(run), parsed.GetRequiredValue(input), parsed.GetValue(output), parsed.GetValue(backbone),
            CommonOptions.Checked(parsed.GetValue(batch)), parsed.GetValue(json), cancellation)));
        return command;
    }

    private static int Run(string path, string input, string? output, string? backbone, int batchSize, bool json, CancellationToken cancellation)
    {
        using Finetuning run = Finetuning.Open(path, withData: false, options => options with { Model = options.Model with { Backbone = backbone ?? options.Model.Backbone } });
        if (input == "-" && !run.Task.InputFormat.StartsWith("text", StringComparison.Ordinal))
            throw new PermafrostException($"--input -: {run.Task.Name} reads {run.Task.InputFormat}, which cannot come from standard input; name a file");
        IEnumerable<Prediction> predictions = run.Predict(input, batchSize, new Notes(), cancellation);
        if (output is not null)
        {
            AtomicFile.Write(output, stream =>
            {
                using var writer = new StreamWriter(stream, leaveOpen: true) { NewLine = "\n" };
                foreach (Prediction prediction in predictions) writer.WriteLine(PredictionJson.Of(prediction).ToJsonString());
            });
            return 0;
        }
        foreach (Prediction prediction in predictions) Output.Line(json ? PredictionJson.Of(prediction).ToJsonString() : Plain(prediction));
        return 0;
    }

    private sealed class Notes : IProgress<TrainingEvent>
    {
        public void Report(TrainingEvent value)
        {
            if (value is TrainingNote note) Output.Note(note.Text);
        }
    }

    // "17  7  0=0.0001 ... 7=0.9991 ...": number, label, probability of each class; several answers show theirs only.
    private static string Plain(Prediction prediction)
    {
        if (prediction is NumberPrediction numbers)
            return $"{numbers.Index}\t{string.Join(' ', numbers.Numbers.Select(number => number.ToString("G6", CultureInfo.InvariantCulture)))}";
        if (prediction is SequencePrediction sequence) return FormattableString.Invariant($"{sequence.Index}\t{sequence}");
        if (prediction is LabelsPrediction labels)
            return $"{labels.Index}\t{labels}\t{string.Join(' ', labels.Probabilities.Select((p, c) => FormattableString.Invariant($"{labels.NameOf(c)}={p:F4}")))}";
        var classes = (ClassPrediction)prediction;
        if (classes.Classes.Count == 1)
        {
            IEnumerable<string> all = classes.Probabilities[0].Select((p, c) => FormattableString.Invariant($"{classes.NameOf(c)}={p:F4}"));
            return $"{classes.Index}\t{classes.Label}\t{string.Join(' ', all)}";
        }
        IEnumerable<string> sure = classes.Probabilities.Select((row, i) => row[classes.Classes[i]].ToString("F4", CultureInfo.InvariantCulture));
        bool digits = classes.Labels.Count == 0 && classes.Probabilities[0].Length <= 10;
        return $"{classes.Index}\t{string.Join(digits ? "" : " ", classes.Classes.Select(answer => classes.NameOf(answer)))}\t{string.Join(' ', sure)}";
    }
}
