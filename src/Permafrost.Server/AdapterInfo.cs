using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Server;

/// <summary>What is said of an adapter: <c>GET /v1/adapters/NAME</c>.</summary>
internal sealed record AdapterInfo
{
    public required string Name { get; init; }

    public required string Task { get; init; }

    /// <summary><c>text</c>, <c>numbers</c>, <c>ids</c> or <c>pixels</c>: what the task feeds.</summary>
    public required string Input { get; init; }

    /// <summary>What a row is, in words.</summary>
    public required string InputFormat { get; init; }

    /// <summary>The columns of a row of numbers; empty where there are none.</summary>
    public required IReadOnlyList<string> Columns { get; init; }

    /// <summary>The classes' names; empty where answers are numbers or sequences.</summary>
    public required IReadOnlyList<string> Labels { get; init; }

    public required string Backbone { get; init; }

    public required string Policy { get; init; }

    /// <summary>Parameters of its own, which is what it takes beside the body.</summary>
    public required long TrainedParameters { get; init; }

    public required DateTimeOffset Loaded { get; init; }

    /// <summary>The first metric's name and value on the test split, or where there is none on the validation split; null where the run's results are not there.</summary>
    public NamedScore? Score { get; init; }

    /// <summary>What the score must beat, by name; in the same metric.</summary>
    public required IReadOnlyList<NamedScore> Baselines { get; init; }

    public required TrafficInfo Traffic { get; init; }

    public static AdapterInfo Of(ServedAdapter adapter)
    {
        RunResult? result = adapter.Result;
        MetricInfo metric = adapter.Run.Model.Spec.Metrics[0];
        (string split, Scores? scores) = result?.Test is { } test ? ("test", test) : ("validation", result?.Validation);
        return new AdapterInfo
        {
            Name = adapter.Name,
            Task = adapter.Run.Options.Data.Task,
            Input = adapter.Source.Input switch { TextInput => "text", IdInput => "ids", PixelInput => "pixels", _ => "numbers" },
            InputFormat = adapter.Run.Task.InputFormat,
            Columns = ColumnsOf(adapter.Source),
            Labels = LabelsOf(adapter.Source.Output),
            Backbone = adapter.Run.Weights.Reference,
            Policy = adapter.Run.Options.Model.Policy,
            TrainedParameters = adapter.Run.Model.Counts.Trained,
            Loaded = adapter.Loaded,
            Score = scores is not null && scores.Values.TryGetValue(metric.Name, out double value)
                ? new NamedScore($"{metric.Name}, {split}", value, metric.Unit == "share") : null,
            Baselines = result is null ? [] : [.. result.Baselines.Trivial.Concat(result.Baselines.Strong)
                .Select(pair => new NamedScore(Studies.BaselineNames.Of(pair.Key), pair.Value, metric.Unit == "share"))],
            Traffic = TrafficInfo.Of(adapter.Traffic.Read()),
        };
    }

    /// <summary>The columns of a row of numbers, in order; empty where the task has none.</summary>
    public static IReadOnlyList<string> ColumnsOf(TaskSpec spec)
    {
        if (spec.Preprocessing.GetValueOrDefault("columns") is not { } columns) return [];
        try
        {
            return JsonSerializer.Deserialize(columns, ServerJson.Readable.StringArray) ?? [];
        }
        catch (JsonException)
        {
            return [];
        }
    }

    public static IReadOnlyList<string> LabelsOf(OutputSpec output) => output switch
    {
        ClassOutput classes => classes.Labels,
        MultiLabelOutput labels => labels.Labels,
        TokenClassOutput tokens => tokens.Labels,
        _ => [],
    };
}

/// <summary>A score or a baseline.</summary>
/// <param name="Name">Its name in words.</param>
/// <param name="Value">Its value.</param>
/// <param name="IsShare">Whether it is shown in percent.</param>
internal sealed record NamedScore(string Name, double Value, bool IsShare);

/// <summary>Traffic since the server started.</summary>
/// <param name="Requests">Requests, answered and refused.</param>
/// <param name="Rows">Rows answered.</param>
/// <param name="RecentMilliseconds">How long the last requests took, the oldest first.</param>
internal sealed record TrafficInfo(long Requests, long Rows, IReadOnlyList<double> RecentMilliseconds)
{
    public static TrafficInfo Of(TrafficCounts counts) => new(counts.Requests, counts.Rows, counts.Recent);
}

internal sealed record RefusedAdapter(string Name, string Error);

internal sealed record AdapterList(IReadOnlyList<AdapterInfo> Adapters, IReadOnlyList<RefusedAdapter> Refused, string? Backbone);

internal sealed record ErrorAnswer(string Error);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(AdapterList))]
[JsonSerializable(typeof(AdapterInfo))]
[JsonSerializable(typeof(ErrorAnswer))]
[JsonSerializable(typeof(string[]))]
[JsonSerializable(typeof(InferAnswer))]
[JsonSerializable(typeof(ModelMetadata))]
[JsonSerializable(typeof(ServerMetadata))]
internal sealed partial class ServerJson : JsonSerializerContext
{
    /// <summary>Quotes and pluses as they are, not \u002B: nothing here ends up in HTML.</summary>
    public static ServerJson Readable { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });
}
