using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Baselines;

/// <summary>
/// The answer of the nearest training series: nearest by the squared distance of their steps, or after they were bent in time towards each other (dynamic time warping, Sakoe and
/// Chiba 1978, all channels together), by at most a share of their steps, which is chosen on validation.
/// </summary>
public sealed class NearestNeighbourBaseline : IStrongBaseline
{
    // Squared differences of a candidate that are computed at most: with more, fewer training series are looked at.
    private const double MostWork = 2e10;
    private const int MostTrain = 60_000;

    // Without validation examples the first are taken.
    private static readonly double[] Shares = [0.1, 0, 0.03, 0.2];

    /// <inheritdoc/>
    public string Name => "nearest-neighbour";

    /// <inheritdoc/>
    public bool AppliesTo(TaskSpec spec) => SeriesExamples.Are(spec) && spec is { Output: ClassOutput { Count: 1 } or NumberOutput { Count: 1 } } && spec.Metrics[0].Over is null;

    /// <inheritdoc/>
    public BaselineScore? Score(TaskData data, long seed, CancellationToken cancellation)
    {
        Answered<Steps>? train = SeriesExamples.Of(data.Train, data.Spec, MostTrain, cancellation);
        Answered<Steps>? validation = SeriesExamples.Of(data.Validation, data.Spec, MostTrain, cancellation);
        Answered<Steps>? test = SeriesExamples.Of(data.Test, data.Spec, MostTrain, cancellation);
        if (train is null || (validation is null && test is null)) return null;
        int asked = Math.Max(validation?.Examples.Count ?? 0, test?.Examples.Count ?? 0);
        Candidate<Steps>[] candidates = [.. Shares.Select(share =>
        {
            double steps = train.Examples.Average(one => (double)one.Count), work = asked * steps * Math.Max(1, 2 * share * steps) * train.Examples[0].Channels;
            int looked = (int)Math.Clamp(MostWork / work, 1, train.Examples.Count);
            string rows = looked < train.Examples.Count ? FormattableString.Invariant($", {looked:N0} of {data.Train.Count:N0} training series") : "";
            string how = share == 0 ? "step by step" : FormattableString.Invariant($"bent by at most {share:P0} of the steps");
            return new Candidate<Steps>(how + rows, () => examples => Answers(train, looked, share, examples, cancellation));
        })];
        return Candidates.Choose(Name, data.Spec, candidates, validation, test, cancellation);
    }

    private static float[] Answers(Answered<Steps> train, int looked, double share, IReadOnlyList<Steps> examples, CancellationToken cancellation)
    {
        var answers = new float[examples.Count];
        try
        {
            Parallel.For(0, examples.Count, new ParallelOptions { CancellationToken = cancellation }, row =>
            {
                (double best, int nearest) = (double.PositiveInfinity, 0);
                for (int i = 0; i < looked; i++)
                {
                    double distance = Distance(train.Examples[i], examples[row], share, best);
                    if (distance < best) (best, nearest) = (distance, i);
                }
                answers[row] = train.Targets[nearest];
            });
        }
        catch (AggregateException error) when (error.InnerException is OperationCanceledException)
        {
            throw new OperationCanceledException(cancellation);
        }
        return answers;
    }

    /// <summary>The squared distance of two series, bent by at most a share of the longer's steps; infinity as soon as it is known to exceed <paramref name="limit"/>.</summary>
    internal static double Distance(Steps a, Steps b, double share, double limit)
    {
        // However narrow, a path from corner to corner needs room for the difference of the lengths.
        int window = Math.Max((int)(share * Math.Max(a.Count, b.Count)), Math.Abs(a.Count - b.Count));
        (var above, var own) = (new double[b.Count + 1], new double[b.Count + 1]);
        Array.Fill(above, double.PositiveInfinity);
        above[0] = 0;
        for (int i = 1; i <= a.Count; i++)
        {
            Array.Fill(own, double.PositiveInfinity);
            double least = double.PositiveInfinity;
            for (int j = Math.Max(1, i - window); j <= Math.Min(b.Count, i + window); j++)
            {
                double sum = 0;
                for (int c = 0; c < a.Channels; c++)
                {
                    double difference = a.Values[(i - 1) * a.Channels + c] - b.Values[(j - 1) * b.Channels + c];
                    sum += difference * difference;
                }
                own[j] = sum + Math.Min(above[j - 1], Math.Min(above[j], own[j - 1]));
                least = Math.Min(least, own[j]);
            }
            if (least >= limit) return double.PositiveInfinity;
            (above, own) = (own, above);
        }
        return above[b.Count];
    }
}
