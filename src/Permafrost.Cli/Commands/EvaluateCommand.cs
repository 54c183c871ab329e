using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Runs;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Cli.Commands;

internal static class EvaluateCommand
{
    public static Command Create()
    {
        var command = new Command("evaluate", "score a finished run's adapter on a split again");
        var run = new Argument<string>("RUN") { Description = "the run's folder" };
        var split = new Option<string>("--split") { Description = "validation or test", DefaultValueFactory = _ => "test" };
        var data = new Option<string?>("--data") { Description = "the task's data, where it is no longer where the run found it" };
        var test = new Option<string?>("--test-data") { Description = "another table, all of whose rows are scored, for runs on tables", HelpName = "FILE" };
        Option<string?> backbone = CommonOptions.Backbone();
        Option<int> batch = CommonOptions.EvalBatch();
        Option<bool> json = CommonOptions.Json();
        command.Add(run);
        foreach (Option option in new Option[] { split, data, test, backbone, batch, json }) command.Add(option);
        command.SetAction((parsed, cancellation) => Task.FromResult(Run(
            parsed.GetRequiredValue(run), parsed.GetRequiredValue(split), parsed.GetValue(data), parsed.GetValue(test), parsed.GetValue(backbone),
            CommonOptions.Checked(parsed.GetValue(batch)), parsed.GetValue(json), cancellation)));
        return command;
    }

    private static int Run(string path, string split, string? data, string? test, string? backbone, int batchSize, bool json, CancellationToken cancellation)
    {
        if (split is not ("validation" or "test")) throw new UsageException($"--split '{split}' does not exist; there are validation and test");
        if (test is not null && split != "test") throw new UsageException($"--test-data {test} is scored as the test split; leave out --split {split}");
        using Finetuning run = Finetuning.Open(path, withData: true, options =>
        {
            // Else the run's own table would be scored, and the other passed over in silence.
            if (data is not null && test is null && (split == "test" ? options.Data.TestData : options.Data.ValidationData) is { } own)
                throw new UsageException($"--data {data} is where the training rows lie, and this run's {split} rows lie in {own}; --test-data scores another table");
            return options with
            {
                Data = options.Data with { Path = data ?? options.Data.Path, TestData = test ?? options.Data.TestData },
                Model = options.Model with { Backbone = backbone ?? options.Model.Backbone },
            };
        });
        foreach (string note in run.Notes) Output.Note(OptionWords.AsFlags(note));
        Scores scores = run.Score(split, batchSize, cancellation) ?? throw new PermafrostException($"{path}: the run's data has no {split} split");
        string task = run.Options.Data.Task;
        if (json) Output.Json(new JsonObject { ["run"] = path, ["task"] = task, ["split"] = split, ["metrics"] = ResultTable.Json(scores) });
        else
        {
            string metrics = string.Join(", ", scores.Values.Select(pair => FormattableString.Invariant($"{pair.Key} {pair.Value:F4}")));
            string interval = run.Interval(split, scores) is { } bounds ? $" (95 % interval {ResultTable.Bounds(bounds)})" : "";
            Output.Line(FormattableString.Invariant($"{task} {split}: {metrics}, loss {scores.Loss:F4}, {scores.Count:N0} examples{interval}"));
        }
        return 0;
    }
}
