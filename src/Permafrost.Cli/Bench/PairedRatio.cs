namespace Permafrost.Cli.Bench;

/// <summary>How many times one thing is another, measured side by side in rounds: the median of the rounds' ratios.</summary>
/// <param name="Median">The ratio.</param>
/// <param name="Interval">
/// Where the median lies with at least 95 % confidence whatever the noise's distribution (order statistics of the rounds; the inverted sign test); null
/// where there were fewer than six rounds, which cannot say so much.
/// </param>
internal sealed record PairedRatio(double Median, (double Low, double High)? Interval)
{
    /// <param name="numerators">A number for each round.</param>
    /// <param name="denominators">A number for each round, of what took turns with it.</param>
    public static PairedRatio Of(IReadOnlyList<double> numerators, IReadOnlyList<double> denominators)
    {
        if (numerators.Count != denominators.Count || numerators.Count == 0) throw new ArgumentException($"{numerators.Count} and {denominators.Count} rounds cannot be paired");
        double[] ratios = [.. numerators.Zip(denominators, (numerator, denominator) => numerator / denominator).Order()];
        int left = LeftOut(ratios.Length);
        return new PairedRatio(MedianOf(ratios), left < 0 ? null : (ratios[left], ratios[^(left + 1)]));
    }

    public static double MedianOf(IReadOnlyList<double> values)
    {
        double[] ordered = [.. values.Order()];
        return ordered.Length % 2 == 1 ? ordered[ordered.Length / 2] : (ordered[ordered.Length / 2 - 1] + ordered[ordered.Length / 2]) / 2;
    }

    // The number of values that a 95 % interval can leave out at either end; -1 where even all values are too few for one.
    private static int LeftOut(int count)
    {
        double outside = 0, term = Math.Pow(0.5, count);
        int left = -1;
        for (int i = 0; i < count; i++)
        {
            outside += 2 * term;
            if (outside > 0.05) break;
            left = i;
            term *= (double)(count - i) / (i + 1);
        }
        return left;
    }
}
