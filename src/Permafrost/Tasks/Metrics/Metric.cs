using Permafrost.Kernels;

namespace Permafrost.Tasks.Metrics;

/// <summary>Measures a metric, batch by batch.</summary>
public abstract class Metric
{
    private static readonly Dictionary<string, Func<Metric>> Table = new()
    {
        ["accuracy"] = () => new Accuracy(),
        ["exact_match"] = () => new ExactMatch(),
        ["rmse"] = () => new RootMeanSquaredError(),
        ["mae"] = () => new MeanAbsoluteError(),
        ["r2"] = () => new R2(),
    };

    /// <summary>The names that <see cref="MetricInfo.Measure"/> may have.</summary>
    public static IReadOnlyCollection<string> Measures => Table.Keys;

    /// <summary>The number of answers that counted so far; of examples, where whole ones are measured.</summary>
    public long Count { get; private protected set; }

    /// <summary>The metric over all answers so far; NaN before the first.</summary>
    public abstract double Value { get; }

    /// <summary>Begins a measurement.</summary>
    /// <exception cref="ArgumentException">There is no such measure.</exception>
    public static Metric Create(MetricInfo info)
    {
        if (Table.TryGetValue(info.Measure, out Func<Metric>? create)) return create();
        throw new ArgumentException($"the measure '{info.Measure}' does not exist; there are {string.Join(", ", Table.Keys)}", nameof(info));
    }

    /// <summary>Adds a batch.</summary>
    /// <param name="answers">The model's answers, of the targets' shape.</param>
    /// <param name="targets">The right answers.</param>
    /// <param name="counted">Flags of the same shape: which answers count.</param>
    public virtual void Add(Tensor answers, Tensor targets, Tensor counted)
    {
        using var scope = torch.NewDisposeScope();
        long count = counted.sum().Integer();
        if (count == 0) return;
        Count += count;
        AddCounted(answers.masked_select(counted), targets.masked_select(counted));
    }

    /// <summary>Adds answers that all count.</summary>
    protected abstract void AddCounted(Tensor answers, Tensor targets);

    private sealed class Accuracy : Metric
    {
        private long right;

        public override double Value => (double)right / Count;

        protected override void AddCounted(Tensor answers, Tensor targets) => right += answers.eq(targets).sum().Integer();
    }

    private sealed class ExactMatch : Metric
    {
        private long right;

        public override double Value => (double)right / Count;

        public override void Add(Tensor answers, Tensor targets, Tensor counted)
        {
            using var scope = torch.NewDisposeScope();
            Tensor asked = counted.any(1), wrong = answers.ne(targets).logical_and(counted).any(1);
            Count += asked.sum().Integer();
            right += asked.logical_and(wrong.logical_not()).sum().Integer();
        }

        protected override void AddCounted(Tensor answers, Tensor targets) => throw new NotSupportedException("examples are measured, not answers");
    }

    private sealed class RootMeanSquaredError : Metric
    {
        private double sum;

        public override double Value => Math.Sqrt(sum / Count);

        protected override void AddCounted(Tensor answers, Tensor targets) => sum += (answers - targets).to(ScalarType.Float64).square().sum().Number();
    }

    private sealed class MeanAbsoluteError : Metric
    {
        private double sum;

        public override double Value => sum / Count;

        protected override void AddCounted(Tensor answers, Tensor targets) => sum += (answers - targets).to(ScalarType.Float64).abs().sum().Number();
    }

    private sealed class R2 : Metric
    {
        private double squares, targetSum, targetSquares;

        public override double Value => 1 - squares / Math.Max(double.Epsilon, targetSquares - targetSum * targetSum / Count);

        protected override void AddCounted(Tensor answers, Tensor targets)
        {
            Tensor wide = targets.to(ScalarType.Float64);
            squares += (answers.to(ScalarType.Float64) - wide).square().sum().Number();
            targetSum += wide.sum().Number();
            targetSquares += wide.square().sum().Number();
        }
    }
}
