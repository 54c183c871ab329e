using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Training;

/// <summary>Weights of classes in the loss.</summary>
internal static class ClassWeights
{
    private const int BatchSize = 256;

    /// <summary>Weights under which every class that occurs weighs the same in all: the mean of the counts of those, divided by its own. A class that never occurs has 0.</summary>
    /// <param name="output">What is asked for.</param>
    /// <param name="train">The examples whose answers are counted.</param>
    /// <param name="device">Where the weights are wanted.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <returns>(C) float32, of no dispose scope.</returns>
    /// <exception cref="UsageException">The answers are no classes, or there is no end of examples to count.</exception>
    public static Tensor Balanced(OutputSpec output, IDataset train, Device device, CancellationToken cancellation)
    {
        int classes = output switch { ClassOutput whole => whole.Classes, TokenClassOutput tokens => tokens.Classes, _ => 0 };
        if (classes == 0) throw new UsageException("`class_weights` balanced: the task asks for no classes; leave it out");
        if (train.Count is not { } count)
            throw new UsageException("`class_weights` balanced: the task generates examples without end, whose classes cannot be counted; leave it out");
        var counts = new long[classes];
        for (long first = 0; first < count; first += BatchSize)
        {
            cancellation.ThrowIfCancellationRequested();
            using DisposeScope scope = torch.NewDisposeScope();
            long[] rows = [.. Enumerable.Range(0, (int)Math.Min(BatchSize, count - first)).Select(i => first + i)];
            foreach (long target in train.Get(rows).Targets.ToArray<long>()) if (target >= 0) counts[target]++;
        }
        double mean = counts.Sum() / (double)Math.Max(1, counts.Count(times => times > 0));
        using DisposeScope made = torch.NewDisposeScope();
        return Tensors.From([.. counts.Select(times => times == 0 ? 0 : (float)(mean / times))], classes).to(device).DetachFromDisposeScope();
    }
}
