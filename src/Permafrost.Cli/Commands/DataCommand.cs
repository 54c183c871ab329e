using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Data;
using Spectre.Console;

namespace Permafrost.Cli.Commands;

internal static class DataCommand
{
    public static Command Create()
    {
        var command = new Command("data", "data sets: which there are, where they are looked for, fetching and checking them");
        Option<bool> json = CommonOptions.Json();

        var list = new Command("ls", "list the data sets and whether they are here") { json };
        list.SetAction(parsed => List(parsed.GetValue(json)));
        command.Add(list);

        var name = new Argument<string>("NAME") { Description = "a data set (`permafrost data ls`)" };
        var where = new Command("where", "print the folder of a data set") { name };
        where.SetAction(parsed => { Output.Line(DataHome.Find(Known(parsed.GetRequiredValue(name)).Name, null)); return 0; });
        command.Add(where);

        var folder = new Option<string?>("--data") { Description = "the folder to check; default: where tasks look" };
        var verify = new Command("verify", "compare a data set's files with their published checksums") { name, folder, json };
        verify.SetAction(parsed => Verify(Known(parsed.GetRequiredValue(name)), parsed.GetValue(folder), parsed.GetValue(json)));
        command.Add(verify);

        var mirror = new Option<string?>("--from") { Description = "another address to fetch from", HelpName = "URL" };
        var fetch = new Command("fetch", "download a data set into the cache and check it") { name, mirror };
        fetch.SetAction((parsed, cancellation) => Fetch(Known(parsed.GetRequiredValue(name)), parsed.GetValue(mirror), cancellation));
        command.Add(fetch);
        return command;
    }

    private static PublishedDataSet Known(string name) =>
        PublishedDataSets.All.FirstOrDefault(set => set.Name == name)
        ?? throw new UsageException($"the data set '{name}' is not known; there are {string.Join(", ", PublishedDataSets.All.Select(set => set.Name))}");

    private static int List(bool json)
    {
        var rows = PublishedDataSets.All.Select(set => (set.Name, set.Summary, Folder: DataHome.Candidates(set.Name).FirstOrDefault(Directory.Exists))).ToList();
        if (json)
        {
            Output.Json(new JsonArray([.. rows.Select(row => (JsonNode)new JsonObject { ["name"] = row.Name, ["summary"] = row.Summary, ["folder"] = row.Folder })]));
            return 0;
        }
        Table table = Output.Table("data set", "summary", "here");
        foreach ((string name, string summary, string? folder) in rows) table.AddRow(name, Markup.Escape(summary), Markup.Escape(folder ?? $"no: permafrost data fetch {name}"));
        Output.Write(table);
        return 0;
    }

    private static int Verify(PublishedDataSet set, string? given, bool json)
    {
        string folder = DataHome.Find(set.Name, given);
        IReadOnlyList<(string File, string Verdict)> verdicts = set.Verify(folder);
        bool sound = verdicts.All(verdict => verdict.Verdict == "ok");
        if (json)
        {
            var files = new JsonObject(verdicts.Select(v => KeyValuePair.Create(v.File, (JsonNode?)v.Verdict)));
            Output.Json(new JsonObject { ["folder"] = folder, ["ok"] = sound, ["files"] = files });
        }
        else foreach ((string file, string verdict) in verdicts) Output.Line($"{verdict,-10} {Path.Combine(folder, file)}");
        if (!sound) throw new PermafrostException($"{folder} is not the published {set.Name}; fetch it again with `permafrost data fetch {set.Name}`");
        return 0;
    }

    private static async Task<int> Fetch(PublishedDataSet set, string? mirror, CancellationToken cancellation)
    {
        string folder = Path.Combine(DataHome.Home, "data", set.Name);
        await set.FetchAsync(folder, mirror, file => Output.Note($"fetching {file}"), cancellation);
        Output.Line(folder);
        return 0;
    }
}
