using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Tests.Tasks;

/// <summary>Bit XOR: the answers are right, and every example is always the same.</summary>
public class BitXorTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly BitXor task = new();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData(5, 2)]
    [InlineData(3, 4)]
    [InlineData(1, 2)]
    public void Answers_are_the_parity_of_the_strings_bit_by_bit(int length, int patterns)
    {
        TaskData data = task.Load(Options(("length", $"{length}"), ("patterns", $"{patterns}")));
        foreach (IDataset split in new[] { data.Train, data.Validation!, data.Test! })
        {
            Batch batch = split.Get([0, 1, 999]);
            Assert.Equal([3, length * patterns, 1], batch.Inputs.shape);
            Assert.Equal([3, length], batch.Targets.shape);
            Assert.Null(batch.Mask);
            float[] bits = batch.Inputs.ToArray<float>();
            Assert.All(bits, bit => Assert.True(bit is 0 or 1));
            long[] expected = [.. from row in Enumerable.Range(0, 3) from i in Enumerable.Range(0, length)
                                  select (long)Enumerable.Range(0, patterns).Sum(p => bits[row * length * patterns + p * length + i]) % 2];
            Assert.Equal(expected, batch.Targets.ToArray<long>());
        }
    }

    [Fact]
    public void The_shape_asks_for_the_last_tokens()
    {
        TaskSpec spec = task.Load(Options()).Spec;
        Assert.Equal((new VectorInput(1, 10), "last:5"), (spec.Input, spec.Readout));
        Assert.Equal((2, 5), (Assert.IsType<ClassOutput>(spec.Output).Classes, spec.Output.Answers));
        Assert.Equal("last:3", task.Load(Options(("length", "3"))).Spec.Readout);
    }

    [Fact]
    public void An_example_depends_on_its_number_alone()
    {
        TaskData data = task.Load(Options());
        Batch together = data.Train.Get([7, 8, 1_000_000_000_000]);
        Batch alone = task.Load(Options()).Train.Get([1_000_000_000_000]);
        Assert.True(together.Inputs.narrow(0, 2, 1).ValuesEqual(alone.Inputs));
        Assert.True(together.Targets.narrow(0, 2, 1).ValuesEqual(alone.Targets));
        Assert.False(data.Train.Get([.. Enumerable.Range(0, 20).Select(i => (long)i)]).Inputs.ValuesEqual(data.Train.Get([.. Enumerable.Range(20, 20).Select(i => (long)i)]).Inputs));
    }

    [Fact]
    public void The_seed_changes_training_and_not_what_is_held_out()
    {
        TaskData zero = task.Load(Options()), one = task.Load(Options() with { Seed = 1 });
        long[] all = [.. Enumerable.Range(0, 100).Select(i => (long)i)];
        Assert.False(zero.Train.Get(all).Inputs.ValuesEqual(one.Train.Get(all).Inputs));
        Assert.True(zero.Validation!.Get(all).Inputs.ValuesEqual(one.Validation!.Get(all).Inputs));
        Assert.True(zero.Test!.Get(all).Inputs.ValuesEqual(one.Test!.Get(all).Inputs));
        Assert.False(zero.Test!.Get(all).Inputs.ValuesEqual(zero.Validation!.Get(all).Inputs));
        Assert.Equal((null, 1000, 1000), (zero.Train.Count, zero.Validation!.Count, zero.Test!.Count));
    }

    [Fact]
    public void Bits_and_answers_are_fair_coins()
    {
        Batch batch = task.Load(Options()).Train.Get([.. Enumerable.Range(0, 10_000).Select(i => (long)i)]);
        Assert.InRange(batch.Inputs.mean().Number(), 0.492, 0.508);  // 100,000 coins: 5 deviations of 0.0016
        Assert.InRange(batch.Targets.to(ScalarType.Float64).mean().Number(), 0.488, 0.512);
    }

    [Fact]
    public void Lines_of_bits_are_read_for_predictions()
    {
        string path = folder.Write("bits.txt", "0110110001\n\n 1111100000 \r\n");
        IDataset examples = task.ReadInputs(path, task.Load(Options()).Spec, Options());
        Assert.Equal(2, examples.Count);
        Batch batch = examples.Get([1, 0]);
        Assert.Equal([1f, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 1], batch.Inputs.ToArray<float>());
        Assert.Equal([2, 10, 1], batch.Inputs.shape);
        Assert.All(batch.Targets.ToArray<long>(), target => Assert.Equal(-100, target));
    }

    [Theory]
    [InlineData("0110110001\n011011000", ":2")]
    [InlineData("01101100012", ":1")]
    [InlineData("0110110002", ":1")]
    [InlineData("", "holds no input")]
    [InlineData("\n \n", "holds no input")]
    public void Other_lines_are_refused_with_their_number(string content, string expected)
    {
        string path = folder.Write("bits.txt", content);
        Assert.Contains(expected, Refusal.Of(path, () => task.ReadInputs(path, task.Load(Options()).Spec, Options())), StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_is_told() => Refusal.Of(folder["no.txt"], () => task.ReadInputs(folder["no.txt"], task.Load(Options()).Spec, Options()));

    [Theory]
    [InlineData("length", "0")]
    [InlineData("length", "five")]
    [InlineData("length", "5000")]
    [InlineData("length", "1.5")]
    [InlineData("length", "")]
    [InlineData("patterns", "1")]
    [InlineData("patterns", "65")]
    public void Settings_out_of_range_are_refused(string key, string value) => Refusal.OfUsage($"task_options.{key}", () => task.Load(Options((key, value))));

    [Fact]
    public void Unknown_settings_are_refused_with_the_known_ones() =>
        Assert.Contains("length, patterns", Refusal.OfUsage("task_options.lenght", () => task.Load(Options(("lenght", "5")))), StringComparison.Ordinal);

    private static TaskOptions Options(params (string Key, string Value)[] settings) => new(Settings: settings.ToDictionary(pair => pair.Key, pair => pair.Value));
}
