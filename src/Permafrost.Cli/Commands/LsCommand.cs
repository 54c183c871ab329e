using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tuning;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class LsCommand
{
    public static Command Create()
    {
        var command = new Command("ls", "list what there is");
        var what = new Argument<string>("WHAT") { Description = "backbones, tasks, policies, inits or runs" };
        what.AcceptOnlyFromAmong("backbones", "tasks", "policies", "inits", "runs");
        var folder = new Option<string>("--runs-dir") { Description = "where `ls runs` looks", DefaultValueFactory = _ => "runs" };
        Option<bool> json = CommonOptions.Json();
        command.Add(what);
        command.Add(folder);
        command.Add(json);
        command.SetAction(parsed =>
        {
            (string[] columns, List<string[]> rows) = Rows(parsed.GetRequiredValue(what), parsed.GetRequiredValue(folder));
            if (parsed.GetValue(json)) Output.Json(new JsonArray([.. rows.Select(row => (JsonNode)new JsonObject(columns.Select((column, i) => KeyValuePair.Create(column, (JsonNode?)row[i]))))]));
            else if (rows.Count == 0) Output.Line("none yet");
            else Print(columns, rows);
            return 0;
        });
        return command;
    }

    private static (string[] Columns, List<string[]> Rows) Rows(string what, string runs) => what switch
    {
        "tasks" => (["task", "summary"], [.. TaskRegistry.All.SelectMany(task => TaskRegistry.Names(task).Select(name => new[] { name, name == task.Name ? task.Summary : $"another reading of {task.Name}" }))]),
        "policies" => (["policy", "selectors", "summary"], [.. Policy.Named.Select(policy => new[] { policy.Name, policy.Selectors, policy.Summary })]),
        "inits" => (["init", "summary"], [.. BackboneInit.All.Select(init => new[] { init.Name, init.Summary })]),
        "backbones" => (["backbone", "summary"], [.. ModelRegistry.Presets.Select(preset => new[] { preset.Name, preset.Summary + " (preset: --init random)" }), .. Cached()]),
        _ => (["run", "task", "backbone", "policy", "seed", "steps", "test accuracy"], Runs(runs)),
    };

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
            string results = Path.Combine(path, "results.json");
            if (!File.Exists(results))
            {
                if (File.Exists(Path.Combine(path, "config.yaml"))) rows.Add([path, "", "", "", "", "", "unfinished"]);
                continue;
            }
            JsonObject json;
            try
            {
                json = Formats.JsonFile.Read(results);
            }
            catch (PermafrostException)
            {
                rows.Add([path, "", "", "", "", "", "damaged"]);
                continue;
            }
            string score = json["metrics"] is not JsonObject metrics ? "damaged"
                : metrics["test"] is not { } test ? "-"
                : ResultTable.Share((test as JsonObject)?["accuracy"]) is { } accuracy ? ResultTable.Percent(accuracy) : "damaged";
            rows.Add([path, $"{json["task"]}", $"{json["backbone"]}", $"{json["policy"]}", $"{json["seed"]}", $"{json["steps"]}", score]);
        }
        return rows;
    }

    private static void Print(string[] columns, List<string[]> rows)
    {
        Table table = Output.Table(columns);
        foreach (string[] row in rows) table.AddRow([.. row.Select(Markup.Escape)]);
        Output.Write(table);
    }
}
