using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <summary><c>trainer_state.json</c>, with Hugging Face's names where its file of that name has them.</summary>
internal static class TrainerStateJson
{
    /// <summary>A state as JSON.</summary>
    /// <param name="state">The state.</param>
    /// <param name="logBytes">Bytes of metrics.jsonl that belong to it; what was written later is written again.</param>
    /// <param name="optimizerSteps">Updates of each parameter.</param>
    public static JsonObject Of(TrainerState state, long logBytes, IReadOnlyDictionary<string, long> optimizerSteps) => new()
    {
        ["global_step"] = state.Step,
        ["moves"] = state.StepsWithGradient,
        ["rate_sum"] = state.RateSum,
        ["loss_sum"] = state.LossSum,
        ["norm_sum"] = state.NormSum,
        ["pending"] = state.Pending,
        ["tokens"] = state.Tokens,
        ["seconds"] = state.Seconds,
        ["evaluated_step"] = state.EvaluatedStep,
        ["best_global_step"] = state.BestStep,
        ["best_metric"] = state.BestMetric,
        ["best_loss"] = state.BestLoss,
        ["since_best"] = state.SinceBest,
        ["log_bytes"] = logBytes,
        ["optimizer_steps"] = new JsonObject(optimizerSteps.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)pair.Value))),
    };

    /// <summary>Reads a state.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="PermafrostException">A field is missing or of the wrong type.</exception>
    public static (TrainerState State, long LogBytes, IReadOnlyDictionary<string, long> OptimizerSteps) Read(string path)
    {
        JsonObject json = JsonFile.Read(path);
        T Get<T>(string key) =>
            json[key] is JsonValue value && value.TryGetValue(out T? result) ? result
            : throw new PermafrostException($"{path} lacks \"{key}\"; the checkpoint is damaged");
        var state = new TrainerState
        {
            Step = Get<long>("global_step"),
            StepsWithGradient = json["moves"] is null ? Get<long>("global_step") : Get<long>("moves"),  // younger than the first checkpoints
            RateSum = Get<double>("rate_sum"),
            LossSum = Get<double>("loss_sum"),
            NormSum = Get<double>("norm_sum"),
            Pending = Get<int>("pending"),
            Tokens = Get<long>("tokens"),
            Seconds = Get<double>("seconds"),
            EvaluatedStep = Get<long>("evaluated_step"),
            BestStep = Get<long>("best_global_step"),
            BestMetric = Get<double>("best_metric"),
            BestLoss = Get<double>("best_loss"),
            SinceBest = Get<int>("since_best"),
        };
        if (json["optimizer_steps"] is not JsonObject steps || steps.Any(pair => pair.Value is not JsonValue value || !value.TryGetValue(out long _)))
            throw new PermafrostException($"{path} lacks \"optimizer_steps\"; the checkpoint is damaged");
        return (state, Get<long>("log_bytes"), steps.ToDictionary(pair => pair.Key, pair => (long)pair.Value!));
    }
}
