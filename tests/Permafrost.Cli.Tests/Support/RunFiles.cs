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

    /// <summary>The checkpoints, oldest first.</summary>
    public static string[] Checkpoints(string run) => !Directory.Exists(run) ? [] :
        [.. Directory.EnumerateDirectories(run, "checkpoint-*").Where(path => int.TryParse(Path.GetFileName(path).AsSpan("checkpoint-".Length), out _)).OrderBy(StepOf)];

    /// <summary>For <c>--max-steps</c>: some more than a stopped run has done. How far it had got by then is the machine's to say.</summary>
    public static string StepsBeyond(string run) => $"{StepOf(Checkpoints(run).Last()) + 50}";

    private static int StepOf(string checkpoint) => int.Parse(Path.GetFileName(checkpoint).AsSpan("checkpoint-".Length));
}
