using System.Text.Json.Nodes;

namespace Permafrost.Training;

/// <summary>Everything that a training carries from step to step besides weights, optimiser and random state; saved with every checkpoint.</summary>
public sealed class TrainerState
{
    /// <summary>Updates done.</summary>
    public long Step { get; set; }

    /// <summary>Those of them in which there was a gradient.</summary>
    public long Moves { get; set; }

    /// <summary>Sum of their learning rates: how far an adaptive optimiser can have moved a weight.</summary>
    public double RateSum { get; set; }

    /// <summary>Sum of the losses since the last report.</summary>
    public double LossSum { get; set; }

    /// <summary>Sum of the gradient norms since the last report.</summary>
    public double NormSum { get; set; }

    /// <summary>Steps since the last report.</summary>
    public int Pending { get; set; }

    /// <summary>Tokens trained on.</summary>
    public long Tokens { get; set; }

    /// <summary>Seconds spent training, evaluations not counted, over all sessions.</summary>
    public double Seconds { get; set; }

    /// <summary>The step of the last validation; -1 before the first.</summary>
    public long EvaluatedStep { get; set; } = -1;

    /// <summary>The step of the best validation so far; -1 before the first.</summary>
    public long BestStep { get; set; } = -1;

    /// <summary>Its accuracy.</summary>
    public double BestAccuracy { get; set; }

    /// <summary>Its loss.</summary>
    public double BestLoss { get; set; }

    /// <summary>Validations since the best one.</summary>
    public int SinceBest { get; set; }

    /// <summary>Bytes of metrics.jsonl that belong to this state; what was written later is written again.</summary>
    public long LogBytes { get; set; }

    /// <summary>As JSON, with Hugging Face's names where trainer_state.json has them.</summary>
    public JsonObject ToJson() => new()
    {
        ["global_step"] = Step,
        ["moves"] = Moves,
        ["rate_sum"] = RateSum,
        ["loss_sum"] = LossSum,
        ["norm_sum"] = NormSum,
        ["pending"] = Pending,
        ["tokens"] = Tokens,
        ["seconds"] = Seconds,
        ["evaluated_step"] = EvaluatedStep,
        ["best_global_step"] = BestStep,
        ["best_metric"] = BestAccuracy,
        ["best_loss"] = BestLoss,
        ["since_best"] = SinceBest,
        ["log_bytes"] = LogBytes,
    };

    /// <summary>From JSON.</summary>
    /// <exception cref="PermafrostException">A field is missing or of the wrong type.</exception>
    public static TrainerState FromJson(JsonObject json, string source)
    {
        T Get<T>(string key) => json[key] is JsonValue value && value.TryGetValue(out T? result) ? result : throw new PermafrostException($"{source} lacks \"{key}\"; the checkpoint is damaged");
        return new TrainerState
        {
            Step = Get<long>("global_step"),
            Moves = json["moves"] is null ? Get<long>("global_step") : Get<long>("moves"),  // younger than the first checkpoints
            RateSum = Get<double>("rate_sum"),
            LossSum = Get<double>("loss_sum"),
            NormSum = Get<double>("norm_sum"),
            Pending = Get<int>("pending"),
            Tokens = Get<long>("tokens"),
            Seconds = Get<double>("seconds"),
            EvaluatedStep = Get<long>("evaluated_step"),
            BestStep = Get<long>("best_global_step"),
            BestAccuracy = Get<double>("best_metric"),
            BestLoss = Get<double>("best_loss"),
            SinceBest = Get<int>("since_best"),
            LogBytes = Get<long>("log_bytes"),
        };
    }
}
