using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>Reads what a run's folder holds.</summary>
internal static class RunFiles
{
    /// <summary>The lines of a .jsonl file.</summary>
    public static JsonObject[] JsonLines(string path) => [.. File.ReadAllLines(path).Select(line => JsonNode.Parse(line)!.AsObject())];

    /// <summary>One value of metrics.jsonl, in order, from the lines that have it.</summary>
    public static double[] Metric(string folder, string key) =>
        [.. JsonLines(Path.Combine(folder, "metrics.jsonl")).Where(line => line.ContainsKey(key)).Select(line => (double)line[key]!)];

    /// <summary>A JSON file.</summary>
    public static JsonObject Json(params string[] path) => JsonNode.Parse(File.ReadAllText(Path.Combine(path)))!.AsObject();

    /// <summary>The adapter's bytes.</summary>
    public static byte[] Adapter(string folder) => File.ReadAllBytes(Path.Combine(folder, "adapter", "adapter_model.safetensors"));
}
