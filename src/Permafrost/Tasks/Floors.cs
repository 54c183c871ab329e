using Permafrost.Kernels;
using Permafrost.Training.Optimizers;

namespace Permafrost.Tasks;

/// <summary>Scores of trivial rules, measured on the same test examples: what a result has to beat.</summary>
public static class Floors
{
    private const int MostTrain = 60_000;
    private const int BatchSize = 256;

    /// <summary>Accuracies by rule: <c>majority</c>, <c>linear</c> where sequences of vectors have one length, and the task's own rules.</summary>
    public static IReadOnlyDictionary<string, double> Measure(TaskDefinition task, TaskData data)
    {
        var floors = new Dictionary<string, double>();
        if ((data.Test ?? data.Validation) is not { Count: > 0 } test) return floors;
        floors["majority"] = Majority(data, test);
        if (data.Shape.FeedsVectors && Linear(data, test) is { } linear) floors["linear"] = linear;
        if (data.Test is not null) foreach ((string rule, double score) in task.OwnFloors(data)) floors[rule] = score;
        return floors;
    }

    /// <summary>Always the most frequent answer of the training examples.</summary>
    private static double Majority(TaskData data, IExamples test)
    {
        var counts = new long[data.Shape.Classes];
        foreach (Batch batch in Batches(data.Train))
            foreach (long target in batch.Targets.ToArray<long>()) if (target >= 0) counts[target]++;
        long most = Array.IndexOf(counts, counts.Max());
        (long right, long all) = (0, 0);
        foreach (Batch batch in Batches(test))
            foreach (long target in batch.Targets.ToArray<long>()) if (target >= 0) { all++; if (target == most) right++; }
        return (double)right / Math.Max(1, all);
    }

    /// <summary>Multinomial logistic regression on all input numbers, a few passes of Adam; null when sequences are padded or differ in length.</summary>
    private static double? Linear(TaskData data, IExamples test)
    {
        const int Passes = 8;
        long inputs = (long)data.Shape.SequenceLength * data.Shape.VectorSize!.Value;
        long outputs = (long)data.Shape.Targets * data.Shape.Classes;
        if (inputs * outputs > 1 << 24) return null;
        using var scope = torch.NewDisposeScope();
        Tensor weight = torch.zeros([outputs, inputs]);
        Tensor bias = torch.zeros([outputs]);
        weight.requires_grad = bias.requires_grad = true;
        using var adam = new Adam([new ParameterGroup([("weight", weight), ("bias", bias)])]);
        Tensor Logits(Batch batch) => torch.nn.functional.linear(batch.Inputs.view(batch.Count, inputs), weight, bias).view(-1, data.Shape.Classes);
        for (int pass = 0; pass < Passes; pass++)
        {
            foreach (Batch batch in Batches(data.Train))
            {
                if (batch.Mask is not null || batch.Inputs.size(1) != data.Shape.SequenceLength) return null;
                if (batch.Targets.ne(-100).sum().Integer() == 0) continue;
                torch.nn.functional.cross_entropy(Logits(batch), batch.Targets.view(-1)).backward();
                adam.Step(2e-3 * (1 - (double)pass / Passes));
                adam.ZeroGrad();
            }
        }
        using var noGrad = torch.no_grad();
        (double right, double all) = (0, 0);
        foreach (Batch batch in Batches(test))
        {
            if (batch.Mask is not null || batch.Inputs.size(1) != data.Shape.SequenceLength) return null;
            Tensor targets = batch.Targets.view(-1);
            right += Logits(batch).argmax(-1).eq(targets).sum().Number();
            all += targets.ne(-100).sum().Number();
        }
        return right / Math.Max(1, all);
    }

    internal static IEnumerable<Batch> Batches(IExamples examples)
    {
        long count = Math.Min(examples.Count ?? 10_000, MostTrain);
        long[] order = new CounterRandom("floors", 0, 0).Permutation(count);
        for (long at = 0; at < count; at += BatchSize)
        {
            using var scope = torch.NewDisposeScope();
            yield return examples.Get(order.AsSpan((int)at, (int)Math.Min(BatchSize, count - at)));
        }
    }
}
