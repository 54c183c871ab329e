using System.Text.Json.Nodes;
using Permafrost.Data;
using Permafrost.Data.Published;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>Data sets that can be fetched, for people and as JSON.</summary>
internal static class DataSetLines
{
    /// <summary>Where a data set is here; null where it is not.</summary>
    public static string? Folder(PublishedDataSet set) => DataHome.Here(set.Name);

    /// <summary>A line for each.</summary>
    public static void Print(IReadOnlyList<PublishedDataSet> sets)
    {
        Table table = Output.Table("data set", "summary", "size", "SHA-256", "here");
        foreach (PublishedDataSet set in sets)
            table.AddRow(set.Name, Markup.Escape(set.Summary), Size(set.Bytes), Known(set), Markup.Escape(Folder(set) ?? $"no: permafrost data fetch {set.Name}"));
        Output.Write(table);
    }

    /// <summary>All that is known of one.</summary>
    public static void PrintOne(PublishedDataSet set)
    {
        Output.Line($"{set.Name}: {set.Summary}");
        Output.Line($"licence: {set.Licence}");
        if (set.Tasks.Count > 0) Output.Line($"read by the task{(set.Tasks.Count > 1 ? "s" : "")} {string.Join(", ", set.Tasks)}");
        Output.Line($"here: {Folder(set) ?? $"no; permafrost data fetch {set.Name}"}");
        foreach ((PublishedFile file, string? sha256, bool isPublished) in set.Checksums(Folder(set)))
        {
            string origin = sha256 is null ? "none is known; that of the first download is recorded" : isPublished ? $"{sha256} (published)" : $"{sha256} (of the first download)";
            Output.Line($"{file.Name}: {file.Address}, {Size(file.Bytes)}, SHA-256: {origin}");
            if (file.Parts is { } parts) Output.Line($"  unpacked: {string.Join(", ", parts.Select(part => part.To))}");
        }
    }

    /// <summary>All that is known of one, as JSON.</summary>
    public static JsonObject Json(PublishedDataSet set)
    {
        string? folder = Folder(set);
        JsonObject Of((PublishedFile File, string? Sha256, bool IsPublished) row) => new()
        {
            ["name"] = row.File.Name,
            ["address"] = row.File.Address,
            ["bytes"] = row.File.Bytes,
            ["sha256"] = row.Sha256,
            ["sha256_from"] = row.Sha256 is null ? null : row.IsPublished ? "published" : "first download",
        };
        return new JsonObject
        {
            ["name"] = set.Name,
            ["summary"] = set.Summary,
            ["licence"] = set.Licence,
            ["tasks"] = new JsonArray([.. set.Tasks.Select(task => (JsonNode)task)]),
            ["bytes"] = set.Bytes,
            ["folder"] = folder,
            ["files"] = new JsonArray([.. set.Checksums(folder).Select(row => (JsonNode)Of(row))]),
        };
    }

    private static string Known(PublishedDataSet set)
    {
        IReadOnlyList<(PublishedFile File, string? Sha256, bool IsPublished)> files = set.Checksums(Folder(set));
        int published = files.Count(row => row.IsPublished), known = files.Count(row => row.Sha256 is not null);
        if (published == files.Count) return "published";
        if (known == files.Count) return "recorded";
        return published > 0 ? $"{published} of {files.Count} published" : "at first download";
    }

    private static string Size(long? bytes) => bytes switch
    {
        null => "not known",
        < 1 << 20 => FormattableString.Invariant($"{bytes / 1024.0:F0} KiB"),
        _ => Output.Bytes(bytes.Value),
    };
}
