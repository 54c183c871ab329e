using Permafrost.Data;

namespace Permafrost.Baselines;

/// <summary>
/// Random convolution kernels as of ROCKET (Dempster, Petitjean and Webb 2020): lengths 7, 9 and 11, weights of a normal draw less their mean, a bias between -1 and 1, dilations
/// up to the series' length, padding or none; of several channels a random choice each. A kernel gives two numbers: the greatest response, and the share of positive ones.
/// </summary>
internal sealed class ConvolutionKernels
{
    private readonly Kernel[] kernels;

    /// <summary>Draws kernels.</summary>
    /// <param name="count">How many.</param>
    /// <param name="steps">Steps of a usual series, which dilations reach over.</param>
    /// <param name="channels">Channels of the series.</param>
    /// <param name="seed">Decides which.</param>
    public ConvolutionKernels(int count, int steps, int channels, long seed) =>
        kernels = [.. Enumerable.Range(0, count).Select(i => Draw(new CounterRandom("rocket", seed, i), steps, channels))];

    /// <summary>Numbers of a series.</summary>
    public int Features => 2 * kernels.Length;

    /// <summary>Writes the numbers of a series.</summary>
    public void Apply(Steps series, Span<float> features)
    {
        for (int k = 0; k < kernels.Length; k++) (features[2 * k], features[2 * k + 1]) = kernels[k].Respond(series);
    }

    private static Kernel Draw(CounterRandom random, int steps, int channels)
    {
        int length = new[] { 7, 9, 11 }[random.Next(3)];
        double most = Math.Log2(Math.Min(channels, length) + 1);
        int used = Math.Clamp((int)Math.Pow(2, most * random.NextDouble()), 1, channels);
        int[] chosen = [.. random.Permutation(channels).Take(used).Select(channel => (int)channel)];
        var weights = new float[used][];
        for (int c = 0; c < used; c++)
        {
            double[] drawn = [.. Enumerable.Range(0, length).Select(_ => Normal(ref random))];
            weights[c] = [.. drawn.Select(weight => (float)(weight - drawn.Average()))];
        }
        float bias = (float)(2 * random.NextDouble() - 1);
        int dilation = Math.Max(1, (int)Math.Pow(2, random.NextDouble() * Math.Log2(Math.Max(1.0, (steps - 1) / (double)(length - 1)))));
        return new Kernel(chosen, weights, bias, dilation, random.Next(2) == 1);
    }

    private static double Normal(ref CounterRandom random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());

    private sealed record Kernel(int[] Channels, float[][] Weights, float Bias, int Dilation, bool Pads)
    {
        public (float Max, float Positive) Respond(Steps series)
        {
            int length = Weights[0].Length, reach = (length - 1) * Dilation;
            // A series that is shorter than the kernel reaches is padded whatever was drawn.
            int padding = Pads || reach >= series.Count ? reach / 2 : 0, places = series.Count + 2 * padding - reach, positive = 0;
            float max = float.NegativeInfinity;
            for (int place = 0; place < places; place++)
            {
                float sum = Bias;
                for (int c = 0; c < Channels.Length; c++)
                {
                    for (int i = 0; i < length; i++)
                    {
                        int step = place - padding + i * Dilation;
                        if ((uint)step < (uint)series.Count) sum += Weights[c][i] * series.Values[step * series.Channels + Channels[c]];
                    }
                }
                max = Math.Max(max, sum);
                if (sum > 0) positive++;
            }
            return (max, (float)positive / places);
        }
    }
}
