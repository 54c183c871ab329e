using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Baselines;
using Permafrost.Cli.Terminal;
using Permafrost.Runs;
using Permafrost.Studies;
using Permafrost.Tasks.Baselines;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class BaselinesCommand
{
    public static Command Create()
    {
        var command = new Command("baselines", "measure what trivial rules, and what a user would try first, score on a task's test split");
        var task = new Argument<string?>("TASK") { Description = "a task (`permafrost ls tasks`); with --data alone the one that it tells", Arity = ArgumentArity.ZeroOrOne };
        var same = new Option<string?>("--task") { Description = "the same as TASK, as the other verbs take it", HelpName = "TASK" };
        var data = new Option<string?>("--data") { Description = "the task's data: a file or folder" };
        var validation = new Option<string?>("--validation-data") { Description = "a table of validation examples; without it a share of --data is held out", HelpName = "FILE" };
        var test = new Option<string?>("--test-data") { Description = "a table of test examples, likewise", HelpName = "FILE" };
        var text = new Option<string?>("--text-column") { Description = "the column of a table that holds the texts", HelpName = "NAME" };
        var label = new Option<string?>("--label-column") { Description = "the column of a table that holds the labels", HelpName = "NAME" };
        var set = new Option<string[]>("--set") { Description = "a setting of the task, as task_options.max_length=100 (repeatable)", HelpName = "KEY=VALUE" };
        var strong = new Option<bool>("--strong")
        {
            Description = "train strong baselines too: n-grams for texts and ids, boosted trees for numbers, nearest neighbours and random convolutions for series",
        };
        var seed = new Option<long>("--seed") { Description = "seed of what a baseline draws, and of generated examples", HelpName = "N" };
        var perClass = new Option<int?>("--train-per-class") { Description = "train on so many examples a class, drawn by --seed; validation chooses nothing", HelpName = "N" };
        var split = new Option<string>("--split") { Description = "what is scored: test, or validation, by which nothing is chosen then", DefaultValueFactory = _ => "test" };
        Option<bool> json = CommonOptions.Json();
        split.AcceptOnlyFromAmong("test", "validation");
        command.Add(task);
        foreach (Option option in new Option[] { same, data, validation, test, text, label, set, strong, seed, perClass, split, json }) command.Add(option);
        command.SetAction((parsed, cancellation) => Task.FromResult(Run(
            new DataOptions
            {
                Task = Named(parsed.GetValue(task), parsed.GetValue(same))
                    ?? (parsed.GetValue(data) is null ? throw new UsageException("a task is missing; or give --data FILE") : ""),
                Path = parsed.GetValue(data),
                ValidationData = parsed.GetValue(validation),
                TestData = parsed.GetValue(test),
                TextColumn = parsed.GetValue(text),
                LabelColumn = parsed.GetValue(label),
                TaskOptions = Settings(parsed.GetValue(set) ?? []),
                TrainPerClass = parsed.GetValue(perClass),
            },
            parsed.GetValue(strong) ? StrongBaselines.All : [], parsed.GetValue(seed), parsed.GetRequiredValue(split), parsed.GetValue(json), cancellation)));
        return command;
    }

    private static string? Named(string? task, string? same) => task is null || same is null || task == same ? task ?? same
        : throw new UsageException($"--task {same}: TASK is {task} already; leave one of them out");

    private static Dictionary<string, string> Settings(string[] given)
    {
        var options = new Dictionary<string, string>();
        foreach (string setting in given)
        {
            string[] parts = setting.Split('=', 2);
            if (parts.Length < 2 || !parts[0].StartsWith("task_options.", StringComparison.Ordinal))
                throw new UsageException($"--set '{setting}': write --set task_options.NAME=VALUE");
            options[parts[0]["task_options.".Length..]] = parts[1];
        }
        return options;
    }

    private static int Run(DataOptions data, IReadOnlyList<IStrongBaseline> strong, long seed, string split, bool json, CancellationToken cancellation)
    {
        var baselines = TaskBaselines.Measure(data, strong, seed, split, cancellation);
        if (json)
        {
            static JsonObject Named<T>(IEnumerable<KeyValuePair<string, T>> pairs) =>
                new(pairs.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)JsonValue.Create(pair.Value))));
            IEnumerable<KeyValuePair<string, double>> scores = baselines.Strong
                .Where(score => score.Shown is not null).Select(score => KeyValuePair.Create(score.Name, score.Shown!.Value));
            Output.Json(new JsonObject
            {
                ["task"] = baselines.Task,
                ["task_version"] = baselines.TaskVersion,
                ["baselines"] = new JsonObject { ["trivial"] = Named(baselines.Trivial), ["strong"] = Named(scores) },
                ["settings"] = Named(baselines.Strong.Select(score => KeyValuePair.Create(score.Name, score.Settings))),
            });
            return 0;
        }
        Table table = Output.Table([$"baselines of {baselines.Task}", baselines.Metric.Name, .. strong.Count > 0 ? ["settings chosen on validation"] : Array.Empty<string>()]);
        void Row(string name, double? score, string settings)
        {
            string shown = score is { } value ? ResultTable.Number(baselines.Metric.Name, value) : "";
            table.AddRow([Markup.Escape(BaselineNames.Of(name)), shown, .. strong.Count > 0 ? [Markup.Escape(settings)] : Array.Empty<string>()]);
        }
        foreach ((string rule, double score) in baselines.Trivial) Row(rule, score, "");
        foreach (BaselineScore score in baselines.Strong) Row(score.Name, score.Shown, score.Settings);
        Output.Write(table);
        if (strong.Count > 0 && baselines.Strong.Count == 0)
            Output.Note($"no strong baseline applies to {baselines.Task}: they take texts, or vectors of one length, with one answer each");
        return 0;
    }
}
