using Permafrost.Adaptation;
using Permafrost.Adaptation.Heads;
using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Tasks.Metrics;
using Permafrost.Tests.Models;
using Permafrost.Training;

namespace Permafrost.Tests.Tasks;

/// <summary>
/// What every task promises. A new one passes by a class of a few lines: its name, settings that make it small, and how an example is written in the format that
/// <see cref="TaskDefinition.ReadInputs"/> reads. What its examples are right or wrong about is tested beside it.
/// </summary>
public abstract class TaskContract : IDisposable
{
    // Examples of a split that are looked at.
    private const int Looked = 200;

    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly Lazy<TaskData> loaded;

    protected TaskContract() => loaded = new(Load);

    /// <summary>The name, with the reading behind an <c>@</c>.</summary>
    protected internal abstract string Name { get; }

    /// <summary>The task's own settings, as <c>task_options</c>, that make it small.</summary>
    protected virtual Dictionary<string, string> Settings => [];

    /// <summary>The data's file or folder, made up; null for a task that needs none.</summary>
    protected virtual string? MakeData() => null;

    /// <summary>Whether no input is in two splits.</summary>
    protected virtual bool SplitsShareNothing => true;

    /// <summary>Names of the rules that only this task knows.</summary>
    protected virtual IReadOnlyList<string> OwnRules => [];

    /// <summary>An input as a line of the task's text format. Overridden, unless <see cref="WriteInputs"/> is.</summary>
    /// <param name="example">One example.</param>
    protected virtual string Line(Batch example) => throw new NotSupportedException($"{GetType().Name} says neither how a line nor how a file is written");

    /// <summary>Writes inputs as a file in the task's format: a line each, where it is text.</summary>
    /// <param name="path">The file.</param>
    /// <param name="examples">The inputs' source.</param>
    protected virtual void WriteInputs(string path, IDataset examples) => File.WriteAllLines(path, Numbers(examples).Select(number => Line(examples.Get([number]))));

    /// <summary>A folder that is gone after the test.</summary>
    private protected TemporaryFolder Folder { get; } = new();

    /// <summary>What the task feeds and asks for.</summary>
    protected TaskSpec Spec => Data.Spec;

    /// <summary>The task; overridden for one that no registry knows.</summary>
    protected virtual TaskDefinition Task => TaskRegistry.Find(Name).Task;

    /// <summary>More of the options that the task is loaded with.</summary>
    protected virtual TaskOptions With(TaskOptions options) => options;

    private TaskData Data => loaded.Value;

    private TaskOptions Options => With(new TaskOptions(MakeData(), Name.Split('@') is [_, var reading] ? reading : "", Settings));

