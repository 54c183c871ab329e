using Permafrost.Adaptation;
using Permafrost.Kernels;

namespace Permafrost.Tests.Adaptation;

/// <summary>Which hidden states are read, on two sequences of four states of one number: 1 2 3 4 and 10 20 30 40.</summary>
public class ReadoutTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly Tensor hidden = Tensors.From([1f, 2, 3, 4, 10, 20, 30, 40], 2, 4, 1);

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData("last", new float[] { 4, 40 })]
    [InlineData("first", new float[] { 1, 10 })]
    [InlineData("mean", new[] { 2.5f, 25 })]
    [InlineData("last:1", new float[] { 4, 40 })]
    [InlineData("last:3", new float[] { 2, 3, 4, 20, 30, 40 })]
    [InlineData("last:4", new float[] { 1, 2, 3, 4, 10, 20, 30, 40 })]
    public void Without_padding_places_are_the_sequences_own(string readout, float[] expected)
    {
        Check(readout, null, expected);
        Check(readout, torch.ones([2, 4], ScalarType.Int64), expected);  // a mask that hides nothing changes nothing
    }

    [Theory]
    [InlineData("last", new float[] { 3, 20 })]
    [InlineData("first", new float[] { 1, 10 })]
    [InlineData("mean", new float[] { 2, 15 })]
    [InlineData("last:2", new float[] { 2, 3, 10, 20 })]
    public void Padding_on_the_right_does_not_count(string readout, float[] expected) => Check(readout, Mask(1, 1, 1, 0, 1, 1, 0, 0), expected);

    [Theory]
    [InlineData("last", new float[] { 4, 40 })]
    [InlineData("first", new float[] { 2, 30 })]
    [InlineData("mean", new float[] { 3, 35 })]
    [InlineData("last:2", new float[] { 3, 4, 30, 40 })]
    public void Padding_on_the_left_does_not_count(string readout, float[] expected) => Check(readout, Mask(0, 1, 1, 1, 0, 0, 1, 1), expected);

    [Fact]
    public void A_single_token_is_the_last_and_the_mean() => Assert.All(["last", "mean"], readout => Check(readout, Mask(1, 0, 0, 0, 0, 0, 0, 1), [1, 40]));

    [Fact]
    public void States_of_several_numbers_stay_together()
    {
        Tensor wide = Tensors.From([1f, -1, 2, -2, 3, -3], 1, 3, 2);
        Assert.Equal([2f, -2, 3, -3], Readout.Parse("last:2").Read(wide, null).ToArray<float>());
        Assert.Equal([1f, -1, 2, -2], Readout.Parse("last:2").Read(wide, Mask(1, 1, 0)).ToArray<float>());
        Assert.Equal([2f, -2], Readout.Parse("mean").Read(wide, null).ToArray<float>());
    }

    [Fact]
    public void Gradients_reach_the_states_that_were_read_and_no_others()
    {
        hidden.requires_grad = true;
        Readout.Parse("last:2").Read(hidden, Mask(1, 1, 1, 0, 1, 1, 0, 0)).sum().backward();
        Assert.Equal([0f, 1, 1, 0, 1, 1, 0, 0], hidden.grad!.ToArray<float>());
    }

    [Fact]
    public void More_tokens_than_a_sequence_has_are_refused()
    {
        Refusal.Of("`readout` last:5", () => Readout.Parse("last:5").Read(hidden, null));
        // The second sequence has one real token: its second last does not exist.
        Refusal.Of("`readout` last:2", () => Readout.Parse("last:2").Read(hidden, Mask(1, 1, 1, 1, 1, 0, 0, 0)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("Last")]
    [InlineData("last:")]
    [InlineData("last:0")]
    [InlineData("last:-1")]
    [InlineData("last: 2")]
    [InlineData("last:2.5")]
    [InlineData("last:99999999999")]
    [InlineData("first:2")]
    [InlineData("cls")]
    public void Anything_else_is_refused(string text) => Refusal.OfUsage($"`readout` '{text}'", () => Readout.Parse(text));

    [Theory]
    [InlineData("last", "last")]
    [InlineData("first", "first")]
    [InlineData("mean", "mean")]
    [InlineData("last:1", "last")]
    [InlineData("last:7", "last:7")]
    public void A_readout_prints_as_it_is_written(string text, string expected) => Assert.Equal(expected, Readout.Parse(text).ToString());

    private void Check(string readout, Tensor? mask, float[] expected)
    {
        Tensor read = Readout.Parse(readout).Read(hidden, mask);
        Assert.Equal([2, expected.Length / 2, 1], read.shape);
        Assert.Equal(expected, read.ToArray<float>());
    }

    private static Tensor Mask(params long[] values) => values.Length == 3 ? Tensors.From(values, 1, 3) : Tensors.From(values, 2, 4);
}
