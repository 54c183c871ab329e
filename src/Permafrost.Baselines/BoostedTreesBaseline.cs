using Microsoft.ML;
using Microsoft.ML.Data;
using Microsoft.ML.Trainers.FastTree;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Baselines;

/// <summary>
/// Boosted regression trees on all numbers of an example (ML.NET's FastTree, after Friedman 2001; one against the others where there are classes), for vectors of one length and
/// one answer. Leaves and learning rate are chosen on validation. What is drawn follows from the seed alone.
/// </summary>
public sealed class BoostedTreesBaseline : IStrongBaseline
{
    // A table of more numbers is trained on as many of its rows as hold so many.
    private const long MostNumbers = 10_000_000;
    private const int MostTrain = 60_000;
    private const int EndlessTrain = 10_000;
    private const int BatchSize = 256;
    private const int Trees = 100;

    // Without validation examples the first are taken.
    private static readonly (int Leaves, double Rate)[] Settings = [(20, 0.2), (6, 0.2), (20, 0.07), (40, 0.2)];

    /// <inheritdoc/>
    public string Name => "boosted-trees";

    /// <inheritdoc/>
    public bool AppliesTo(TaskSpec spec) => spec is { Input: VectorInput, Output: ClassOutput { Count: 1 } or NumberOutput { Count: 1 } } && spec.Metrics[0].Over is null;

    /// <inheritdoc/>
    public BaselineScore? Score(TaskData data, long seed, CancellationToken cancellation)
    {
        if (data.Spec.Input is not VectorInput vectors) return null;
        int width = vectors.Size * vectors.Length;
        int most = (int)Math.Clamp(MostNumbers / width, 1, MostTrain);
        if (Of(data.Train, width, most, cancellation) is not { } train || !Do(train, data.Spec.Output)) return null;
        (Answered<float[]>? validation, Answered<float[]>? test) = (null, null);
        if (data.Validation is not null && (validation = Of(data.Validation, width, MostTrain, cancellation)) is null) return null;
        if (data.Test is not null && (test = Of(data.Test, width, MostTrain, cancellation)) is null) return null;
        string rows = data.Train.Count > train.Examples.Count ? FormattableString.Invariant($", {train.Examples.Count:N0} of {data.Train.Count:N0} training examples") : "";
        Candidate<float[]>[] candidates =
        [
            .. Settings.Select(how => new Candidate<float[]>(
                FormattableString.Invariant($"{Trees} trees of {how.Leaves} leaves, learning rate {how.Rate}{rows}"),
                () => Train(train, data.Spec.Output, width, how.Leaves, how.Rate, seed))),
        ];
        return Candidates.Choose(Name, data.Spec, candidates, validation, test, cancellation);
    }

    private static bool Do(Answered<float[]> train, OutputSpec output) => output is NumberOutput || train.Targets.Distinct().Count() > 1;

    private static Answering<float[]> Train(Answered<float[]> train, OutputSpec output, int width, int leaves, double rate, long seed)
    {
        var ml = new MLContext(unchecked((int)seed));
        int inLeaf = Math.Clamp(train.Examples.Count / 100, 1, 10);
        if (output is not ClassOutput classes)
        {
            var how = new FastTreeRegressionTrainer.Options { NumberOfTrees = Trees, NumberOfLeaves = leaves, LearningRate = rate, MinimumExampleCountPerLeaf = inLeaf };
            ITransformer regression = ml.Regression.Trainers.FastTree(how).Fit(View<NumberRow>(ml, train.Examples, train.Targets, width));
            return examples => [.. regression.Transform(View<NumberRow>(ml, examples, null, width)).GetColumn<float>("Score")];
        }
        var binary = new FastTreeBinaryTrainer.Options { NumberOfTrees = Trees, NumberOfLeaves = leaves, LearningRate = rate, MinimumExampleCountPerLeaf = inLeaf };
        // Only classes that occur: there is nothing to boost towards the others.
        float[] occurring = [.. train.Targets.Distinct().Order()];
        float[] keys = [.. train.Targets.Select(target => (float)Array.IndexOf(occurring, target))];
        ITransformer model = ml.MulticlassClassification.Trainers.OneVersusAll(ml.BinaryClassification.Trainers.FastTree(binary), labelColumnName: "Label")
            .Fit(View<ClassRow>(ml, train.Examples, keys, width, occurring.Length));
        return examples => [.. model.Transform(View<ClassRow>(ml, examples, null, width, occurring.Length))
            .GetColumn<uint>("PredictedLabel").Select(key => occurring[(int)key - 1])];
    }

    // Null where something is padded or of another length.
    private static Answered<float[]>? Of(IDataset split, int width, int most, CancellationToken cancellation)
    {
        (var examples, var targets) = (new List<float[]>(), new List<float>());
        long count = split.Count ?? EndlessTrain;
        foreach (long[] indices in new CounterRandom("boosted-trees", 0, 0).Permutation(count).Take(most).Chunk(BatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            using DisposeScope scope = torch.NewDisposeScope();
            Batch batch = split.Get(indices);
            if (batch.Mask is not null || batch.Inputs.NumberOfElements != (long)indices.Length * width) return null;
            float[] numbers = batch.Inputs.ToArray<float>();
            float[] answers = batch.Targets.dtype == ScalarType.Float32
                ? batch.Targets.ToArray<float>()
                : [.. batch.Targets.ToArray<long>().Select(target => target < 0 ? float.NaN : target)];
            for (int row = 0; row < answers.Length; row++)
            {
                if (float.IsNaN(answers[row])) continue;
                examples.Add(numbers[(row * width)..((row + 1) * width)]);
                targets.Add(answers[row]);
            }
        }
        return examples.Count == 0 ? null : new Answered<float[]>(examples, targets);
    }

    private static IDataView View<TRow>(MLContext ml, IReadOnlyList<float[]> examples, IReadOnlyList<float>? targets, int width, int classes = 0) where TRow : class, IRow, new()
    {
        var schema = SchemaDefinition.Create(typeof(TRow));
        schema[nameof(IRow.Features)].ColumnType = new VectorDataViewType(NumberDataViewType.Single, width);
        if (classes > 0) schema["Label"].ColumnType = new KeyDataViewType(typeof(uint), classes);
        return ml.Data.LoadFromEnumerable(examples.Select((numbers, i) => new TRow { Features = numbers, Target = targets?[i] ?? 0 }), schema);
    }

    private interface IRow
    {
        float[] Features { get; set; }

        float Target { set; }
    }

    // ML.NET reads its columns by reflection.
    private sealed class ClassRow : IRow
    {
        public float[] Features { get; set; } = [];

        public uint Label { get; set; }

        float IRow.Target { set => Label = (uint)value; }
    }

    private sealed class NumberRow : IRow
    {
        public float[] Features { get; set; } = [];

        public float Label { get; set; }

        float IRow.Target { set => Label = value; }
    }
}
