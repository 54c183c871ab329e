namespace Permafrost.Training.Options;

/// <summary>Training on pairs of examples before the output layer (SetFit: Tunstall et al. 2022, arXiv 2209.11055).</summary>
public sealed record PairOptions
{
    /// <summary>Whether pairs are trained on first.</summary>
    [Option("train on pairs of examples first (same class near, others far; for few examples), then the output layer alone")]
    public bool Pairs { get; init; }

    /// <summary>Updates; null for five halves of the training examples, from 40 to 320.</summary>
    [Option("updates on pairs; default five halves of the training examples, from 40 to 320")]
    public int? PairSteps { get; init; }

    /// <summary>Pairs of an update.</summary>
    [Option("pairs an update, half of them of the same class")]
    public int PairBatchSize { get; init; } = 16;

    /// <summary>Learning rate; null for 1e-3, or 2e-5 where attention or feed-forward weights train.</summary>
    [Option("learning rate on pairs; default 0.001, or 0.00002 where `policy` trains attention or feed-forward weights")]
    public double? PairLearningRate { get; init; }

    /// <summary>Updates on so many training examples.</summary>
    public int StepsFor(long examples) => PairSteps ?? (int)Math.Clamp(examples * 5 / 2, 40, 320);

    /// <summary>Refuses values that cannot be.</summary>
    /// <exception cref="UsageException">One is out of range, or nothing trains on pairs.</exception>
    public void Validate()
    {
        OptionCheck.Between("pair_steps", PairSteps ?? 1, 1, int.MaxValue);
        OptionCheck.Between("pair_batch_size", PairBatchSize, 2, 1 << 16);
        OptionCheck.Between("pair_learning_rate", PairLearningRate ?? 0, 0, 1e6);
        if (!Pairs && (PairSteps is not null || PairLearningRate is not null))
            throw new UsageException($"`{(PairSteps is null ? "pair_learning_rate" : "pair_steps")}` is of pairs, and `pairs` is off; give `pairs`, or leave it out");
    }
}
