using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tasks.Metrics;
using Permafrost.Training.Options;

namespace Permafrost.Training;

/// <summary>
/// What a .NET user would do with a body: embed every text once, by the mean of its frozen hidden states, and train a linear classifier on the embeddings. It is the policy
/// <c>output</c> with a learning rate of its own, chosen on the validation split.
/// </summary>
/// <param name="weights">The body; not owned.</param>
/// <param name="device">Where it computes; null for the processor.</param>
/// <param name="frozenType">Of frozen weights that are multiplied with; null for the best of the device.</param>
/// <param name="progress">Told of what takes long; null for nobody.</param>
public sealed class LinearProbe(FrozenWeights weights, Device? device = null, ScalarType? frozenType = null, IProgress<TrainingEvent>? progress = null) : IStrongBaseline
{
    // Without validation texts the second one counts.
    private static readonly double[] Rates = [1e-3, 1e-2, 3e-2];

    private const int MostTrain = 60_000;
    private const int Batch = 32;
    private const int EvalBatch = 256;

    /// <inheritdoc/>
    public string Name => "linear-probe";

    /// <inheritdoc/>
    public bool AppliesTo(TaskSpec spec)
    {
        if (spec is not { Input: TextInput texts, Output: ClassOutput }) return false;
        using Backbone shape = weights.Architecture.Backbone(weights.Config);
        return shape.Traits.Vocabulary >= texts.Vocabulary && !(shape.Traits.LongestInput < texts.Length);
    }

    /// <inheritdoc/>
    public BaselineScore? Score(TaskData data, long seed, CancellationToken cancellation)
    {
        using AdaptedModel body = Adapt(data.Spec, seed);
        using var features = new FrozenFeatures(body, device ?? torch.CPU);
        IDataset Features(string split, IDataset examples) => features.Of(split, examples, progress, cancellation);
        long count = data.Train.Count ?? MostTrain;
        IDataset train = count <= MostTrain ? data.Train : new Subset(data.Train, new CounterRandom("linear-probe", 0, 0).Permutation(count)[..MostTrain]);
        var fed = new TrainingData(Features("train", train), data.Validation is null ? null : Features("validation", data.Validation));
        progress?.Report(new PhaseStarted("training the linear probe"));
        MetricInfo metric = data.Spec.Metrics[0];
        (AdaptedModel Model, double Rate, Scores? Validation)? best = null;
        try
        {
            foreach (double rate in fed.Validation is null ? Rates[1..2] : Rates)
            {
                AdaptedModel model = Adapt(data.Spec, seed);
                Scores? scores;
                try
                {
                    Trainer.Fit(model, fed, HowToTrain(rate, seed, (int)Math.Min(count, MostTrain), fed.Validation is not null), cancellation: cancellation);
                    scores = fed.Validation is null ? null : Evaluator.Evaluate(model, fed.Validation, EvalBatch, device ?? torch.CPU, cancellation: cancellation);
                }
                catch
                {
                    model.Dispose();
                    throw;
                }
                if (best is not { } known || IsBetter(metric, scores!, known.Validation!))
                {
                    best?.Model.Dispose();
                    best = (model, rate, scores);
                }
                else model.Dispose();
            }
            (AdaptedModel chosen, double chosenRate, Scores? validation) = best!.Value;
            Scores? test = data.Test is null ? null : Evaluator.Evaluate(chosen, Features("test", data.Test), EvalBatch, device ?? torch.CPU, cancellation: cancellation);
            return new BaselineScore(Name, validation?[metric.Name], test?[metric.Name], FormattableString.Invariant($"learning rate {chosenRate}"));
        }
        finally
        {
            best?.Model.Dispose();
        }
    }

    private AdaptedModel Adapt(TaskSpec spec, long seed) => new(weights, spec, new AdaptationOptions
    {
        Policy = Policy.Parse("output"),
        Readout = Readout.Parse("mean"),
        PretrainedEmbedding = true,
        Dropout = 0,
        Seed = seed,
        Device = device,
        FrozenType = frozenType,
    });

    private TrainerOptions HowToTrain(double rate, long seed, int rows, bool hasValidation)
    {
        int pass = (rows + Batch - 1) / Batch;
        return new TrainerOptions
        {
            Seed = seed,
            Device = device,
            Optimizer = new OptimizerOptions { LearningRate = rate },
            Schedule = new ScheduleOptions { MaxSteps = Math.Clamp(30 * pass, 300, 3000), PerDeviceTrainBatchSize = Batch },
            Evaluation = new EvaluationOptions { EvalSteps = Math.Clamp(pass, 30, 300), EarlyStoppingPatience = hasValidation ? 8 : 0 },
            Checkpoints = new CheckpointOptions { SaveSteps = 0, SaveMinutes = 0 },
        };
    }

    private static bool IsBetter(MetricInfo metric, Scores own, Scores other) =>
        metric.IsBetter(own[metric.Name], other[metric.Name]) || (own[metric.Name] == other[metric.Name] && own.Loss < other.Loss);
}
