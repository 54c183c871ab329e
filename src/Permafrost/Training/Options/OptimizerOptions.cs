using System.Globalization;
using Permafrost.Models;

namespace Permafrost.Training.Options;

/// <summary>What becomes of gradients.</summary>
public sealed record OptimizerOptions
{
    /// <summary>Of every update, times the schedule's factor.</summary>
    [Option("learning rate")]
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Whether the learning rate is chosen on validation, among multiples of <see cref="LearningRate"/>.</summary>
    [Option("choose the rate on validation, or in folds of few rows: 0.3, 1, 3 times `learning_rate`; 1, 3, 10, 30 times for an output layer alone")]
    public bool Tune { get; init; }

    /// <summary>By group, in lower case; a group that is not named has <see cref="LearningRate"/>.</summary>
    [Option("learning rate of a group, as learning_rates.ln=1e-4; the schedule applies to it too")]
    public IReadOnlyDictionary<string, string> LearningRates { get; init; } = new Dictionary<string, string>();

    /// <summary><c>adam</c>, <c>adamw</c> or <c>sgd</c>.</summary>
    [Option("adam, adamw or sgd")]
    public string Optim { get; init; } = "adam";

    /// <summary>L2 penalty, or decoupled decay (Loshchilov and Hutter 2019).</summary>
    [Option("L2 penalty (adam, sgd) or decoupled decay (adamw)")]
    public double WeightDecay { get; init; }

    /// <summary>beta1 of Kingma and Ba 2015.</summary>
    [Option("decay of Adam's mean of gradients")]
    public double AdamBeta1 { get; init; } = 0.9;

    /// <summary>beta2 of Kingma and Ba 2015.</summary>
    [Option("decay of Adam's mean of squared gradients")]
    public double AdamBeta2 { get; init; } = 0.999;

    /// <summary>epsilon of Kingma and Ba 2015.</summary>
    [Option("added to Adam's denominator")]
    public double AdamEpsilon { get; init; } = 1e-8;

    /// <summary>Of sgd.</summary>
    [Option("momentum of sgd")]
    public double Momentum { get; init; }

    /// <summary>The bound of the gradients' common norm; 0 for none.</summary>
    [Option("gradients are scaled down to this norm; 0 leaves them")]
    public double MaxGradNorm { get; init; } = 1.0;

    /// <summary><c>none</c>, or <c>balanced</c>: a class's answers weigh by the mean of the classes' counts among the training examples, divided by its own count.</summary>
    [Option("weights of the classes in the training's loss: none, or balanced, so that rare classes weigh as much as common ones")]
    public string ClassWeights { get; init; } = "none";

    /// <summary>The base learning rate of a group.</summary>
    /// <exception cref="UsageException">It is no number.</exception>
    public double RateOf(GroupName group)
    {
        string key = group.ToString().ToLowerInvariant();
        if (!LearningRates.TryGetValue(key, out string? text)) return LearningRate;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double rate) && rate is >= 0 and <= 1e6 ? rate
            : throw new UsageException($"learning_rates.{key} is '{text}', not a learning rate");
    }

    /// <summary>Refuses values that cannot be.</summary>
    /// <exception cref="UsageException">One is out of range.</exception>
    public void Validate()
    {
        OptionCheck.OneOf("optim", Optim, "adam", "adamw", "sgd");
        OptionCheck.OneOf("class_weights", ClassWeights, "none", "balanced");
        OptionCheck.Between("learning_rate", LearningRate, 0, 1e6);
        OptionCheck.Between("weight_decay", WeightDecay, 0, 1e6);
        OptionCheck.Between("adam_beta1", AdamBeta1, 0, 0.999999);
        OptionCheck.Between("adam_beta2", AdamBeta2, 0, 0.99999999);
        OptionCheck.Between("adam_epsilon", AdamEpsilon, 0, 1);
        OptionCheck.Between("momentum", Momentum, 0, 0.999999);
        OptionCheck.Between("max_grad_norm", MaxGradNorm, 0, double.MaxValue);
        foreach (string key in LearningRates.Keys)
            if (!Adaptation.Policy.GroupNames.Split(", ").Contains(key))
                throw new UsageException($"learning_rates.{key}: there is no such group; there are {Adaptation.Policy.GroupNames}");
        foreach (GroupName group in Enum.GetValues<GroupName>()) _ = RateOf(group);
    }
}
