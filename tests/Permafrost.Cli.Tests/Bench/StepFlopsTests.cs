using Permafrost.Cli.Bench;

namespace Permafrost.Cli.Tests.Bench;

/// <summary>The bench's FLOPs against counts by hand.</summary>
public class StepFlopsTests
{
    // 2 layers of 4, feed-forward 8, one example of 3 tokens: weights 4 (3 * 4) + 4 * 4 + 2 (4 * 8) = 128 a layer.
    private static readonly StepShape Tiny = new(Batch: 1, Tokens: 3, Layers: 2, Width: 4, Inner: 8);
    private static readonly StepShortcuts None = new(CutFrom: 2, ReadOut: 1, LowerTriangle: false);

    [Theory]
    // 2 layers * 3 tokens * 2 * 128 = 1536 with weights; 2 layers * 9 pairs * 2 products * 2 * 4 = 288 of attention, thrice that with its backward.
    [InlineData(1, 1536 + 288)]
    [InlineData(2, 2 * 1536 + 3 * 288)]
    [InlineData(3, 3 * 1536 + 3 * 288)]
    public void A_plain_step_executes_what_is_nominal(int passes, double expected)
    {
        StepFlops flops = StepFlops.Of(Tiny, None, passes);
        Assert.Equal(expected, flops.Nominal);
        Assert.Equal(expected, flops.Executed);
    }

    [Fact]
    public void The_lower_triangle_has_half_the_pairs_and_the_diagonal()
    {
        StepFlops flops = StepFlops.Of(Tiny, None with { LowerTriangle = true }, passes: 2);
        Assert.Equal(2 * 1536 + 3 * (2 * 6 * 16), flops.Executed);  // 6 pairs of 9
        Assert.Equal(2 * 1536 + 3 * 288, flops.Nominal);
    }

    [Theory]
    // The last layer: keys and values at 3 tokens, 3 * 2 * 32 = 192; the other 96 weights at the one read out, 192; one query with 3 keys, 48.
    [InlineData(1, 768 + 144 + 192 + 192 + 48)]
    [InlineData(2, 2 * (768 + 192 + 192) + 3 * (144 + 48))]
    public void A_layer_cut_to_the_readout_keeps_keys_and_values(int passes, double expected) =>
        Assert.Equal(expected, StepFlops.Of(Tiny, None with { CutFrom = 1 }, passes).Executed);

    [Fact]
    public void Several_queries_are_cut_to_the_keys_they_see() =>
        // The last 2 queries of 3 see 2 and 3 keys: 5 pairs of 16; 96 weights at 2 positions are 384.
        Assert.Equal(768 + 6 * 16 + 192 + 384 + 5 * 16, StepFlops.Of(Tiny, new StepShortcuts(CutFrom: 1, ReadOut: 2, LowerTriangle: true), passes: 1).Executed);

    [Fact]
    public void Base_at_batch_16_is_about_350_gflop()
    {
        StepFlops flops = StepFlops.Of(new StepShape(16, 64, 12, 768, 3072), new StepShortcuts(12, 1, false), passes: 2);
        Assert.Equal(2.0 * 2 * 1024 * 12 * 12 * 768 * 768 + 3.0 * 12 * 16 * 64 * 64 * 4 * 768, flops.Nominal);
        Assert.InRange(flops.Nominal, 340e9, 360e9);
    }
}
