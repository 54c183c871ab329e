using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>Rows to train on and rows held out from them.</summary>
/// <param name="Train">Numbers of the rows to train on, in order.</param>
/// <param name="Held">Those held out, in order.</param>
internal sealed record Fold(long[] Train, long[] Held);

/// <summary>Training splits of a few examples: drawn from larger ones, and held out in parts that each have every class.</summary>
internal static class FewExamples
{
    private const int BatchSize = 256;

    /// <summary>The class of every example, in order; 0 throughout where answers are numbers.</summary>
    /// <exception cref="UsageException">The examples have no end, or not one answer each.</exception>
    public static long[] Classes(TaskSpec spec, IDataset examples, string option)
    {
        if (examples.Count is not { } count) throw new UsageException($"{option}: the task generates examples without end; leave it out");
        if (spec.Output is not (ClassOutput { Count: 1 } or NumberOutput { Count: 1 }))
            throw new UsageException($"{option} needs a task with one answer for each example; leave it out");
        if (spec.Output is NumberOutput) return new long[count];
        if (examples is TextRows texts) return [.. texts.Targets];
        var classes = new List<long>();
        foreach (long[] part in Enumerable.Range(0, checked((int)count)).Select(i => (long)i).Chunk(BatchSize))
        {
            using DisposeScope scope = torch.NewDisposeScope();
            classes.AddRange(examples.Get(part).Targets.ToArray<long>());
        }
        return [.. classes];
    }

    /// <summary>Some examples of a split; texts stay texts, which baselines read.</summary>
    public static IDataset Choose(IDataset examples, long[] rows) => examples is TextRows texts ? texts.Choose(rows) : new Subset(examples, rows);

    /// <summary>The data with so many training examples of every class, drawn by a seed.</summary>
    /// <exception cref="UsageException">A class has fewer, or there are no classes.</exception>
    public static TaskData Draw(TaskData data, int perClass, long seed)
    {
        const string Option = "`train_per_class`";
        if (data.Spec.Output is not ClassOutput output) throw new UsageException($"{Option} {perClass}: the task asks for no classes; leave it out");
        long[] classes = Classes(data.Spec, data.Train, Option);
        var rows = new List<long>();
        foreach (IGrouping<long, int> own in Enumerable.Range(0, classes.Length).Where(i => classes[i] >= 0).GroupBy(i => classes[i]).OrderBy(group => group.Key))
        {
            int[] all = [.. own];
            if (all.Length < perClass)
            {
                string name = output.Labels.Count > 0 ? output.Labels[(int)own.Key] : $"{own.Key}";
                throw new UsageException($"{Option} {perClass}: the class {name} has {all.Length} training example(s); ask for at most as many");
            }
            rows.AddRange(new CounterRandom("train-per-class", seed, own.Key).Permutation(all.Length).Take(perClass).Select(i => (long)all[i]));
        }
        return data with { Train = Choose(data.Train, [.. rows.Order()]), TrainSource = null, IsGenerated = false };
    }

    /// <summary>Every row is held out once a round, with about the same share of every class in each part.</summary>
    /// <param name="classes">The class of every row.</param>
    /// <param name="parts">Parts of a round.</param>
    /// <param name="rounds">Rounds, each parted anew.</param>
    /// <param name="seed">Decides which row is in which part.</param>
    public static IReadOnlyList<Fold> Folds(IReadOnlyList<long> classes, int parts, int rounds, long seed)
    {
        var folds = new List<Fold>();
        for (int round = 0; round < rounds; round++)
        {
            var partOf = new int[classes.Count];
            int next = 0;
            foreach (IGrouping<long, int> own in Enumerable.Range(0, classes.Count).GroupBy(i => classes[i]).OrderBy(group => group.Key))
            {
                int[] all = [.. own];
                // Dealt out in turn, going on where the class before ended, so that parts are of about one size.
                foreach (long i in new CounterRandom($"folds/{round}", seed, own.Key).Permutation(all.Length)) partOf[all[i]] = next++ % parts;
            }
            for (int part = 0; part < parts; part++)
            {
                ILookup<bool, long> halves = Enumerable.Range(0, classes.Count).ToLookup(i => partOf[i] == part, i => (long)i);
                if (halves[true].Any() && halves[false].Any()) folds.Add(new Fold([.. halves[false]], [.. halves[true]]));
            }
        }
        return folds;
    }
}