    public void Dispose()
    {
        if (loaded.IsValueCreated) loaded.Value.Dispose();
        scope.Dispose();
        Folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Loading_again_gives_the_same_examples()
    {
        using TaskData again = Load();
        Assert.Equal(Data.Spec.Input, again.Spec.Input);
        foreach (string split in Splits)
        {
            Assert.Equal(Data.Split(split)!.Count, again.Split(split)!.Count);
            Assert.Equal(Hash(Data.Split(split)!), Hash(again.Split(split)!));
        }
        Assert.Equal(DataHash.Of(Data), DataHash.Of(again));
        Assert.NotEqual(Hash(Data.Train), Hash(Data.Test!));
    }

    [Fact]
    public void No_input_is_in_two_splits_where_that_is_promised()
    {
        HashSet<string> Keys(IDataset examples) => [.. Numbers(examples).Select(number => Key(examples.Get([number])))];
        HashSet<string>[] splits = [.. Splits.Select(split => Keys(First(split, Looked)))];
        bool disjoint = !splits[0].Overlaps(splits[1]) && !splits[0].Overlaps(splits[2]) && !splits[1].Overlaps(splits[2]);
        Assert.Equal(SplitsShareNothing, disjoint);
    }

    [Fact]
    public void Batches_are_what_the_spec_says()
    {
        foreach (string split in Splits)
        {
            IDataset examples = First(split, Looked);
            Batch batch = examples.Get([.. Numbers(examples)]);
            Assert.Equal(examples.Count, batch.Count);
            CheckInputs(batch);
            CheckTargets(batch);
            Assert.Null(batch.ReadFrom);
            CheckLengths(examples);
        }
    }

    [Fact]
    public void An_example_is_the_same_in_whatever_batch_it_comes()
    {
        foreach (string split in Splits)
        {
            IDataset examples = First(split, 12);
            string[] alone = [.. Numbers(examples).Select(number => Whole(examples.Get([number]), 0))];
            foreach (long[] numbers in new long[][] { [.. Numbers(examples)], [.. Numbers(examples).Reverse()], [3, 1, 3, 3], [2, 0] })
            {
                Batch batch = examples.Get(numbers);
                Assert.Equal(numbers.Select(number => alone[number]), numbers.Select((_, row) => Whole(batch, row)));
            }
            Assert.True(alone.Distinct().Count() > 6, "examples are all alike");
        }
    }

    [Fact]
    public void The_trivial_rules_have_scores()
    {
        IReadOnlyDictionary<string, double> scores = TrivialBaselines.Measure(Data, Task);
        Assert.Contains(Spec.Output is NumberOutput ? "mean" : "majority", scores.Keys);
        Assert.Equal(OwnRules, scores.Keys.Except(["majority", "mean", "linear"]));
        Assert.All(OwnRules, rule => Assert.Contains(rule, Task.Description, StringComparison.Ordinal));
        Assert.All(scores.Values, score => Assert.True(double.IsFinite(score)));
        if (Spec.Metrics[0].Unit == "share") Assert.All(scores, pair => Assert.InRange(pair.Value, pair.Key == "majority" ? 1e-9 : 0, 1));
    }

    [Fact]
    public void A_model_made_for_the_task_is_scored_by_its_metrics()
    {
        var readout = Readout.Parse(Spec.Readout);
        Assert.InRange(readout.Count, 1, Spec.Input.Length);
        using Head head = Head.For(Spec.Output, readout, 8);
        Assert.NotEmpty(Spec.Metrics);
        Assert.Equal(Spec.Metrics.Count, Spec.Metrics.Select(metric => metric.Name).Distinct().Count());
        Assert.All(Spec.Metrics, metric => Assert.Contains(metric.Measure, Metric.Measures));

        using AdaptedModel model = Model();
        Scores scores = Evaluator.Evaluate(model, First("test", 20), 8, torch.CPU);
        Assert.Equal(20, scores.Count);
        Assert.True(scores.Loss > 0);
        Assert.Equal(Spec.Metrics.Select(metric => metric.Name), scores.Values.Keys);  // those of a subset too: it occurs
        Assert.All(Spec.Metrics.Where(metric => metric.Unit == "share"), metric => Assert.InRange(scores[metric.Name], 0, 1));
    }

    [Fact]
    public void Unknown_settings_are_refused_by_name() =>
        Refusal.OfUsage("task_options.no_such_thing", () => Task.Load(Options with { Settings = new Dictionary<string, string>(Settings) { ["no_such_thing"] = "1" } }));

    [Fact]
    public void Data_is_read_or_refused()
    {
        if (Data.IsGenerated) Assert.ThrowsAny<PermafrostException>(() => Task.Load(Options with { DataPath = Folder["no-such-data"] }));
        Assert.Equal(MakeData() is null, Data.IsGenerated);
    }

    [Fact]
    public void The_task_says_what_it_is()
    {
        Assert.False(string.IsNullOrWhiteSpace(Task.Summary) || string.IsNullOrWhiteSpace(Task.InputFormat));
        foreach (string heading in new[] { "Input ", "Output ", "Splits " }) Assert.Contains(heading, Task.Description, StringComparison.Ordinal);
        Assert.All(Settings.Keys, key => Assert.Contains($"task_options.{key}", Task.Description, StringComparison.Ordinal));
        Assert.All(Task.Readings, reading => Assert.Contains($"{Task.Name}@{reading}", Task.Description, StringComparison.Ordinal));
        Assert.NotEmpty(Spec.Preprocessing);
        Assert.True(Spec.FitsModelOf(Spec));
    }

    [Fact]
    public void Inputs_that_are_written_and_read_back_are_answered_as_the_examples_they_were()
    {
        IDataset examples = First("test", 10);
        string path = Folder["inputs"];
        WriteInputs(path, examples);
        using AdaptedModel model = Model();
        Prediction[] expected = [.. Evaluator.Predict(model, examples, 4, torch.CPU)];
        foreach (int partSize in new[] { 4, 100 })
        {
            (var inputs, var answers) = (new List<string>(), new List<Prediction>());
            foreach (IDataset part in Task.ReadInputs(path, Spec, Options, partSize))
            {
                Assert.True(part.Count > 0);
                Assert.All(Numbers(part), number => CheckUnlabelled(part.Get([number])));
                CheckLengths(part);
                inputs.AddRange(Numbers(part).Select(number => Key(part.Get([number]))));
                answers.AddRange(Evaluator.Predict(model, part, 4, torch.CPU));
                (part as IDisposable)?.Dispose();
            }
            Assert.Equal(Numbers(examples).Select(number => Key(examples.Get([number]))), inputs);
            Assert.Equal(expected.Length, answers.Count);
            foreach ((Prediction one, Prediction other) in expected.Zip(answers)) CheckSame(one, other);
        }
        Assert.True(expected.Select(Outputs).Select(outputs => outputs[0]).Distinct().Count() > 1, "the model answers everything alike");
    }

    private static string[] Splits => ["train", "validation", "test"];

    private TaskData Load() => Task.Load(Options);

    /// <summary>The numbers of a split's examples.</summary>
    private protected static IEnumerable<long> Numbers(IDataset examples) => Enumerable.Range(0, (int)examples.Count!.Value).Select(number => (long)number);

    private Subset First(string split, int most)
    {
        IDataset examples = Data.Split(split)!;
        return new Subset(examples, [.. Enumerable.Range(0, (int)Math.Min(most, examples.Count ?? most)).Select(number => (long)number)]);
    }

    private static string Hash(IDataset examples) =>
        DataHash.Of(new Subset(examples, [.. Enumerable.Range(0, (int)Math.Min(Looked, examples.Count ?? Looked)).Select(number => (long)number)]), CancellationToken.None);

    private AdaptedModel Model()
    {
        if (Spec.Output is SequenceOutput)
        {
            var config = HfConfig.Parse("""
                {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 1, "num_heads": 2, "vocab_size": 11,
                 "decoder_start_token_id": 0, "initializer_factor": 3}
                """, "config");
            using var weights = FrozenWeights.Draw(ModelRegistry.Find(config), config);
            return Bodies.Adapt(weights, Spec);
        }
        // The random body's weights are so small that every input looks alike; what is asked is whether the answers are the same.
        string path = TinyGpt2.Save(Folder, TinyGpt2.Json(positions: Spec.Input.Length));
        return Bodies.Adapt(path, Spec, init: "pretrained");
    }

    // An example's input, without the padding that others of its batch give it.
    private static string Key(Batch batch, int row = 0)
    {
        using DisposeScope own = torch.NewDisposeScope();
        Tensor input = batch.Inputs[row];
        if (batch.Mask is not null) input = input.index_select(0, batch.Mask[row].nonzero().view(-1));
        return Convert.ToHexString(input.contiguous().ToBytes());
    }

    private string Whole(Batch batch, int row)
    {
        using DisposeScope own = torch.NewDisposeScope();
        IEnumerable<Tensor> rest = batch.Subsets.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => pair.Value).Prepend(batch.Targets);
        // A sequence is padded to the longest of its batch.
        Tensor? there = Spec.Output is SequenceOutput ? batch.Targets[row].ne(Head.NoAnswer).nonzero().view(-1) : null;
        return string.Join('/', rest.Select(tensor => Convert.ToHexString((there is null ? tensor[row] : tensor[row].index_select(0, there)).contiguous().ToBytes())).Prepend(Key(batch, row)));
    }

