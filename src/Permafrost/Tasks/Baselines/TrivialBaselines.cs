using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks.Baselines;

/// <summary>Scores of trivial rules, measured on the same test examples: what a result has to beat.</summary>
public static class TrivialBaselines
{
    private const int MostTrain = 60_000;
    private const int BatchSize = 256;

    /// <summary>
    /// Scores by rule, in the task's first metric: for classes and sequences <c>majority</c>, and <c>linear</c> where sequences of vectors have one length; for numbers
    /// <c>mean</c>; and the task's own rules.
    /// </summary>
    /// <param name="data">The data; scores are of its test split, or of validation where there is none.</param>
    /// <param name="task">The task, for its own rules; null where there is none.</param>
    public static IReadOnlyDictionary<string, double> Measure(TaskData data, TaskDefinition? task = null)
    {
        var baselines = new OrderedDictionary<string, double>();
        if ((data.Test ?? data.Validation) is not { Count: > 0 } test) return baselines;
        if (data.Spec.Output is NumberOutput numbers) baselines["mean"] = Mean(data, test, numbers);
        else baselines["majority"] = data.Spec.Output switch
        {
            SequenceOutput => CommonestSequence(data, test),
            MultiLabelOutput => CommonestLabels(data, test),
            _ => Majority(data, test),
        };
        if (data.Spec is { Input: VectorInput vectors, Output: ClassOutput classes } && Linear(data, test, vectors, classes) is { } linear) baselines["linear"] = linear;
        if (data.Test is not null && task is not null) foreach ((string rule, double score) in task.OwnBaselines(data)) baselines[rule] = score;
        return baselines;
    }

    // Always the most frequent answer of the training examples.
    private static double Majority(TaskData data, IDataset test)
    {
        var counts = new long[data.Spec.Output is ClassOutput classes ? classes.Classes : ((TokenClassOutput)data.Spec.Output).Classes];
        foreach (long[] indices in BatchIndices(data.Train))
        {
            using var scope = torch.NewDisposeScope();
            foreach (long target in data.Train.Get(indices).Targets.ToArray<long>()) if (target >= 0) counts[target]++;
        }
        long most = Array.IndexOf(counts, counts.Max());
        (long right, long all) = (0, 0);
        foreach (long[] indices in BatchIndices(test, all: true))
        {
            using var scope = torch.NewDisposeScope();
            foreach (long target in Measured(data, test.Get(indices)).ToArray<long>().Where(target => target >= 0))
            {
                all++;
                if (target == most) right++;
            }
        }
        return (double)right / Math.Max(1, all);
    }

    // The targets that the task's first metric counts; -100 in place of the others.
    private static Tensor Measured(TaskData data, Batch batch) => data.Spec.Metrics[0].Over is { } over && batch.Subsets.TryGetValue(over, out Tensor? subset)
        ? batch.Targets.masked_fill(subset.eq(0.Hold()), (-100).Hold()) : batch.Targets;

