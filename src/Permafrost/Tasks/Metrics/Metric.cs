using Permafrost.Kernels;

namespace Permafrost.Tasks.Metrics;

/// <summary>Measures a metric, batch by batch.</summary>
public abstract class Metric
{
    private static readonly Dictionary<string, Func<MetricInfo, Metric>> Table = new()
    {
        ["accuracy"] = _ => new Accuracy(),
        ["exact_match"] = _ => new ExactMatch(),
        ["rmse"] = _ => new RootMeanSquaredError(),
        ["mae"] = _ => new MeanAbsoluteError(),
        ["r2"] = _ => new R2(),
        ["f1"] = info => new F1(info.Class ?? 1),
        ["macro_f1"] = _ => new MacroF1(),
        ["auc"] = info => new AreaUnderCurve(info.Class ?? 1),
    };

    /// <summary>The names that <see cref="MetricInfo.Measure"/> may have.</summary>
    public static IReadOnlyCollection<string> Measures => Table.Keys;

    /// <summary>The number of answers that counted so far; of examples, where whole ones are measured.</summary>
    public long Count { get; private protected set; }

    /// <summary>The metric over all answers so far; NaN before the first.</summary>
    public abstract double Value { get; }

    /// <summary>Whether it is measured on the model's outputs, (B, P, C) logits, and not on its answers.</summary>
    public virtual bool IsOfOutputs => false;

    /// <summary>Begins a measurement.</summary>
    /// <exception cref="ArgumentException">There is no such measure.</exception>
    public static Metric Create(MetricInfo info)
    {
        if (Table.TryGetValue(info.Measure, out Func<MetricInfo, Metric>? create)) return create(info);
        throw new ArgumentException($"the measure '{info.Measure}' does not exist; there are {string.Join(", ", Table.Keys)}", nameof(info));
    }

    /// <summary>Adds a batch.</summary>
    /// <param name="answers">The model's answers, of the targets' shape; or its outputs, for a metric of those.</param>
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

    private sealed class F1(int of) : Metric
    {
        private long right, given, wanted;

        // Answers of classes are never NaN; a class that nobody gives nor wants has no better score than 0.
        public override double Value => Count == 0 ? double.NaN : given + wanted == 0 ? 0 : 2.0 * right / (given + wanted);

        protected override void AddCounted(Tensor answers, Tensor targets)
        {
            Tensor isGiven = answers.eq(((long)of).Hold()), isWanted = targets.eq(((long)of).Hold());
            given += isGiven.sum().Integer();
            wanted += isWanted.sum().Integer();
            right += isGiven.logical_and(isWanted).sum().Integer();
        }
    }

    private sealed class MacroF1 : Metric
    {
        private double[] right = [], all = [];

        public override double Value => Count == 0 ? double.NaN : right.Zip(all, (own, both) => both == 0 ? 0 : 2 * own / both).Average();

        public override void Add(Tensor answers, Tensor targets, Tensor counted)
        {
            using var scope = torch.NewDisposeScope();
            Tensor given = answers.eq(1.Hold()).logical_and(counted), wanted = targets.eq(1.Hold()).logical_and(counted);
            double[] Columns(Tensor flags) => flags.to(ScalarType.Float64).sum(dim: 0).ToArray<double>();
            double[] own = Columns(given.logical_and(wanted)), both = [.. Columns(given).Zip(Columns(wanted), (one, other) => one + other)];
            right = right.Length == 0 ? own : [.. right.Zip(own, (before, now) => before + now)];
            all = all.Length == 0 ? both : [.. all.Zip(both, (before, now) => before + now)];
            Count += counted.sum().Integer();
        }

        protected override void AddCounted(Tensor answers, Tensor targets) => throw new NotSupportedException("labels are measured, not answers");
    }

    private sealed class AreaUnderCurve(int of) : Metric
    {
        private readonly List<(float Score, bool Wanted)> seen = [];

        public override bool IsOfOutputs => true;

        // Mann and Whitney's statistic: ranks from below, ties in the middle of theirs; a half where there is only one kind.
        public override double Value
        {
            get
            {
                long positives = seen.Count(one => one.Wanted), negatives = seen.Count - positives;
                if (positives == 0 || negatives == 0) return seen.Count == 0 ? double.NaN : 0.5;
                double sum = 0;
                long rank = 0;
                foreach (IGrouping<float, (float Score, bool Wanted)> ties in seen.GroupBy(one => one.Score).OrderBy(group => group.Key))
                {
                    long all = ties.Count();
                    sum += ties.Count(one => one.Wanted) * (rank + (all + 1) / 2.0);
                    rank += all;
                }
                return (sum - positives * (positives + 1) / 2.0) / ((double)positives * negatives);
            }
        }

        public override void Add(Tensor answers, Tensor targets, Tensor counted)
        {
            using var scope = torch.NewDisposeScope();
            float[] scores = answers.to(ScalarType.Float32).softmax(-1).select(-1, of).masked_select(counted).ToArray<float>();
            long[] wanted = targets.masked_select(counted).ToArray<long>();
            for (int i = 0; i < scores.Length; i++) seen.Add((scores[i], wanted[i] == of));
            Count += scores.Length;
        }

        protected override void AddCounted(Tensor answers, Tensor targets) => throw new NotSupportedException("outputs are measured, not answers");
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
