using Microsoft.Extensions.Logging;
using Permafrost.Tasks.Baselines;

namespace Permafrost;

/// <summary>How a <see cref="SequenceClassifier"/> is trained. The defaults suit a few hundred rows.</summary>
public sealed record ClassifierOptions
{
    /// <summary>What trains: <c>fpt</c>, <c>output</c>, <c>*</c>, or groups such as <c>input,output,ln</c> (<see cref="Adaptation.Policy"/>).</summary>
    public string Policy { get; init; } = "fpt";

    /// <summary>Where the body's weights come from: <c>pretrained</c>, <c>random</c>, <c>statistics</c> or <c>shuffled</c> (<see cref="Models.BackboneInit"/>).</summary>
    public string Init { get; init; } = "pretrained";

    /// <summary>Seed of a body that is drawn.</summary>
    public long InitSeed { get; init; }

    /// <summary>Tensors of the checkpoint that the body does not have, such as another head's, to leave out: patterns with commas (<c>v_head.*</c>); null for none.</summary>
    public string? SkipWeights { get; init; }

    /// <summary>Seed of the split, the new layers, the order of rows and dropout: the same seed gives the same classifier.</summary>
    public long Seed { get; init; }

    /// <summary>Learning rate of Adam.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>Rows of an update.</summary>
    public int BatchSize { get; init; } = 16;

    /// <summary>Updates at most; null for 30 passes over the rows, at least 200 updates and at most 3,000.</summary>
    public int? MaxSteps { get; init; }

    /// <summary>Validations without a better one after which training stops; there is one each pass. 0 for never.</summary>
    public int Patience { get; init; } = 8;

    /// <summary>Share of the rows of each label held out to choose the best weights.</summary>
    public double ValidationFraction { get; init; } = 0.15;

    /// <summary>Share of the rows of each label held out for the score, looked at once.</summary>
    public double TestFraction { get; init; } = 0.15;

    /// <summary>Most tokens of a text, special tokens included; longer ones are cut. Null for 256, or what the body's tokenizer says where that is less.</summary>
    public int? MaxLength { get; init; }

    /// <summary>Probability of every dropout.</summary>
    public double Dropout { get; init; } = 0.1;

    /// <summary>Whether the result says what trivial rules score, and for texts a linear probe of the same body, which computes every text once more.</summary>
    public bool Baselines { get; init; } = true;

    /// <summary>What you would try first, to be scored on the same rows where it applies, such as those of the package Permafrost.Baselines.</summary>
    public IReadOnlyList<IStrongBaseline> StrongBaselines { get; init; } = [];

    /// <summary>Told in a line what was understood, and how each validation went; null for nobody.</summary>
    public ILogger? Logger { get; init; }

    /// <summary>Refuses values that cannot be.</summary>
    /// <exception cref="UsageException">One is out of range.</exception>
    internal void Validate()
    {
        static void Check(bool holds, string what)
        {
            if (!holds) throw new UsageException(what);
        }
        Check(LearningRate is > 0 and <= 1e6, FormattableString.Invariant($"LearningRate is {LearningRate}; it must be above 0"));
        Check(BatchSize is >= 1 and <= 1 << 20, $"BatchSize is {BatchSize}; it must be at least 1");
        Check(MaxSteps is null or >= 1, $"MaxSteps is {MaxSteps}; it must be at least 1");
        Check(Patience >= 0, $"Patience is {Patience}; it must not be negative");
        Check(MaxLength is null or >= 3, $"MaxLength is {MaxLength}; it must be at least 3");
        bool leavesRows = ValidationFraction is >= 0 and < 1 && TestFraction is >= 0 and < 1 && ValidationFraction + TestFraction < 0.95;
        Check(leavesRows, "ValidationFraction and TestFraction leave nothing to train on; lower one");
        Check(Dropout is >= 0 and < 1, FormattableString.Invariant($"Dropout is {Dropout}; it must be at least 0 and below 1"));
    }
}
