using Permafrost.Cli.Bench;

namespace Permafrost.Cli.Tests.Bench;

/// <summary>The bench's FLOPs against counts by hand.</summary>
public class StepFlopsTests
{
    // 2 layers of 4, feed-forward 8, one example of 3 tokens: weights 4 (3 * 4) + 4 * 4 + 2 (4 * 8) = 128 a layer.
    private static readonly StepShape Tiny = new(Batch: 1, Tokens: 3, Layers: 2, Width: 4, Inner: 8);
    private static readonly StepShortcuts None = new(CutFrom: 2, ReadOut: 1, AttentionBlock: 0);

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

    [Theory]
    // Blocks of 2: queries 1 and 2 are multiplied with 2 keys each, query 3 with 3 (there is no fourth): 7 pairs of 9.
    [InlineData(1, 1536 + 2 * 7 * 16)]
    // Backward computes the scores again: 5 products where the plain way has 4.
    [InlineData(2, 2 * 1536 + 3.5 * (2 * 7 * 16))]
    public void Attention_by_blocks_leaves_out_what_is_masked_as_a_whole(int passes, double expected)
    {
        StepFlops flops = StepFlops.Of(Tiny, None with { AttentionBlock = 2 }, passes);
        Assert.Equal(expected, flops.Executed);
        Assert.Equal(passes * 1536 + (passes == 1 ? 1 : 3) * 288, flops.Nominal);
    }

    [Theory]
    // The last layer: keys and values at 3 tokens, 3 * 2 * 32 = 192; the other 96 weights at the one read out, 192; one query with 3 keys, 48.
    [InlineData(1, 768 + 144 + 192 + 192 + 48)]
    [InlineData(2, 2 * (768 + 192 + 192) + 3 * (144 + 48))]
    public void A_layer_cut_to_the_readout_keeps_keys_and_values(int passes, double expected) =>
        Assert.Equal(expected, StepFlops.Of(Tiny, None with { CutFrom = 1 }, passes).Executed);

    [Fact]
    public void Shared_keys_gates_and_windows_are_counted()
    {
        // Queries of 6 numbers, keys of 2, a gate: 4 * 6 + 2 (4 * 2) + 6 * 4 + 3 (4 * 8) = 160 a layer.
        StepShape shape = Tiny with { Queries = 6, Keys = 2, Expansions = 2 };
        Assert.Equal(2 * 3 * 2 * 160 + 2 * 9 * 2 * 2 * 6, StepFlops.Of(shape, None, 1).Nominal);
        // One key on each side: 2 + 3 + 2 pairs of 9.
        Assert.Equal(1536 + 2 * 7 * 16, StepFlops.Of(Tiny with { HalfWindow = 1 }, None, 1).Executed);
        Assert.Equal(StepFlops.Of(Tiny, None, 2), StepFlops.Of(Tiny with { HalfWindow = 256 }, None, 2));
    }

    [Fact]
    public void Base_at_batch_16_is_about_350_gflop()
    {
        StepFlops flops = StepFlops.Of(new StepShape(16, 64, 12, 768, 3072), new StepShortcuts(12, 1, 0), passes: 2);
        Assert.Equal(2.0 * 2 * 1024 * 12 * 12 * 768 * 768 + 3.0 * 12 * 16 * 64 * 64 * 4 * 768, flops.Nominal);
        Assert.InRange(flops.Nominal, 340e9, 360e9);
    }
}