    // Always the whole answer that training examples have most often.
    private static double CommonestSequence(TaskData data, IDataset test)
    {
        IEnumerable<string> Answers(IDataset examples)
        {
            foreach (long[] indices in BatchIndices(examples, all: examples == test))
                foreach (string answer in Written(data, examples, indices).Where(answer => answer.Length > 0)) yield return answer;
        }
        var counts = Answers(data.Train).CountBy(answer => answer);
        string? commonest = counts.OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key, StringComparer.Ordinal).FirstOrDefault().Key;
        string[] wanted = [.. Answers(test)];
        return (double)wanted.Count(answer => answer == commonest) / Math.Max(1, wanted.Length);
    }

    // Always the labels that training examples have together most often, of those that have any.
    private static double CommonestLabels(TaskData data, IDataset test)
    {
        var counts = new Dictionary<string, (long Times, long[] Flags)>();
        foreach (long[] indices in BatchIndices(data.Train))
        {
            using var scope = torch.NewDisposeScope();
            Tensor targets = data.Train.Get(indices).Targets;
            foreach (long[] flags in targets.ToArray<long>().Chunk((int)targets.size(1)).Where(flags => flags.Contains(1)))
            {
                string key = string.Join(' ', flags);
                counts[key] = (counts.GetValueOrDefault(key).Times + 1, flags);
            }
        }
        if (counts.Count == 0) return 0;
        long[] commonest = counts.OrderByDescending(pair => pair.Value.Times).ThenBy(pair => pair.Key, StringComparer.Ordinal).First().Value.Flags;
        var metric = Metrics.Metric.Create(data.Spec.Metrics[0]);
        foreach (long[] indices in BatchIndices(test, all: true))
        {
            using var scope = torch.NewDisposeScope();
            Tensor targets = test.Get(indices).Targets;
            metric.Add(Tensors.From(commonest, 1, commonest.Length).expand(targets.shape), targets, targets.ne((-100).Hold()));
        }
        return metric.Value;
    }

    private static string[] Written(TaskData data, IDataset examples, long[] indices)
    {
        using var scope = torch.NewDisposeScope();
        Tensor targets = Measured(data, examples.Get(indices));
        return [.. targets.ToArray<long>().Chunk((int)targets.size(1)).Select(row => string.Join(' ', row.Where(token => token >= 0)))];
    }

    // Always the mean of the training examples' numbers, answer by answer.
    private static double Mean(TaskData data, IDataset test, NumberOutput output)
    {
        var sums = new double[output.Count];
        var counts = new long[output.Count];
        foreach (long[] indices in BatchIndices(data.Train))
        {
            using var scope = torch.NewDisposeScope();
            float[] targets = data.Train.Get(indices).Targets.ToArray<float>();
            for (int i = 0; i < targets.Length; i++)
            {
                if (float.IsNaN(targets[i])) continue;
                sums[i % output.Count] += targets[i];
                counts[i % output.Count]++;
            }
        }
        float[] means = [.. sums.Select((sum, i) => (float)(sum / Math.Max(1, counts[i])))];
        var metric = Metrics.Metric.Create(data.Spec.Metrics[0]);
        foreach (long[] indices in BatchIndices(test, all: true))
        {
            using var scope = torch.NewDisposeScope();
            Tensor targets = test.Get(indices).Targets;
            metric.Add(Tensors.From(means, 1, output.Count).expand(targets.shape), targets, targets.isnan().logical_not());
        }
        return metric.Value;
    }

    // Multinomial logistic regression on all input numbers, trained by a few passes of Adam; null when sequences are padded or differ in length.
    private static double? Linear(TaskData data, IDataset test, VectorInput vectors, ClassOutput classes)
    {
        long inputs = (long)vectors.Length * vectors.Size, outputs = (long)classes.Count * classes.Classes;
        if (inputs * outputs > 1 << 24) return null;
        // Bit Memory's 12 million weights take half a minute for two passes, and gain nothing from more.
        int passes = inputs * outputs > 1 << 22 ? 2 : 8;
        using var scope = torch.NewDisposeScope();
        using TorchSharp.Modules.Parameter weight = Tensors.AsParameter(torch.zeros([outputs, inputs])), bias = Tensors.AsParameter(torch.zeros([outputs]));
        using TorchSharp.Modules.Adam adam = torch.optim.Adam([weight, bias]);
        bool Fits(Batch batch) => batch.Mask is null && batch.Inputs.size(1) == vectors.Length;
        Tensor Logits(Batch batch) => torch.nn.functional.linear(batch.Inputs.view(batch.Count, inputs), weight, bias).view(-1, classes.Classes);
        for (int pass = 0; pass < passes; pass++)
        {
            foreach (var group in adam.ParamGroups) group.LearningRate = 2e-3 * (1 - (double)pass / passes);
            foreach (long[] indices in BatchIndices(data.Train))
            {
                using var batchScope = torch.NewDisposeScope();
                Batch batch = data.Train.Get(indices);
                if (!Fits(batch)) return null;
                if (batch.Targets.ne((-100).Hold()).sum().Integer() == 0) continue;
                adam.zero_grad();
                torch.nn.functional.cross_entropy(Logits(batch), batch.Targets.view(-1)).backward();
                adam.step();
            }
        }
        using var noGrad = torch.no_grad();
        (double right, double all) = (0, 0);
        foreach (long[] indices in BatchIndices(test, all: true))
        {
            using var batchScope = torch.NewDisposeScope();
            Batch batch = test.Get(indices);
            if (!Fits(batch)) return null;
            Tensor targets = batch.Targets.view(-1);
            right += Logits(batch).argmax(-1).eq(targets).sum().Number();
            all += targets.ne((-100).Hold()).sum().Number();
        }
        return right / Math.Max(1, all);
    }

    /// <summary>
    /// Numbers of examples for the rules to look at, a sample of so many or all of them, a batch at a time, in an order that is the same for every run. The caller opens a
    /// scope for each batch.
    /// </summary>
    internal static IEnumerable<long[]> BatchIndices(IDataset examples, bool all = false)
    {
        IEnumerable<long> order = new CounterRandom("floors", 0, 0).Permutation(examples.Count ?? 10_000);
        return (all ? order : order.Take(MostTrain)).Chunk(BatchSize);
    }
}
