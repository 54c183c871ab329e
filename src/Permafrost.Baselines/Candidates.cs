using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Baselines;

/// <summary>Answers examples of one kind, a number each: a class, or a real number.</summary>
internal delegate float[] Answering<T>(IReadOnlyList<T> examples);

/// <summary>Settings that were trained, and may be chosen.</summary>
/// <param name="Settings">The settings in words.</param>
/// <param name="Train">Trains with them.</param>
internal sealed record Candidate<T>(string Settings, Func<Answering<T>> Train);

/// <summary>Examples with the right answers: classes as whole numbers, or real numbers.</summary>
internal sealed record Answered<T>(IReadOnlyList<T> Examples, IReadOnlyList<float> Targets);

/// <summary>Chooses among settings on the validation split, and scores the test split once.</summary>
internal static class Candidates
{
    /// <summary>The score of the best of some settings.</summary>
    /// <param name="name">The baseline's name.</param>
    /// <param name="spec">What the task asks for.</param>
    /// <param name="candidates">The settings; without validation examples the first are taken.</param>
    /// <param name="validation">The examples to choose by; null for none.</param>
    /// <param name="test">The examples to score; null for none.</param>
    /// <param name="cancellation">Ends it between two settings.</param>
    public static BaselineScore Choose<T>(
        string name, TaskSpec spec, IReadOnlyList<Candidate<T>> candidates, Answered<T>? validation, Answered<T>? test, CancellationToken cancellation)
    {
        MetricInfo metric = spec.Metrics[0];
        double? Score(Answering<T> answer, Answered<T>? split) => split is null ? null : Measured(spec.Output, metric, answer(split.Examples), split.Targets);
        (string Settings, Answering<T> Answer, double? Validation)? best = null;
        foreach (Candidate<T> candidate in validation is null ? candidates.Take(1) : candidates)
        {
            cancellation.ThrowIfCancellationRequested();
            Answering<T> answer = candidate.Train();
            double? score = Score(answer, validation);
            if (best is not { } known || metric.IsBetter(score!.Value, known.Validation!.Value)) best = (candidate.Settings, answer, score);
        }
        return new BaselineScore(name, best!.Value.Validation, Score(best.Value.Answer, test), best.Value.Settings);
    }

    private static double Measured(OutputSpec output, MetricInfo info, float[] answers, IReadOnlyList<float> targets)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        var metric = Metric.Create(info);
        Tensor given = Tensors.From(answers, answers.Length), right = Tensors.From(targets.ToArray(), answers.Length);
        if (output is ClassOutput) (given, right) = (given.to(ScalarType.Int64), right.to(ScalarType.Int64));
        metric.Add(given, right, torch.ones_like(right, ScalarType.Bool));
        return metric.Value;
    }
}
