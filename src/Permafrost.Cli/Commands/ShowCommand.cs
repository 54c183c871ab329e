using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tasks;
using Permafrost.Training;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class ShowCommand
{
    public static Command Create()
    {
        var command = new Command("show", "show one thing in full");
        command.Add(Sub("backbone", "REF", "a preset, a model folder, or a model in the Hugging Face cache", "configuration, groups and parameter counts of a backbone", Backbone));
        command.Add(Sub("task", "NAME", "a task (`permafrost ls tasks`)", "encoding, splits, options and traps of a task", Task));
        command.Add(Sub("run", "DIR", "a finished run's folder", "a run's results", Run));
        return command;
    }

    private static Command Sub(string name, string argumentName, string argumentHelp, string description, Action<string, bool> show)
    {
        var command = new Command(name, description);
        var argument = new Argument<string>(argumentName) { Description = argumentHelp };
        Option<bool> json = CommonOptions.Json();
        command.Add(argument);
        command.Add(json);
        command.SetAction(parsed =>
        {
            show(parsed.GetRequiredValue(argument), parsed.GetValue(json));
            return 0;
        });
        return command;
    }

    private static void Backbone(string reference, bool json)
    {
        BackboneSource source = BackboneSource.Resolve(reference);
        using Backbone backbone = ModelRegistry.Find(source.Config).Backbone(source.Config);
        var groups = new SortedDictionary<string, (long Tensors, long Elements)>(StringComparer.Ordinal);
        foreach ((string name, Parameter parameter) in backbone.NamedParameters())
        {
            string group = backbone.GroupOf(name).Group.ToString().ToLowerInvariant();
            (long tensors, long elements) = groups.GetValueOrDefault(group);
            groups[group] = (tensors + 1, elements + parameter.Elements);
        }
        long total = groups.Values.Sum(group => group.Elements);
        if (json)
        {
            Output.Json(new JsonObject
            {
                ["backbone"] = reference,
                ["folder"] = source.Folder,
                ["model_type"] = source.Config.ModelType,
                ["architecture"] = source.Config.Architecture,
                ["width"] = backbone.Width,
                ["layers"] = backbone.Layers,
                ["positions"] = backbone.MaxPositions,
                ["parameters"] = total,
                ["groups"] = new JsonObject(groups.Select(group => KeyValuePair.Create(group.Key, (JsonNode?)group.Value.Elements))),
            });
            return;
        }
        Output.Line($"{reference}: {source.Config.ModelType}, {backbone.Layers} layers of {backbone.Width}, {backbone.MaxPositions} positions, {total:N0} parameters without heads");
        Output.Line(source.Folder is null ? "a preset: use it with --init random" : $"weights: {source.Folder}");
        Table table = Output.Table("group", "tensors", "parameters", "share");
        foreach ((string group, (long tensors, long elements)) in groups) table.AddRow(group, $"{tensors}", $"{elements:N0}", ResultTable.Percent((double)elements / total));
        Output.Write(table);
    }

    private static void Task(string name, bool json)
    {
        (TaskDefinition task, string reading) = TaskRegistry.Find(name);
        if (json) Output.Json(new JsonObject { ["task"] = name, ["version"] = task.Version, ["summary"] = task.Summary, ["description"] = task.Description, ["input_format"] = task.InputFormat });
        else
        {
            Output.Line($"{task.Name}{(reading.Length > 0 ? "@" + reading : "")}, version {task.Version}: {task.Summary}");
            Output.Line(task.Description);
            Output.Line($"Predict  {task.InputFormat}");
        }
    }

    private static void Run(string path, bool json)
    {
        JsonObject results = ResultTable.Read(RunFolder.Open(path));
        if (json) Output.Json(results);
        else ResultTable.Print(results, path);
    }
}
