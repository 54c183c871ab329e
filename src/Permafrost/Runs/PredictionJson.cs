using System.Text.Json.Nodes;
using Permafrost.Adaptation;

namespace Permafrost.Runs;

/// <summary>Predictions as JSON objects, one a line of <c>predictions.jsonl</c>: one answer flat, several as lists.</summary>
public static class PredictionJson
{
    /// <summary>A prediction as a JSON object.</summary>
    public static JsonObject Of(Prediction prediction) => prediction switch
    {
        ClassPrediction classes => Of(classes),
        LabelsPrediction labels => Of(labels),
        NumberPrediction numbers => Of(numbers),
        SequencePrediction sequence => Of(sequence),
        _ => throw new ArgumentException(prediction.GetType().Name, nameof(prediction)),
    };

    private static JsonObject Of(ClassPrediction prediction)
    {
        JsonNode Name(long answer) => prediction.Labels.Count > 0 ? JsonValue.Create(prediction.Labels[(int)answer]) : JsonValue.Create(answer);
        JsonNode? Target(long answer) => answer < 0 ? null : Name(answer);
        var json = new JsonObject
        {
            ["index"] = prediction.Index,
            ["label"] = List(prediction.Classes, Name),
            ["probabilities"] = List(prediction.Probabilities, row => new JsonArray([.. row.Select(Number)])),
        };
        if (prediction.Targets is { } targets) json["target"] = List(targets, Target);
        return json;
    }

    private static JsonObject Of(LabelsPrediction prediction)
    {
        JsonArray Names(IReadOnlyList<long> numbers) => new([.. numbers.Select(number => prediction.Labels.Count > 0 ? (JsonNode)prediction.Labels[(int)number] : number)]);
        var json = new JsonObject
        {
            ["index"] = prediction.Index,
            ["labels"] = Names(prediction.Given),
            ["probabilities"] = new JsonArray([.. prediction.Probabilities.Select(Number)]),
        };
        if (prediction.Targets is { } targets) json["target"] = Names(targets);
        return json;
    }

    private static JsonObject Of(NumberPrediction prediction)
    {
        var json = new JsonObject { ["index"] = prediction.Index, ["value"] = List(prediction.Numbers, Number) };
        if (prediction.Targets is { } targets) json["target"] = List(targets, Number);
        return json;
    }

    private static JsonObject Of(SequencePrediction prediction)
    {
        JsonArray Tokens(IReadOnlyList<long> tokens) => new([.. tokens.Select(token => prediction.Names.Count > 0 ? (JsonNode)prediction.Names[(int)token] : token)]);
        var json = new JsonObject { ["index"] = prediction.Index, ["tokens"] = Tokens(prediction.Tokens), ["ended"] = prediction.Ended };
        if (prediction.Label is not null) json["label"] = prediction.Label;
        if (prediction.TargetLabel is not null) json["target_label"] = prediction.TargetLabel;
        if (prediction.Targets is { } targets) json["target"] = Tokens(targets);
        return json;
    }

    private static JsonNode? List<T>(IReadOnlyList<T> items, Func<T, JsonNode?> convert) => items.Count == 1 ? convert(items[0]) : new JsonArray([.. items.Select(convert)]);

    private static JsonNode? Number(float number) => float.IsFinite(number) ? JsonValue.Create(Math.Round(number, 6)) : null;
}
