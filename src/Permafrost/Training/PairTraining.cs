using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Training.Optimizers;
using Permafrost.Training.Options;

namespace Permafrost.Training;

/// <summary>
/// Trains what is below the output layer on pairs of examples: the cosine of what is read from the two goes to 1 for examples of one class and to 0 for others, by least squares
/// (sentence-transformers' CosineSimilarityLoss, as SetFit uses it; Tunstall et al. 2022, arXiv 2209.11055). Half of the pairs are of one class. Of the policy everything trains
/// but the output layer, which learns afterwards, on what is then read (<see cref="AdaptedModel.OutputOnly"/>).
/// </summary>
public static class PairTraining
{
    /// <summary>Trains on pairs.</summary>
    /// <param name="model">The model; afterwards its output layer alone learns.</param>
    /// <param name="train">The examples, with a class each.</param>
    /// <param name="pairs">How.</param>
    /// <param name="options">Seed, optimiser, clipping and device.</param>
    /// <param name="progress">Told of progress; null for nobody.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="UsageException">The task has no classes, all examples are of one, or the policy trains nothing below the output layer.</exception>
    /// <exception cref="DivergedException">The loss is not finite.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static void Fit(
        AdaptedModel model, IDataset train, PairOptions pairs, TrainerOptions options, IProgress<TrainingEvent>? progress = null, CancellationToken cancellation = default)
    {
        Check(model);
        var drawn = new Pairs(FewExamples.Classes(model.Spec, train, "`pairs`"), pairs.PairBatchSize, options.Seed);
        Device device = options.Device ?? torch.CPU;
        int steps = pairs.StepsFor(train.Count!.Value);
        double rate = pairs.PairLearningRate ?? (model.Trained.Any(p => p.Group is GroupName.Attn or GroupName.Ff) ? 2e-5 : 1e-3);
        OptimizerOptions how = options.Optimizer;
        using IDisposable turn = model.BeginTraining();
        using var adam = new Adam(
            [new ParameterGroup([.. Below(model).Select(parameter => (parameter.Name, parameter.Parameter.Value))], 1)], how.AdamBeta1, how.AdamBeta2, how.AdamEpsilon);
        string frozen = model.FrozenSha256();
        (model.DropoutKeys.Seed, model.DropoutKeys.CountsForwards, model.DropoutKeys.Step, model.DropoutKeys.FirstRow) = (options.Seed, false, 0, 0);
        progress?.Report(new PhaseStarted("training on pairs"));
        model.train();
        try
        {
            for (int step = 0; step < steps; step++)
            {
                cancellation.ThrowIfCancellationRequested();
                double loss = Step(model, adam, train, drawn.Of(step), rate, how.MaxGradNorm, device);
                if (!double.IsFinite(loss))
                    throw new DivergedException(FormattableString.Invariant($"the loss on pairs is not finite at step {step + 1}; lower `pair_learning_rate` ({rate:G3})"));
                progress?.Report(new PhaseProgress("training on pairs", (step + 1.0) / steps));
            }
        }
        finally
        {
            model.eval();
            (model.DropoutKeys.CountsForwards, model.DropoutKeys.Step) = (true, 0);
        }
        if (model.FrozenSha256() != frozen) throw new PermafrostException("frozen weights changed while training on pairs; this is a defect of permafrost: please report it");
        model.OutputOnly = true;
    }

    /// <summary>Refuses models that cannot learn from pairs.</summary>
    /// <exception cref="UsageException">The task has no classes, or the policy trains nothing below the output layer.</exception>
    internal static void Check(AdaptedModel model)
    {
        if (model.Spec.Output is not ClassOutput { Count: 1 }) throw new UsageException("`pairs` needs a task with one class for each example; leave it out");
        if (!Below(model).Any())
            throw new UsageException($"`pairs` trains what is below the output layer, and `policy` {model.Policy} trains nothing there; take fpt, or leave `pairs` out");
        if (model.Trained.All(parameter => parameter.Group != GroupName.Output))
            throw new UsageException($"`pairs` trains the output layer at last, and `policy` {model.Policy} does not; add output to it");
    }

    private static IEnumerable<AdaptedParameter> Below(AdaptedModel model) => model.Trained.Where(parameter => parameter.Group != GroupName.Output);

    private static double Step(AdaptedModel model, Adam adam, IDataset train, (long[] Rows, float[] Same) pairs, double rate, double maxNorm, Device device)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Batch batch = train.Get(pairs.Rows).To(device);
        Tensor wanted = Tensors.From(pairs.Same, pairs.Same.Length).to(device);
        double loss = Segment.AddGradients(() => Segment.Compose(read => Loss(read[0], wanted), model.Read(batch.Inputs, batch.Mask)), device);
        model.DropoutKeys.Step++;
        if (double.IsFinite(loss))
        {
            double norm = GradientClipping.ClipNorm(adam.Parameters.Select(parameter => parameter.Tensor), maxNorm > 0 ? maxNorm : double.PositiveInfinity);
            if (double.IsFinite(norm)) adam.Step(rate);
        }
        adam.ZeroGrad();
        return loss;
    }

    // (2B, K, C): the first halves of the pairs, then the second ones.
    private static Tensor Loss(Tensor read, Tensor wanted)
    {
        long B = wanted.size(0);
        Tensor flat = read.reshape(2 * B, -1), first = flat.narrow(0, 0, B), second = flat.narrow(0, B, B);
        Tensor lengths = (first.square().sum(1) * second.square().sum(1)).sqrt().clamp_min(1e-8.Hold());
        return ((first * second).sum(1) / lengths - wanted).square().mean();
    }

    // Which pairs each update sees, as a function of its number alone.
    private sealed class Pairs
    {
        private readonly int[][] classes;
        private readonly int[][] several;
        private readonly int size;
        private readonly long seed;

        public Pairs(long[] targets, int size, long seed)
        {
            (this.size, this.seed) = (size, seed);
            classes = [.. Enumerable.Range(0, targets.Length).Where(i => targets[i] >= 0).GroupBy(i => targets[i]).OrderBy(own => own.Key).Select(own => own.ToArray())];
            several = [.. classes.Where(own => own.Length > 1)];
            if (classes.Length < 2) throw new UsageException("`pairs` needs training examples of at least two classes; leave it out");
        }

        public (long[] Rows, float[] Same) Of(int step)
        {
            var random = new CounterRandom("pairs", seed, step);
            (var rows, var same) = (new long[2 * size], new float[size]);
            for (int pair = 0; pair < size; pair++)
            {
                bool isSame = pair % 2 == 0 && several.Length > 0;
                int[][] from = isSame ? several : classes;
                int one = random.Next(from.Length), other = isSame ? one : (one + 1 + random.Next(from.Length - 1)) % from.Length;
                int first = random.Next(from[one].Length), second = isSame ? (first + 1 + random.Next(from[one].Length - 1)) % from[one].Length : random.Next(from[other].Length);
                (rows[pair], rows[size + pair], same[pair]) = (from[one][first], from[other][second], isSame ? 1 : 0);
            }
            return (rows, same);
        }
    }
}
