using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Permafrost.Formats;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Runs;

/// <summary>Numbers of weights of a run's model.</summary>
/// <param name="Total">All of them, the new layers included.</param>
/// <param name="Trained">Those that trained.</param>
/// <param name="TrainedPercent">Their share in percent.</param>
/// <param name="Unused">Those that the run's inputs never reach.</param>
/// <param name="PositionRowsUsed">Rows of the position table that the sequences reach; 0 where there is no bound.</param>
public sealed record RunParameters(long Total, long Trained, double TrainedPercent, long Unused, long PositionRowsUsed);

/// <summary>What a run came to; <c>results.json</c> is its serialisation.</summary>
public sealed record RunResult
{
    /// <summary>The task, with its reading.</summary>
    public required string Task { get; init; }

    /// <summary>The task's version: scores of different versions are not compared.</summary>
    public required int TaskVersion { get; init; }

    /// <summary>The backbone as it was asked for.</summary>
    public required string Backbone { get; init; }

    /// <summary>SHA-256 of its weights.</summary>
    public required string BackboneSha256 { get; init; }

    /// <summary>Where its weights come from.</summary>
    public required string Init { get; init; }

    /// <summary>Seed of a body that was drawn.</summary>
    public long InitSeed { get; init; }

    /// <summary>What trained.</summary>
    public required string Policy { get; init; }

    /// <summary>The run's seed.</summary>
    public required long Seed { get; init; }

    /// <summary>Updates done.</summary>
    public required long Steps { get; init; }

    /// <summary>The step whose weights were scored: the best validation's, or the last; null in files of the first versions.</summary>
    public long? ScoredStep { get; init; }

    /// <summary>The base learning rate.</summary>
    public required double LearningRate { get; init; }

    /// <summary>Examples computed at a time; null in files of the first versions.</summary>
    public int? MicroBatchSize { get; init; }

    /// <summary>Numbers of weights.</summary>
    public required RunParameters Parameters { get; init; }

    /// <summary>Scores by split: <c>cross_validation</c> (of training rows held out in turn, where few are there), <c>validation</c>, <c>test</c>.</summary>
    public required IReadOnlyDictionary<string, Scores> Metrics { get; init; }

    /// <summary>
    /// By split that nothing was chosen by: where its first metric would lie over all examples there could be, with 95 % confidence; null where that is no share of the examples.
    /// </summary>
    public IReadOnlyDictionary<string, ScoreInterval>? Intervals { get; init; }

    /// <summary>How learning rate and length were chosen; null where they were given.</summary>
    public RunChoice? Choice { get; init; }

    /// <summary>What the scores must beat.</summary>
    public required RunBaselines Baselines { get; init; }

    /// <summary>Whether the frozen weights were bit-identical before and after.</summary>
    public bool FrozenUnchanged { get; init; }

    /// <summary>Seconds spent training, evaluations not counted.</summary>
    public required double Seconds { get; init; }

    /// <summary>Tokens trained on a second.</summary>
    public required double TokensPerSecond { get; init; }

    /// <summary>The largest resident memory of the process.</summary>
    public required long PeakMemoryBytes { get; init; }

    /// <summary>Seconds spent on hidden states that are computed once; null where none are.</summary>
    public double? FeatureSeconds { get; init; }

    /// <summary>The scores of the validation split; null where there is none.</summary>
    [JsonIgnore]
    public Scores? Validation => Metrics.GetValueOrDefault("validation");

    /// <summary>The scores of the test split; null where there is none, or it was not scored.</summary>
    [JsonIgnore]
    public Scores? Test => Metrics.GetValueOrDefault("test");

    /// <summary>Reads a finished run's results.</summary>
    /// <exception cref="PermafrostException">The run has not finished, or the file is damaged.</exception>
    public static RunResult Read(RunFolder folder)
    {
        if (!File.Exists(folder.Results)) throw new PermafrostException($"{folder.Path} has no results.json: the run did not finish");
        JsonObject json = JsonFile.Read(folder.Results);
        // As the first versions wrote them.
        if (json["floors"] is { } floors && json["baselines"] is null) json["baselines"] = new JsonObject { ["trivial"] = floors.DeepClone(), ["strong"] = new JsonObject() };
        try
        {
            RunResult result = json.Deserialize(RunJson.Readable.RunResult) ?? throw new JsonException("null");
            // What would be shown as a share and is none.
            bool shares = result.Metrics.Values.All(scores => scores.Values.All(pair => !MetricInfo.IsShare(pair.Key) || pair.Value is >= 0 and <= 1));
            return shares && result.Baselines is { Trivial: not null, Strong: not null } ? result : throw new JsonException("no share");
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or NullReferenceException)
        {
            throw new PermafrostException($"{folder.Results} is damaged: it lacks scores or counts, or holds something else in their place");
        }
    }

    /// <summary>As JSON.</summary>
    public JsonObject ToJson() => JsonSerializer.SerializeToNode(this, RunJson.Readable.RunResult)!.AsObject();

    /// <summary>Writes <c>results.json</c>.</summary>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    public void Write(RunFolder folder) => RunFolder.WriteJson(folder.Results, ToJson());
}

/// <summary>Scores as one flat object: the metrics by name, <c>loss</c> and <c>count</c>.</summary>
internal sealed class ScoresConverter : JsonConverter<Scores>
{
    public override Scores Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        JsonObject json = JsonNode.Parse(ref reader) as JsonObject ?? throw new JsonException("scores are an object");
        if (json["loss"] is not { } loss || json["count"] is not { } count) throw new JsonException("scores lack loss or count");
        var values = new OrderedDictionary<string, double>();
        foreach ((string name, JsonNode? node) in json)
            if (name is not ("loss" or "count")) values[name] = (double)(node ?? throw new JsonException(name));
        return values.Count > 0 || (long)count == 0 ? new Scores((long)count, (double)loss, values) : throw new JsonException("scores hold no metric");
    }

    public override void Write(Utf8JsonWriter writer, Scores value, JsonSerializerOptions options)
    {
        writer.WriteStartObject();
        foreach ((string name, double number) in value.Values) writer.WriteNumber(name, number);
        writer.WriteNumber("loss", value.Loss);
        writer.WriteNumber("count", value.Count);
        writer.WriteEndObject();
    }
}

/// <summary>How the records of this room become JSON, without reflection.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, Converters = [typeof(ScoresConverter)])]
[JsonSerializable(typeof(RunResult))]
[JsonSerializable(typeof(RunIdentity))]
[JsonSerializable(typeof(RunHistory))]
[JsonSerializable(typeof(ChoiceFile))]
[JsonSerializable(typeof(TriesFile))]
internal sealed partial class RunJson : JsonSerializerContext
{
    /// <summary>Paths and texts as they are, not \u002B for a plus.</summary>
    public static RunJson Readable { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new ScoresConverter() },
    });
}
