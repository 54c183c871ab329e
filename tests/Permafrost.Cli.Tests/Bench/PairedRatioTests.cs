using Permafrost.Cli.Bench;

namespace Permafrost.Cli.Tests.Bench;

/// <summary>Ratios of paired rounds, against what can be worked out by hand.</summary>
public class PairedRatioTests
{
    [Fact]
    public void The_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_medians()
    {
        // The machine was ten times as slow in the first round, for both.
        PairedRatio ratio = PairedRatio.Of([20, 2, 3], [10, 1, 1]);
        Assert.Equal(2, ratio.Median);
        Assert.Null(ratio.Interval);
    }

    [Theory]
    // Outside (lowest, highest) of n values lies the median with probability 2^(1 - n): 6.25 % of five, 3.1 % of six.
    [InlineData(5, -1)]
    [InlineData(6, 0)]
    [InlineData(8, 0)]
    // Of nine, 2 (1 + 9) / 512 = 3.9 % lie outside the second lowest and highest.
    [InlineData(9, 1)]
    [InlineData(11, 1)]
    // 2 (1 + 12 + 66) / 4096 = 3.9 %.
    [InlineData(12, 2)]
    public void The_interval_leaves_out_what_95_percent_allow(int rounds, int leftOut)
    {
        double[] ones = [.. Enumerable.Repeat(1.0, rounds)];
        (double Low, double High)? interval = PairedRatio.Of([.. Enumerable.Range(1, rounds).Select(round => (double)round)], ones).Interval;
        Assert.Equal(leftOut < 0 ? null : (1.0 + leftOut, (double)rounds - leftOut), interval);
    }

    [Fact]
    public void Rounds_without_a_partner_are_refused() => Assert.Throws<ArgumentException>(() => PairedRatio.Of([1, 2], [1]));
}
