using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Tasks;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class FloorsCommand
{
    public static Command Create()
    {
        var command = new Command("floors", "measure what trivial rules score on a task's test split");
        var task = new Argument<string>("TASK") { Description = "a task (`permafrost ls tasks`)" };
        var data = new Option<string?>("--data") { Description = "the task's data: a file or folder" };
        var set = new Option<string[]>("--set") { Description = "a setting of the task, as task_options.max_length=100 (repeatable)", HelpName = "KEY=VALUE" };
        Option<bool> json = CommonOptions.Json();
        command.Add(task);
        foreach (Option option in new Option[] { data, set, json }) command.Add(option);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(task), parsed.GetValue(data), parsed.GetValue(set) ?? [], parsed.GetValue(json)));
        return command;
    }

    private static int Run(string name, string? path, string[] settings, bool json)
    {
        (TaskDefinition task, string reading) = TaskRegistry.Find(name);
        var options = new Dictionary<string, string>();
        foreach (string setting in settings)
        {
            string[] parts = setting.Split('=', 2);
            if (parts.Length < 2 || !parts[0].StartsWith("task_options.", StringComparison.Ordinal)) throw new UsageException($"--set '{setting}': write --set task_options.NAME=VALUE");
            options[parts[0]["task_options.".Length..]] = parts[1];
        }
        using TaskData data = task.Load(new TaskOptions(path, reading, options));
        IReadOnlyDictionary<string, double> floors = Floors.Measure(task, data);
        if (json)
        {
            Output.Json(new JsonObject { ["task"] = name, ["task_version"] = task.Version, ["floors"] = new JsonObject(floors.Select(floor => KeyValuePair.Create(floor.Key, (JsonNode?)floor.Value))) });
            return 0;
        }
        Table table = Output.Table($"floors of {name}", "accuracy");
        foreach ((string rule, double score) in floors) table.AddRow(Markup.Escape(ResultTable.FloorName(rule)), ResultTable.Percent(score));
        Output.Write(table);
        return 0;
    }
}
