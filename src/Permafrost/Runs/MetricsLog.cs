using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Tasks.Metrics;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <summary>Appends to metrics.jsonl, a whole line at a time, so that others can follow it, and to a TensorBoard event file beside it.</summary>
public sealed class MetricsLog : IDisposable
{
    private readonly FileStream stream;
    private readonly string path;
    private readonly TensorBoardEvents events;
    private readonly TimeProvider clock;

    /// <summary>Opens the file for appending.</summary>
    /// <param name="path">The file.</param>
    /// <param name="keep">Bytes to keep of what is there: a resumed run writes again what came after its checkpoint.</param>
    /// <param name="clock">Tells the time of day; it may jump, and nothing but the lines' times goes by it.</param>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    public MetricsLog(string path, long keep = 0, TimeProvider? clock = null)
    {
        this.path = path;
        this.clock = clock ?? TimeProvider.System;
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        try
        {
            stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read);
            stream.SetLength(Math.Min(stream.Length, keep));
            stream.Seek(0, SeekOrigin.End);
            // An event file cannot be cut like ours, so it is written anew from the lines that stay.
            TensorBoardEvents.Clear(folder);
            events = new TensorBoardEvents(folder, Now());
            foreach (JsonObject line in Read(path)) WriteEvent(line);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot write {path}: {error.Message.TrimEnd('.')}");
        }
    }

    /// <summary>Bytes written so far, those kept among them.</summary>
    public long Length => stream.Position;

    /// <summary>The lines of a file; a torn or damaged one is passed over.</summary>
    public static IEnumerable<JsonObject> Read(string path)
    {
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        while (reader.ReadLine() is { } line)
        {
            JsonObject? json = null;
            try
            {
                json = JsonNode.Parse(line) as JsonObject;
            }
            catch (JsonException)
            {
                // The last line of a process that was killed while writing.
            }
            if (json is not null) yield return json;
        }
    }

    /// <summary>Writes what a step reports; a mean that is not there is left out.</summary>
    /// <exception cref="PermafrostException">The disk is full, for example.</exception>
    public void Write(StepReport report)
    {
        (string, double)[] means = double.IsNaN(report.Loss) ? [] : [("train/loss", report.Loss), ("train/grad_norm", report.GradientNorm)];
        Write(report.Step, [.. means, ("lr", report.LearningRate), ("tokens_per_second", Math.Round(report.TokensPerSecond, 1)), ("data_wait", Math.Round(report.DataSeconds, 4))]);
    }

    /// <summary>Writes a split's scores.</summary>
    /// <param name="prefix">Of the keys: <c>eval</c> for validation, <c>test</c>.</param>
    /// <param name="step">Updates done.</param>
    /// <param name="scores">The scores.</param>
    /// <exception cref="PermafrostException">The disk is full, for example.</exception>
    public void Write(string prefix, long step, Scores scores) =>
        Write(step, [($"{prefix}/loss", scores.Loss), .. scores.Values.Select(pair => ($"{prefix}/{pair.Key}", pair.Value))]);

    /// <summary>Writes one line: the step, the time in Unix seconds, and the values.</summary>
    /// <exception cref="PermafrostException">The disk is full, for example.</exception>
    public void Write(long step, params ReadOnlySpan<(string Key, double Value)> values)
    {
        var json = new JsonObject { ["step"] = step, ["time"] = Now() };
        foreach ((string key, double value) in values) json[key] = double.IsFinite(value) ? value : null;
        try
        {
            stream.Write(Encoding.UTF8.GetBytes(json.ToJsonString() + "\n"));
            stream.Flush();
            WriteEvent(json);
        }
        catch (Exception error) when (AtomicFile.IsRefusal(error))
        {
            string remedy = AtomicFile.IsFull(error) ? "free some space" : "put that right";
            throw new PermafrostException($"cannot write {path}: {AtomicFile.Reason(error)}; {remedy}, then let the run go on", error);
        }
    }

    /// <summary>Closes the files.</summary>
    public void Dispose()
    {
        try
        {
            stream.Dispose();
            events.Dispose();
        }
        catch (Exception error) when (AtomicFile.IsRefusal(error))
        {
            // Everything written was flushed line by line; what could not be was reported then.
        }
    }

    private double Now() => Math.Round(clock.GetUtcNow().ToUnixTimeMilliseconds() / 1000.0, 3);

    private void WriteEvent(JsonObject line)
    {
        if (line["step"] is not JsonValue step || line["time"] is not JsonValue time || !step.TryGetValue(out long number) || !time.TryGetValue(out double seconds)) return;
        var scalars = new List<(string, double)>();
        foreach ((string key, JsonNode? node) in line)
            if (key is not ("step" or "time") && node is JsonValue value && value.TryGetValue(out double scalar)) scalars.Add((key, scalar));
        events.Write(number, seconds, [.. scalars]);
    }
}
