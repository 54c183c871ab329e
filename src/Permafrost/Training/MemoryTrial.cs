using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Training;

/// <summary>What a training's memory comes to, measured on a first micro-batch that changes nothing.</summary>
/// <param name="Loaded">Bytes resident before: program, libtorch, weights, data.</param>
/// <param name="TrainingBytes">Bytes that an example of a training batch adds while its gradient is computed, about.</param>
/// <param name="ScoringBytes">Bytes that an example adds while it is scored, about.</param>
/// <param name="StateBytes">Bytes of gradients and optimiser state.</param>
public sealed record MemoryTrial(long Loaded, long TrainingBytes, long ScoringBytes, long StateBytes)
{
    private const int Examples = 4;

    // Of the memory that is free, what a training may take.
    private const double Share = 0.9;

    /// <summary>Computes the gradient and the score of a few examples, and looks at what that took. The model is as it was before.</summary>
    /// <param name="model">The model.</param>
    /// <param name="data">Where the examples are from: the longest, where they differ.</param>
    /// <param name="device">The model's.</param>
    /// <param name="slots">Numbers of optimiser state for each trained weight: 2 for Adam.</param>
    public static MemoryTrial Measure(AdaptedModel model, IDataset data, Device device, int slots)
    {
        long[] many = Longest(data), one = many[..1];
        long before = ProcessMemory.Resident;
        (long step, bool training) = (model.DropoutKeys.Step, model.training);
        try
        {
            using DisposeScope scope = torch.NewDisposeScope();
            Batch few = data.Get(one).To(device), batch = data.Get(many).To(device);
            // Once before: code is compiled, and buffers that do not depend on the batch are made.
            Score(model, batch);
            Train(model, batch);
            // What the runtime compiles or collects meanwhile only ever adds, and an example's share of it would be multiplied by the batch: the lesser of two is nearer.
            long Least(Action<AdaptedModel, Batch> work, Batch examples) =>
                Math.Min(ProcessMemory.Growth(() => work(model, examples)), ProcessMemory.Growth(() => work(model, examples)));
            long Added(Action<AdaptedModel, Batch> work)
            {
                long all = Least(work, batch), least = many.Length > 1 ? Least(work, few) : 0;
                return Math.Max(0, all - least) / Math.Max(1, many.Length - 1);
            }
            return new MemoryTrial(before, Added(Train), Added(Score), (1 + slots) * sizeof(float) * model.Counts.Trained);
        }
        finally
        {
            foreach (AdaptedParameter parameter in model.Trained) parameter.Parameter.Value.grad = null;
            model.DropoutKeys.Step = step;
            model.train(training);
            Workspace.Trim();
        }
    }

    /// <summary>How many examples to compute at a time so that a batch takes less than nine tenths of what is free: all of them, or halved until they fit; at least 1.</summary>
    /// <param name="batch">At most so many.</param>
    /// <param name="perExample">Bytes of each.</param>
    /// <param name="available">Bytes that are free.</param>
    /// <param name="held">Bytes of these that are taken whatever the batch, such as <see cref="StateBytes"/> in a training.</param>
    public static int Fit(int batch, long perExample, long available, long held = 0)
    {
        double room = Math.Max(0, Share * available - held);
        while (batch > 1 && (double)batch * perExample > room) batch = (batch + 1) / 2;
        return batch;
    }

    /// <summary>How many examples of a training batch to compute at a time beside gradients and optimiser state, as <see cref="Fit"/> does.</summary>
    /// <param name="batch">At most so many.</param>
    /// <param name="available">Bytes that are free before gradients and optimiser state are there.</param>
    public int FitTraining(int batch, long available) => Fit(batch, TrainingBytes, available, StateBytes);

    /// <summary>How many examples to score at a time, as <see cref="Fit"/> does.</summary>
    /// <param name="batch">At most so many.</param>
    /// <param name="available">Bytes that are free before gradients and optimiser state are there.</param>
    /// <param name="training">Whether a training will hold gradients and optimiser state meanwhile.</param>
    public int FitScoring(int batch, long available, bool training) => Fit(batch, ScoringBytes, available, training ? StateBytes : 0);

    /// <summary>The predicted peak of a training in bytes.</summary>
    /// <param name="batch">Examples computed at a time.</param>
    /// <param name="scored">Examples scored at a time.</param>
    public long PeakBytes(int batch, int scored) => Math.Max(ProcessMemory.Peak, Loaded + StateBytes + Math.Max(batch * TrainingBytes, scored * ScoringBytes));

    private static void Train(AdaptedModel model, Batch batch)
    {
        model.train();
        TrainStep.AddGradients(model, [batch]);
    }

    private static void Score(AdaptedModel model, Batch batch)
    {
        model.eval();
        using var noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        model.Forward(batch);
    }

    private static long[] Longest(IDataset data)
    {
        int count = (int)Math.Min(Examples, data.Count ?? Examples);
        if (data.Lengths is not { } lengths) return [.. Enumerable.Range(0, count).Select(number => (long)number)];
        return [.. Enumerable.Range(0, lengths.Count).OrderByDescending(number => lengths[number]).Take(count).Select(number => (long)number)];
    }
}
