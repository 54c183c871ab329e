using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>Examples of any task as texts, and classes as labels: what is written, what is cut, and what is refused.</summary>
public sealed class CastingTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose() => scope.Dispose();

    private static TaskOptions Options(string reading = "", int? positions = null, params (string Key, string Value)[] settings) =>
        new(null, reading, settings.ToDictionary(pair => pair.Key, pair => pair.Value)) { Tokenizer = () => SmallTokenizer.Instance, LongestInput = () => positions };

    private static (TaskData Data, TaskData Cast) Of(TaskDefinition task, TaskOptions options)
    {
        TaskData data = task.Load(options);
        return (data, Casting.AsText(task, data, options, null));
    }

    // Tokens with blanks between.
    private static string Text(Batch batch, int row)
    {
        long[] ids = batch.Inputs[row].ToArray<long>();
        long[]? mask = batch.Mask?[row].ToArray<long>();
        return string.Join(' ', ids.Where((_, i) => mask is null || mask[i] == 1).Select(id => SmallTokenizer.Instance.Token((int)id)));
    }

    [Fact]
    public void Bits_are_digits()
    {
        (TaskData data, TaskData cast) = Of(new BitXor(), Options());
        Batch bits = data.Test!.Get([0, 1, 2]), texts = cast.Test!.Get([0, 1, 2]);
        for (int row = 0; row < 3; row++) Assert.Equal($"[CLS] {string.Join(' ', bits.Inputs[row].contiguous().ToArray<float>())} [SEP]", Text(texts, row));
        Assert.Equal(bits.Targets.ToArray<long>(), texts.Targets.ToArray<long>());
        Assert.Equal((new TextInput(SmallTokenizer.Instance.VocabularySize, 12), "mean", data.Spec), ((TextInput)cast.Spec.Input, cast.Spec.Readout, cast.Spec.Source));
        Assert.Contains(cast.Notes, note => note.EndsWith("a digit for each of the 2 numbers that occur", StringComparison.Ordinal));
    }

    [Fact]
    public void ListOps_is_written_as_it_is_read_with_its_brackets()
    {
        (TaskData data, TaskData cast) = Of(new ListOps(), Options("", null, ("max_length", "12"), ("min_length", "3")));
        Batch texts = cast.Train.Get([0, 1, 2, 3]);
        string[] words = [.. data.Spec.Preprocessing["tokens"].Split(' ')];
        Batch ids = data.Train.Get([0, 1, 2, 3]);
        for (int row = 0; row < 4; row++)
        {
            long[] own = [.. ids.Inputs[row].ToArray<long>().Zip(ids.Mask![row].ToArray<long>()).Where(pair => pair.Second == 1).Select(pair => pair.First)];
            string written = string.Join(' ', own.Select(id => words[id]));
            Assert.Equal(written.Replace(" ", "", StringComparison.Ordinal).ToLowerInvariant(), Text(texts, row).Replace("[CLS]", "", StringComparison.Ordinal)
                .Replace("[SEP]", "", StringComparison.Ordinal).Replace("##", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal));
            ListOpsExpression.Evaluate(written);
        }
        Assert.DoesNotContain(cast.Notes, note => note.Contains("cut", StringComparison.Ordinal));
    }

    [Fact]
    public void What_the_body_has_no_positions_for_is_cut_and_said()
    {
        (_, TaskData cast) = Of(new ListOps(), Options("", 32, ("max_length", "120"), ("min_length", "60")));
        Assert.Equal(32, cast.Spec.Input.Length);
        Assert.Equal(32, cast.Train.Get([0]).Inputs.size(1));
        Assert.Contains(cast.Notes, note => note.StartsWith("200 of the first 200 training examples have more than 32 tokens as texts and are cut", StringComparison.Ordinal));
    }

    [Fact]
    public void Pixels_are_steps_of_grey_and_patches_their_means_where_there_is_no_room()
    {
        var spec = new TaskSpec(new PixelInput(1, 4, 4, 2), new ClassOutput(2));
        TaskData data = new(spec, new Ramp(), null, null);
        TaskOptions wide = Options(), narrow = Options(positions: 8);
        TaskData all = Casting.AsText(new Mnist(), data, wide, null), means = Casting.AsText(new Mnist(), data, narrow, null);
        Assert.Equal("[CLS] 0 0 2 3 1 2 4 4 5 6 8 8 6 7 9 9 [SEP]", Text(all.Train.Get([0]), 0));
        Assert.Equal("[CLS] 0 1 2 3 [SEP]", Text(means.Train.Get([0]), 0));
        // What a finished run's configuration says is enough to write the same.
        TaskData read = Casting.AsText(new Mnist(), new TaskData(spec, new Ramp(), null, null), narrow, means.Spec);
        Assert.Equal(Text(means.Train.Get([1]), 0), Text(read.Train.Get([1]), 0));
        Assert.Equal(Text(means.Train.Get([1]), 0), Text(Casting.AsText(new Ramp(), means.Spec, narrow).Get([1]), 0));
        Refusal.Of("adapter_config.json", () => TextForm.Read(spec.Input, new Dictionary<string, string> { ["text_range"] = "0 x", ["text_of"] = "tokens" }));
    }

    [Fact]
    public void Amino_acids_are_letters_and_padding_is_not_written()
    {
        var task = new RemoteHomology();
        var spec = new TaskSpec(new IdInput(26, 6), new ClassOutput(3));
        var rows = new IdRows([[1, 3, 4], [25, 1]], chosen => Tensors.From([.. chosen.Select(i => (long)i)], chosen.Length, 1));
        Batch batch = Casting.AsText(task, new TaskData(spec, rows, null, null), Options(), null).Train.Get([0, 1]);
        Assert.Equal(["[CLS] a c d [SEP]", "[CLS] z a [SEP]"], [Text(batch, 0), Text(batch, 1)]);
    }

    [Fact]
    public void Labels_are_written_to_their_end()
    {
        TaskData data = SmallTokenizer.Data(["no", "yes"], [new LabelledText("a", 1, ""), new LabelledText("b", 0, "")], null, null);
        TaskData cast = Casting.AsLabels("a test", data, SmallTokenizer.Instance, 3);
        var output = (SequenceOutput)cast.Spec.Output;
        Assert.Equal((4, 3, "decoder", "accuracy"), (output.Length, output.End, cast.Spec.Readout, cast.Spec.Metrics[0].Name));
        long[] targets = cast.Train.Get([0, 1]).Targets.ToArray<long>();
        Assert.Equal("yes", SmallTokenizer.Instance.Decode([.. targets[..3].Select(id => (int)id)]));
        Assert.Equal([3, .. output.Labels[0].Tokens, 3, -100], targets[3..]);
        Refusal.OfUsage("eos_token_id", () => Casting.AsLabels("a test", data, SmallTokenizer.Instance, null));
        Refusal.OfUsage("no tokenizer", () => Casting.AsLabels("a test", data, null, 3));
        Refusal.OfUsage("cannot tell", () => Casting.AsLabels("a test", SmallTokenizer.Data(["Yes", "yes"], [new LabelledText("a", 1, "")], null, null), SmallTokenizer.Instance, 3));
    }

    [Fact]
    public void What_cannot_be_written_is_refused()
    {
        using TaskData bits = new BitXor().Load(Options());
        Refusal.OfUsage("no tokenizer", () => Casting.AsText(new BitXor(), bits, new TaskOptions(), null));
        Refusal.OfUsage("`max_length` is 99", () => Casting.AsText(new BitXor(), bits, Options(positions: 16) with { MaxLength = 99 }, null));
        Refusal.OfUsage("no room", () => Casting.AsText(new BitXor(), bits, Options() with { MaxLength = 2 }, null));
        Refusal.OfUsage("`casting` text", () => Casting.AsLabels("bit-xor", bits, SmallTokenizer.Instance, 3));
    }

    // Pictures of 4 x 4 from black to white, and back.
    private sealed class Ramp : IDataset
    {
        public long? Count => 2;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            float[] up = [.. Enumerable.Range(0, 16).Select(i => i / 16f)];
            float[] all = [.. indices.ToArray().SelectMany(index => index == 0 ? up : up.Reverse())];
            return new Batch(Tensors.From(all, indices.Length, 1, 4, 4), Tensors.From([.. indices.ToArray()], indices.Length, 1));
        }
    }
}
