using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Cli.Terminal;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Tasks;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class ShowCommand
{
    public static Command Create()
    {
        var command = new Command("show", "show one thing in full");
        const string references = "all-MiniLM-L6-v2, a preset, a model folder, or a model in the Hugging Face cache";
        command.Add(Sub("backbone", "REF", references, "configuration, groups and parameter counts of a backbone", Backbone));
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
        if (source.Note is { } note) Output.Note(note);
        var summary = BackboneSummary.Of(source);
        BackboneTraits traits = summary.Traits;
        if (json)
        {
            Output.Json(new JsonObject
            {
                ["backbone"] = reference,
                ["folder"] = source.Folder,
                ["model_type"] = source.Config.ModelType,
                ["architecture"] = source.Config.Architecture,
                ["width"] = traits.Width,
                ["layers"] = traits.Layers,
                ["decoder_layers"] = traits.DecoderLayers,
                ["positions"] = traits.LongestInput,
                ["stored_types"] = new JsonArray([.. summary.StoredTypes.Select(type => (JsonNode)type)]),
                ["parameters"] = summary.Elements,
                ["groups"] = new JsonObject(summary.Groups.Select(group => KeyValuePair.Create(BackboneTable.Name(group), (JsonNode?)group.Elements))),
                ["fpt"] = new JsonObject
                {
                    ["trained"] = summary.TrainedElements,
                    ["trained_percent"] = summary.TrainedPercent,
                    ["unused"] = summary.UnusedElements,
                    ["position_rows"] = summary.PositionRows,
                    ["bytes_float32"] = summary.Float32Bytes,
                    ["bytes_bfloat16"] = summary.BFloat16Bytes,
                },
            });
            return;
        }
        BackboneTable.Print(reference, source, summary);
    }

    private static void Task(string name, bool json)
    {
        (TaskDefinition task, string reading) = TaskRegistry.Find(name);
        if (json)
        {
            Output.Json(new JsonObject
            {
                ["task"] = name,
                ["version"] = task.Version,
                ["summary"] = task.Summary,
                ["description"] = task.Description,
                ["input_format"] = task.InputFormat,
            });
        }
        else
        {
            Output.Line($"{task.Name}{(reading.Length > 0 ? "@" + reading : "")}, version {task.Version}: {task.Summary}");
            Output.Line(OptionWords.AsFlags(task.Description));
            Output.Line($"Predict  {task.InputFormat}");
        }
    }

    private static void Run(string path, bool json)
    {
        var result = RunResult.Read(RunFolder.Open(path));
        if (json) Output.Json(result.ToJson());
        else ResultTable.Print(result, path);
    }
}
