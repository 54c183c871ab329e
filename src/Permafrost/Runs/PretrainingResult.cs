using System.Text.Json.Nodes;
using Permafrost.Pretraining;

namespace Permafrost.Runs;

/// <summary>What the held-out documents of a file cost.</summary>
/// <param name="File">The file's name.</param>
/// <param name="Score">What they cost the model.</param>
/// <param name="BigramBitsPerByte">Bits for each byte where tokens are told from the one before alone.</param>
/// <param name="Documents">The documents' names.</param>
public sealed record HeldOutResult(string File, HeldOutScore Score, double BigramBitsPerByte, IReadOnlyList<string> Documents)
{
    /// <summary>Bits for each byte where <c>xz -9</c> packs the documents, with nothing known before; null where that program is not installed.</summary>
    public double? XzBitsPerByte { get; init; }
}

/// <summary>What a pretraining came to.</summary>
public sealed record PretrainingResult
{
    /// <summary>The family.</summary>
    public required string Architecture { get; init; }

    /// <summary>The objective.</summary>
    public required string Objective { get; init; }

    /// <summary>The number of trained numbers.</summary>
    public required long Parameters { get; init; }

    /// <summary>Where it ended: steps, tokens, seconds.</summary>
    public required PretrainingState State { get; init; }

    /// <summary>Tokens of the text that was trained on.</summary>
    public required long TrainingTokens { get; init; }

    /// <summary>Its bytes in UTF-8.</summary>
    public required long TrainingBytes { get; init; }

    /// <summary>Byte sequences of the text that were no UTF-8, each replaced by U+FFFD.</summary>
    public required long Replaced { get; init; }

    /// <summary>The most memory that the process held.</summary>
    public required long PeakMemoryBytes { get; init; }

    /// <summary>The held-out text, by file.</summary>
    public required IReadOnlyList<HeldOutResult> HeldOut { get; init; }

    /// <summary>The model's folder.</summary>
    public required string Model { get; init; }

    /// <summary>As <c>results.json</c> holds it.</summary>
    public JsonObject ToJson() => new()
    {
        ["architecture"] = Architecture,
        ["objective"] = Objective,
        ["parameters"] = Parameters,
        ["steps"] = State.Step,
        ["tokens"] = State.Tokens,
        ["skipped"] = State.Skipped,
        ["training_tokens"] = TrainingTokens,
        ["training_bytes"] = TrainingBytes,
        ["replaced"] = Replaced,
        ["seconds"] = Math.Round(State.Seconds, 1),
        ["tokens_per_second"] = Math.Round(State.Tokens / Math.Max(1e-9, State.Seconds), 1),
        ["peak_memory_bytes"] = PeakMemoryBytes,
        ["held_out"] = new JsonObject(HeldOut.Select(one => KeyValuePair.Create(one.File, (JsonNode?)Scores(one)))),
        ["held_out_documents"] = new JsonObject(HeldOut.Select(one => KeyValuePair.Create(one.File, (JsonNode?)new JsonArray([.. one.Documents.Select(name => (JsonNode?)name)])))),
        ["model"] = Model,
    };

    private static JsonObject Scores(HeldOutResult one)
    {
        var scores = new JsonObject
        {
            ["loss"] = Finite(one.Score.Loss),
            ["answers"] = one.Score.Answers,
            ["bits_per_byte"] = Finite(one.Score.BitsPerByte),
            ["bigram_bits_per_byte"] = Finite(one.BigramBitsPerByte),
        };
        if (one.XzBitsPerByte is { } xz) scores["xz_bits_per_byte"] = xz;
        return scores;
    }

    // What is no number, as of weights that have grown beyond all bounds, JSON has no word for.
    private static double? Finite(double? number) => number is { } value && double.IsFinite(value) ? value : null;
}