    private void CheckInputs(Batch batch)
    {
        (Tensor inputs, long T) = (batch.Inputs, batch.Inputs.size(1));
        if (Spec.Input is PixelInput pixels) Assert.Equal([batch.Count, pixels.Channels, pixels.Height, pixels.Width], inputs.shape);
        else Assert.InRange(T, 1, Spec.Input.Length);
        if (Spec.Input is VectorInput vectors) Assert.Equal([batch.Count, T, vectors.Size], inputs.shape);
        int vocabulary = Spec.Input switch { IdInput ids => ids.Vocabulary, TextInput texts => texts.Vocabulary, _ => 0 };
        Assert.Equal(vocabulary > 0 ? ScalarType.Int64 : ScalarType.Float32, inputs.dtype);
        if (vocabulary > 0)
        {
            Assert.Equal(2, inputs.Dimensions);
            Assert.InRange(inputs.min().Integer(), 0, vocabulary - 1);
            Assert.InRange(inputs.max().Integer(), 0, vocabulary - 1);
        }
        else Assert.True(inputs.AllFinite());
        if (batch.Mask is not { } mask) return;
        CheckFlags(mask, batch.Count, T);
        Assert.True(mask.sum(1).min().Integer() > 0, "an example is all padding");
    }

    private void CheckTargets(Batch batch)
    {
        Tensor targets = batch.Targets;
        if (Spec.Output is SequenceOutput sequence) CheckSequences(targets, sequence);
        else Assert.Equal([batch.Count, Spec.Output is TokenClassOutput ? batch.Inputs.size(1) : Spec.Output.Answers], targets.shape);
        Assert.Equal(Spec.Output is NumberOutput ? ScalarType.Float32 : ScalarType.Int64, targets.dtype);
        int classes = Spec.Output switch { ClassOutput output => output.Classes, TokenClassOutput output => output.Classes, _ => 0 };
        if (classes > 0)
        {
            long[] counted = [.. targets.ToArray<long>().Where(target => target != Head.NoAnswer)];
            Assert.NotEmpty(counted);
            Assert.All(counted, target => Assert.InRange(target, 0, classes - 1));
        }
        if (Spec.Output is TokenClassOutput && batch.Mask is { } mask) Assert.True(targets.masked_select(mask.eq(0)).eq(Head.NoAnswer).all().item<bool>());
        Assert.Equal(Spec.Metrics.Select(metric => metric.Over).OfType<string>().Distinct().Order(), batch.Subsets.Keys.Order());
        foreach (Tensor subset in batch.Subsets.Values) CheckFlags(subset, targets.shape);
    }

