namespace Permafrost.Training;

/// <summary>Everything that a training carries from step to step besides weights and optimiser; saved with every checkpoint.</summary>
public sealed class TrainerState
{
    /// <summary>Updates done.</summary>
    public long Step { get; set; }

    /// <summary>Those of them in which there was a gradient.</summary>
    public long StepsWithGradient { get; set; }

    /// <summary>Sum of their learning rates: how far an adaptive optimiser can have moved a weight.</summary>
    public double RateSum { get; set; }

    /// <summary>Sum of the losses since the last report.</summary>
    public double LossSum { get; set; }

    /// <summary>Sum of the gradient norms since the last report.</summary>
    public double NormSum { get; set; }

    /// <summary>Steps with answers since the last report.</summary>
    public int Pending { get; set; }

    /// <summary>Tokens trained on.</summary>
    public long Tokens { get; set; }

    /// <summary>Seconds spent training, evaluations not counted, over all sessions.</summary>
    public double Seconds { get; set; }

    /// <summary>The step of the last validation; -1 before the first.</summary>
    public long EvaluatedStep { get; set; } = -1;

    /// <summary>The step of the best validation so far; -1 before the first.</summary>
    public long BestStep { get; set; } = -1;

    /// <summary>The value there of the metric that choices go by.</summary>
    public double BestMetric { get; set; }

    /// <summary>The loss there.</summary>
    public double BestLoss { get; set; }

    /// <summary>Validations since the best one.</summary>
    public int SinceBest { get; set; }
}
