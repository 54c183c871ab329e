using Permafrost.Data;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Tests.Tasks;

/// <summary>Examples from a safetensors file: what is read, how it is split, and what is refused with the file's name.</summary>
public class TensorsTaskTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly TensorsTask task = new();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    private string Data => folder["data.safetensors"];

    [Fact]
    public void Doubles_beyond_float32_are_refused_by_row()
    {
        Save(("inputs", torch.full([2, 1, 1], 1e300, ScalarType.Float64)), ("targets", Tensors.From([0L, 1])));
        Assert.Contains("row 0 of `inputs`", Refusal.Of(Data, () => Load(Replay)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_share_is_rounded_as_it_is_written()
    {
        Save(("inputs", torch.zeros([100, 1, 1])), ("targets", torch.zeros([100], ScalarType.Int64)));
        TaskData data = Load(new TaskOptions(Data, ValidationFraction: 0.145, TestFraction: 0.29));
        Assert.Equal((15, 29, 56), (data.Validation!.Count, data.Test!.Count, data.Train.Count));
    }

    [Fact]
    public void A_split_held_out_without_any_answer_is_refused()
    {
        Save(("inputs", torch.zeros([50, 1, 1])), ("targets", torch.full([50], -100, ScalarType.Int64).index_fill_(0, Tensors.From([0L]), 1)));
        Assert.Contains("`validation_fraction` 0", Refusal.Of(Data, () => Load(new TaskOptions(Data))), StringComparison.Ordinal);
    }

    [Fact]
    public void Targets_with_an_end_are_sequences()
    {
        TaskOptions options = Replay with { Settings = new Dictionary<string, string> { ["end"] = "3" } };
        void Targets(params long[] targets) => Save(("inputs", torch.ones([2, 4], ScalarType.Int64)), ("targets", Tensors.From(targets, 2, targets.Length / 2)));
        Targets(0, 7, 3, 3, -100, -100);
        using (TaskData data = Load(options))
        {
            Assert.Equal(new SequenceOutput(8, 3, 3), data.Spec.Output);
            Assert.Equal("decoder", data.Spec.Readout);
            Assert.Equal([0L, 7, 3, 3, -100, -100], data.Train.Get([0, 1]).Targets.ToArray<long>());
        }
        Targets(0, 3, 1, 2);
        Assert.Contains("row 1 has no end", Refusal.Of(Data, () => Load(options)), StringComparison.Ordinal);
        Targets(0, 3, 3, 2);
        Assert.Contains("row 1 goes on behind its end", Refusal.Of(Data, () => Load(options)), StringComparison.Ordinal);
        Targets(-100, 3, 3, -100);
        Assert.Contains("row 0 holds -100 before its end", Refusal.Of(Data, () => Load(options)), StringComparison.Ordinal);
        Refusal.OfUsage("end", () => Load(Replay with { Settings = new Dictionary<string, string> { ["end"] = "9" } }));
    }

    [Fact]
    public void Vectors_with_one_target_each_are_read_in_order()
    {
        Save(("inputs", torch.arange(12, ScalarType.Float32).view(2, 3, 2)), ("targets", Tensors.From([0L, 4])));
        TaskData data = Load(Replay);
        Assert.Equal((2, null, 3, 1, 5, "last"), (data.Spec.VectorSize, data.Spec.Vocabulary, data.Spec.SequenceLength, data.Spec.Targets, data.Spec.Classes, data.Spec.Readout));
        Assert.Equal((2, null, null), (data.Train.Count, data.Validation, data.Test));
        Batch batch = data.Train.Get([1, 0]);
        Assert.Equal([6f, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5], batch.Inputs.ToArray<float>());
        Assert.Equal([2, 1], batch.Targets.shape);
        Assert.Equal([4L, 0], batch.Targets.ToArray<long>());
        Assert.Null(batch.Mask);
    }

    [Fact]
    public void Ids_with_several_targets_and_a_mask_are_read()
    {
        Save(("inputs", Tensors.From([1L, 5, 0, 2, 3, 0], 2, 3)), ("targets", Tensors.From([1L, -100, 0, 1], 2, 2)), ("mask", Tensors.From([true, true, true, true, true, false], 2, 3)));
        TaskData data = Load(Replay);
        Assert.Equal((null, 6, 3, 2, 2, "last:2"), (data.Spec.VectorSize, data.Spec.Vocabulary, data.Spec.SequenceLength, data.Spec.Targets, data.Spec.Classes, data.Spec.Readout));
        Batch batch = data.Train.Get([0, 1]);
        Assert.Equal([1L, -100, 0, 1], batch.Targets.ToArray<long>());
        Assert.Equal([1L, 1, 1, 1, 1, 0], batch.Mask!.ToArray<long>());
    }

    [Fact]
    public void A_rows_length_reaches_to_its_last_token()
    {
        Save(("inputs", torch.ones([4, 3, 1])), ("targets", Tensors.From([0L, 1, 0, 1])), ("mask", Tensors.From([1L, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1], 4, 3)));
        Assert.Equal([1, 2, 3, 3], Load(Replay).Train.Lengths!);
        Save(("inputs", torch.ones([4, 3, 1])), ("targets", Tensors.From([0L, 1, 0, 1])));
        Assert.Null(Load(Replay).Train.Lengths);
    }

    [Fact]
    public void Half_and_double_precision_vectors_become_single()
    {
        Save(("inputs", Tensors.From([0.5, 0.25], 1, 1, 2)), ("targets", Tensors.From([0L])));
        Assert.Equal([0.5f, 0.25f], Load(Replay).Train.Get([0]).Inputs.ToArray<float>());
        Save(("inputs", Tensors.From([(Half)0.5f, (Half)2], 1, 1, 2)), ("targets", Tensors.From([0L])));
        Assert.Equal([0.5f, 2], Load(Replay).Train.Get([0]).Inputs.ToArray<float>());
    }

    [Fact]
    public void Rows_are_held_out_at_random_and_always_the_same()
    {
        Save(("inputs", torch.arange(50, ScalarType.Float32).view(50, 1, 1)), ("targets", torch.zeros([50], ScalarType.Int64)));
        var options = new TaskOptions(Data, ValidationFraction: 0.2, TestFraction: 0.1);
        (int[] train, int[] validation, int[] test) = (Rows(Load(options).Train), Rows(Load(options).Validation!), Rows(Load(options).Test!));
        Assert.Equal((35, 10, 5), (train.Length, validation.Length, test.Length));
        Assert.Equal(Enumerable.Range(0, 50), train.Concat(validation).Concat(test).Order());
        Assert.Equal(validation, Rows(Load(options with { Seed = 9 }).Validation!));
        Assert.NotEqual(Enumerable.Range(0, 10), validation);
    }

    [Fact]
    public void Splits_of_the_file_go_before_fractions()
    {
        Save(("inputs", torch.arange(20, ScalarType.Float32).view(20, 1, 1)), ("targets", torch.zeros([20], ScalarType.Int64)),
            ("validation.inputs", Tensors.From([100f, 101], 2, 1, 1)), ("validation.targets", Tensors.From([1L, 2])),
            ("test.inputs", Tensors.From([200f, 201, 202], 1, 3, 1)), ("test.targets", Tensors.From([3L])));
        TaskData data = Load(new TaskOptions(Data, ValidationFraction: 0.5, TestFraction: 0.5));
        Assert.Equal((20, 2, 1), (data.Train.Count, data.Validation!.Count, data.Test!.Count));
        Assert.Equal((4, 3), (data.Spec.Classes, data.Spec.SequenceLength));  // over all splits
        Assert.Equal([100, 101], Rows(data.Validation!));
    }

    [Fact]
    public void Ids_of_every_split_count_for_the_vocabulary()
    {
        Save(("inputs", Tensors.From([1L, 2], 2, 1)), ("targets", Tensors.From([0L, 1])), ("test.inputs", Tensors.From([9L], 1, 1)), ("test.targets", Tensors.From([1L])));
        Assert.Equal(10, Load(Replay).Spec.Vocabulary);
        Assert.Equal(40, Load(Replay with { Settings = new Dictionary<string, string> { ["vocabulary"] = "40" } }).Spec.Vocabulary);
        Refusal.OfUsage("task_options.vocabulary", () => Load(Replay with { Settings = new Dictionary<string, string> { ["vocabulary"] = "9" } }));
    }

    [Fact]
    public void The_number_of_classes_may_be_given_and_must_hold_every_target()
    {
        Save(("inputs", torch.zeros([2, 1, 1])), ("targets", Tensors.From([0L, 4])));
        Assert.Equal(9, Load(Replay with { NumClasses = 9 }).Spec.Classes);
        Assert.Contains("the target 4 does not fit `num_classes` 4", Refusal.Of(Data, () => Load(Replay with { NumClasses = 4 })), StringComparison.Ordinal);
    }

    public static TheoryData<string> Wrong() => [.. WrongFiles.Keys];

    private static readonly Dictionary<string, Func<(string, Tensor)[]>> WrongFiles = new()
    {
        ["no inputs"] = () => [("targets", Tensors.From([0L]))],
        ["no targets"] = () => [("inputs", torch.zeros([1, 1, 1]))],
        ["vectors without a time"] = () => [("inputs", torch.zeros([1, 1])), ("targets", Tensors.From([0L]))],
        ["ids with a third dimension"] = () => [("inputs", torch.zeros([1, 1, 1], ScalarType.Int64)), ("targets", Tensors.From([0L]))],
        ["ids of 32 bits"] = () => [("inputs", torch.zeros([1, 1], ScalarType.Int32)), ("targets", Tensors.From([0L]))],
        ["flags as inputs"] = () => [("inputs", torch.zeros([1, 1], ScalarType.Bool)), ("targets", Tensors.From([0L]))],
        ["no rows"] = () => [("inputs", torch.zeros([0, 1, 1])), ("targets", torch.zeros([0], ScalarType.Int64))],
        ["no tokens"] = () => [("inputs", torch.zeros([2, 0, 1])), ("targets", torch.zeros([2], ScalarType.Int64))],
        ["a negative id"] = () => [("inputs", Tensors.From([0L, -1], 1, 2)), ("targets", Tensors.From([0L]))],
        ["targets of 32 bits"] = () => [("inputs", torch.zeros([1, 1, 1])), ("targets", Tensors.From([0]))],
        ["real targets"] = () => [("inputs", torch.zeros([1, 1, 1])), ("targets", Tensors.From([0f]))],
        ["a target short"] = () => [("inputs", torch.zeros([2, 1, 1])), ("targets", Tensors.From([0L]))],
        ["targets with a third dimension"] = () => [("inputs", torch.zeros([1, 1, 1])), ("targets", torch.zeros([1, 1, 1], ScalarType.Int64))],
        ["a scalar target"] = () => [("inputs", torch.zeros([1, 1, 1])), ("targets", Tensors.Scalar(0L))],
        ["a target of -1"] = () => [("inputs", torch.zeros([2, 1, 1])), ("targets", Tensors.From([0L, -1]))],
        ["a target below -100"] = () => [("inputs", torch.zeros([2, 1, 1])), ("targets", Tensors.From([0L, -101]))],
        ["targets without columns"] = () => [("inputs", torch.zeros([2, 1, 1])), ("targets", torch.zeros([2, 0], ScalarType.Int64))],
        ["a mask of another length"] = () => [("inputs", torch.zeros([1, 2, 1])), ("targets", Tensors.From([0L])), ("mask", torch.ones([1, 3]))],
        ["a mask of twos"] = () => [("inputs", torch.zeros([1, 2, 1])), ("targets", Tensors.From([0L])), ("mask", Tensors.From([1L, 2], 1, 2))],
        ["a mask below zero"] = () => [("inputs", torch.zeros([1, 2, 1])), ("targets", Tensors.From([0L])), ("mask", Tensors.From([1L, -1], 1, 2))],
        ["a mask of halves"] = () => [("inputs", torch.zeros([1, 2, 1])), ("targets", Tensors.From([0L])), ("mask", Tensors.From([1f, 0.5f], 1, 2))],
        ["a mask without a number"] = () => [("inputs", torch.zeros([1, 2, 1])), ("targets", Tensors.From([0L])), ("mask", Tensors.From([1f, float.NaN], 1, 2))],
        ["a row of padding only"] = () => [("inputs", torch.zeros([2, 2, 1])), ("targets", Tensors.From([0L, 1])), ("mask", Tensors.From([1L, 1, 0, 0], 2, 2))],
        ["no target that counts"] = () => [("inputs", torch.zeros([2, 2, 1])), ("targets", Tensors.From([-100L, -100]))],
        ["a mask of one dimension"] = () => [("inputs", torch.zeros([1, 2, 1])), ("targets", Tensors.From([0L])), ("mask", torch.ones([2]))],
        ["a validation split without targets"] = () => [("inputs", torch.zeros([1, 1, 1])), ("targets", Tensors.From([0L])), ("validation.inputs", torch.zeros([1, 1, 1]))],
        ["a validation split of other vectors"] = () => [("inputs", torch.zeros([1, 1, 1])), ("targets", Tensors.From([0L])), ("validation.inputs", torch.zeros([1, 1, 2])), ("validation.targets", Tensors.From([0L]))],
        ["a test split of ids"] = () => [("inputs", torch.zeros([1, 1, 1])), ("targets", Tensors.From([0L])), ("test.inputs", torch.zeros([1, 1], ScalarType.Int64)), ("test.targets", Tensors.From([0L]))],
        ["an id beyond all tables"] = () => [("inputs", Tensors.From([1L << 40], 1, 1)), ("targets", Tensors.From([0L]))],
        ["the largest id there is"] = () => [("inputs", Tensors.From([long.MaxValue], 1, 1)), ("targets", Tensors.From([0L]))],
        ["a target beyond all classes"] = () => [("inputs", torch.zeros([1, 1, 1])), ("targets", Tensors.From([1L << 40]))],
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void Files_that_do_not_fit_are_refused_by_name(string what)
    {
        Save(WrongFiles[what]());
        Refusal.Of(Data, () => Load(Replay));
    }

    [Fact]
    public void No_path_a_missing_file_and_too_large_fractions_are_refused()
    {
        Refusal.OfUsage("`data`", () => task.Load(new TaskOptions()));
        Refusal.Of(Data, () => Load(Replay));
        Save(("inputs", torch.zeros([2, 1, 1])), ("targets", Tensors.From([0L, 1])));
        Refusal.Of(Data, () => Load(new TaskOptions(Data, ValidationFraction: 0.5, TestFraction: 0.5)));
    }

    [Fact]
    public void Inputs_for_predictions_need_no_targets_and_must_fit_the_run()
    {
        var vectors = new TaskSpec(new VectorInput(2, 3), new ClassOutput(2));
        var ids = new TaskSpec(new IdInput(5, 3), new ClassOutput(2) { Count = 2 });
        IDataset Read(TaskSpec shape, params (string, Tensor)[] tensors)
        {
            Save(tensors);
            return task.ReadInputs(Data, shape, new TaskOptions());
        }
        Batch batch = Read(ids, ("inputs", Tensors.From([4L, 0, 0], 1, 3)), ("mask", Tensors.From([1f, 1, 0], 1, 3))).Get([0]);
        Assert.Equal([-100L, -100], batch.Targets.ToArray<long>());
        Assert.Equal([1L, 1, 0], batch.Mask!.ToArray<long>());
        Assert.Equal(3, Read(vectors, ("inputs", torch.zeros([3, 4, 2], ScalarType.Float64))).Count);
        Refusal.Of(Data, () => Read(vectors, ("inputs", torch.zeros([3, 4, 3]))));
        Refusal.Of(Data, () => Read(vectors, ("inputs", torch.zeros([3, 4], ScalarType.Int64))));
        Refusal.Of(Data, () => Read(ids, ("inputs", Tensors.From([5L], 1, 1))));
        Refusal.Of(Data, () => Read(ids, ("x", Tensors.From([5L], 1, 1))));
    }

    [Theory]
    [InlineData("a negative id")]
    [InlineData("no rows")]
    [InlineData("real numbers where ids are needed")]
    [InlineData("a mask of another length")]
    public void Inputs_for_predictions_are_checked_as_training_inputs_are(string what)
    {
        Save(what switch
        {
            "a negative id" => [("inputs", Tensors.From([-1L, 0], 1, 2))],
            "no rows" => [("inputs", torch.zeros([0, 2], ScalarType.Int64))],
            "real numbers where ids are needed" => [("inputs", Tensors.From([0.5f, 1.5f], 1, 2))],
            _ => [("inputs", Tensors.From([0L, 1], 1, 2)), ("mask", torch.ones([1, 3]))],
        });
        Refusal.Of(Data, () => task.ReadInputs(Data, new TaskSpec(new IdInput(5, 2), new ClassOutput(2)), new TaskOptions()));
    }

    [Fact]
    public void Examples_outlive_the_scope_they_were_read_in()
    {
        Save(("inputs", Tensors.From([0.5], 1, 1, 1)), ("targets", Tensors.From([1L])), ("mask", torch.ones([1, 1])));
        IDataset training, inputs;
        using (torch.NewDisposeScope())
        {
            TaskData data = Load(Replay);
            training = data.Train;
            inputs = task.ReadInputs(Data, data.Spec, Replay);
        }
        Assert.Equal(0.5, training.Get([0]).Inputs.Number());
        Batch batch = inputs.Get([0]);
        Assert.Equal((0.5, -100, 1), (batch.Inputs.Number(), batch.Targets.Integer(), batch.Mask!.Integer()));
    }

    private TaskOptions Replay => new(Data, ValidationFraction: 0, TestFraction: 0);

    private TaskData Load(TaskOptions options) => task.Load(options);

    private void Save(params (string Name, Tensor Tensor)[] tensors) => SafetensorsWriter.Write(Data, tensors.Select(pair => KeyValuePair.Create(pair.Name, pair.Tensor)));

    // Rows of one number hold their own number.
    private static int[] Rows(IDataset examples) => [.. examples.Get([.. Enumerable.Range(0, (int)examples.Count!).Select(i => (long)i)]).Inputs.ToArray<float>().Select(value => (int)value)];
}