    private static void CheckSequences(Tensor targets, SequenceOutput output)
    {
        Assert.InRange(targets.size(1), 1, output.Length);
        foreach (long[] row in targets.ToArray<long>().Chunk((int)targets.size(1)))
        {
            int end = Array.IndexOf(row, output.End);
            Assert.True(end >= 0, "a sequence without an end");
            Assert.All(row[..end], token => Assert.InRange(token, 0, output.Vocabulary - 1));
            Assert.All(row[(end + 1)..], token => Assert.Equal(Head.NoAnswer, token));
        }
    }

    private void CheckUnlabelled(Batch batch)
    {
        CheckInputs(batch);
        if (Spec.Output is NumberOutput) Assert.True(batch.Targets.isnan().all().item<bool>());
        else Assert.True(batch.Targets.eq(Head.NoAnswer).all().item<bool>());
    }

    private static void CheckLengths(IDataset examples)
    {
        if (examples.Lengths is not { } lengths) return;
        Batch batch = examples.Get([.. Numbers(examples)]);
        Tensor mask = batch.Mask ?? torch.ones([batch.Count, batch.Inputs.size(1)], ScalarType.Int64);
        Tensor last = (mask * torch.arange(mask.size(1), ScalarType.Int64)).argmax(1) + 1;  // up to the last token
        Assert.Equal(last.ToArray<long>(), lengths.Select(length => (long)length));
    }

    private static void CheckFlags(Tensor flags, params long[] shape)
    {
        Assert.Equal(shape, flags.shape);
        Assert.Equal(ScalarType.Int64, flags.dtype);
        Assert.InRange(flags.min().Integer(), 0, 1);
        Assert.InRange(flags.max().Integer(), 0, 1);
    }

    // Batches of other lengths are rounded differently where the kernels are not built.
    private static void CheckSame(Prediction expected, Prediction actual)
    {
        (float[] one, float[] other) = (Outputs(expected), Outputs(actual));
        Assert.Equal(one.Length, other.Length);
        foreach ((float number, float read) in one.Zip(other)) Assert.Equal(number, read, 1e-5f * Math.Max(1, Math.Abs(number)));
        if (expected is ClassPrediction classes) Assert.Equal(classes.Classes, ((ClassPrediction)actual).Classes);
    }

    private static float[] Outputs(Prediction prediction) => prediction switch
    {
        ClassPrediction classes => [.. classes.Probabilities.SelectMany(row => row)],
        NumberPrediction numbers => [.. numbers.Numbers],
        LabelsPrediction labels => [.. labels.Probabilities],
        SequencePrediction sequence => [sequence.Tokens.Sum(token => (token + 1) % 97), .. sequence.Tokens],
        _ => throw new NotSupportedException($"answers that are {prediction.GetType().Name}"),
    };
}
