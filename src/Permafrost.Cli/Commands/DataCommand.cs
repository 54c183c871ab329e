using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Data;
using Permafrost.Data.Published;
using Permafrost.Formats;
using Permafrost.Formats.Hub;
using Permafrost.Formats.Web;

namespace Permafrost.Cli.Commands;

internal static class DataCommand
{
    public static Command Create()
    {
        var command = new Command("data", "data sets, and backbones of Hugging Face: which there are, where they are looked for, fetching and checking them");
        Option<bool> json = CommonOptions.Json();

        var one = new Argument<string?>("NAME") { Description = "a data set, of which address, licence, size and checksums are wanted", Arity = ArgumentArity.ZeroOrOne };
        var list = new Command("ls", "list the data sets and whether they are here, or all about one (backbones: `permafrost ls backbones`)") { one, json };
        list.SetAction(parsed => List(parsed.GetValue(one), parsed.GetValue(json)));
        command.Add(list);

        var name = new Argument<string>("NAME")
        { Description = "a data set (`permafrost data ls`), ucr/NAME of the UCR and UEA archive, or a backbone of Hugging Face's, such as gpt2" };
        var revision = new Option<string?>("--revision") { Description = "a backbone's branch, tag or commit; default: main", HelpName = "REV" };
        var where = new Command("where", "print the folder of a data set, or of a backbone in the Hugging Face cache") { name, revision };
        where.SetAction(parsed => { Output.Line(Folder(parsed.GetRequiredValue(name), null, parsed.GetValue(revision))); return 0; });
        command.Add(where);

        var folder = new Option<string?>("--data") { Description = "the folder to check; default: where tasks look" };
        var verify = new Command("verify", "compare the files of a data set or a fetched backbone with their published checksums") { name, folder, revision, json };
        verify.SetAction(parsed => Verify(parsed.GetRequiredValue(name), parsed.GetValue(folder), parsed.GetValue(revision), parsed.GetValue(json)));
        command.Add(verify);

        var mirror = new Option<string?>("--from") { Description = "another address to fetch a data set from; backbones: HF_ENDPOINT", HelpName = "URL" };
        var fetch = new Command("fetch", "download a data set, or a backbone into the Hugging Face cache, and check it") { name, mirror, revision };
        fetch.SetAction((parsed, cancellation) => Fetch(parsed.GetRequiredValue(name), parsed.GetValue(mirror), parsed.GetValue(revision), cancellation));
        command.Add(fetch);
        return command;
    }

    private static PublishedDataSet? Known(string name, string? revision = null)
    {
        PublishedDataSet? set = PublishedDataSets.Find(name);
        return set is null || revision is null ? set : throw new UsageException($"--revision is for backbones, and {name} is a data set, of which there is one");
    }

    private static string DataSets => string.Join(", ", PublishedDataSets.All.Select(set => set.Name));

    private static string Folder(string name, string? given, string? revision)
    {
        if (Known(name, revision) is { } set) return DataHome.Find(set.Name, given);
        if (revision is not null && !HubCache.IsRevision(revision)) throw new UsageException($"--revision '{revision}' cannot be a branch, a tag or a commit");
        string hint = HubCache.IsName(name) ? $"; `{FetchOf(name, revision)}` looks at Hugging Face" : "";
        return HubCache.Find(name, revision ?? "main")
            ?? throw new UsageException($"'{name}' is no data set (there are {DataSets}) and not in the Hugging Face cache ({HubCache.Folder}){hint}");
    }

    private static string FetchOf(string name, string? revision) => $"permafrost data fetch {name}{(revision is null ? "" : $" --revision {revision}")}";

    private static int List(string? name, bool json)
    {
        PublishedDataSet? one = name is null ? null : Known(name) ?? throw new UsageException($"'{name}' is no data set; there are {DataSets}, and ucr/NAME");
        if (one is null && json) Output.Json(new JsonArray([.. PublishedDataSets.All.Select(set => (JsonNode)DataSetLines.Json(set))]));
        else if (one is null) DataSetLines.Print(PublishedDataSets.All);
        else if (json) Output.Json(DataSetLines.Json(one));
        else DataSetLines.PrintOne(one);
        return 0;
    }

    private static int Verify(string name, string? given, string? revision, bool json)
    {
        if (given is not null && Known(name) is null) throw new UsageException($"--data is for data sets ({DataSets}), and '{name}' is none");
        string folder = Folder(name, given, revision);
        IReadOnlyList<(string File, string Verdict)> verdicts = Known(name)?.Verify(folder) ?? HubDownload.Verify(folder);
        // Of a backbone everything has a checksum; of a data set some files have none that anybody published.
        bool sound = verdicts.All(verdict => Known(name) is null ? verdict.Verdict == "ok" : !PublishedDataSet.IsWrong(verdict.Verdict));
        if (json)
        {
            var files = new JsonObject(verdicts.Select(v => KeyValuePair.Create(v.File, (JsonNode?)v.Verdict)));
            Output.Json(new JsonObject { ["folder"] = folder, ["ok"] = sound, ["files"] = files });
        }
        else foreach ((string file, string verdict) in verdicts) Output.Line($"{verdict,-10} {Path.Combine(folder, file)}");
        if (!sound) throw new PermafrostException($"{folder} is not the published {name}; fetch it again with `{FetchOf(name, revision)}`");
        return 0;
    }

    private static async Task<int> Fetch(string name, string? mirror, string? revision, CancellationToken cancellation)
    {
        PublishedDataSet? set = Known(name, revision);
        if (set is null && mirror is not null) throw new UsageException($"--from is for data sets ({DataSets}), and '{name}' is none; backbones come from HF_ENDPOINT");
        Output.Line(await DownloadLines.ShowAsync(progress =>
            set is null ? HubDownload.FetchAsync(name, revision ?? "main", progress, cancellation) : FetchSet(set, mirror, progress, cancellation)));
        return 0;
    }

    private static async Task<string> FetchSet(PublishedDataSet set, string? mirror, IProgress<DownloadProgress> progress, CancellationToken cancellation)
    {
        string folder = Path.Combine(DataHome.Home, "data", set.Name);
        await set.FetchAsync(folder, mirror, progress, cancellation);
        return folder;
    }
}
