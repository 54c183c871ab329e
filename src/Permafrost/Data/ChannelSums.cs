namespace Permafrost.Data;

/// <summary>Means and deviations of the channels of many pictures, of bytes as 0 to 1.</summary>
/// <param name="channels">How many there are.</param>
internal sealed class ChannelSums(int channels)
{
    private readonly double[] sums = new double[channels], squares = new double[channels];
    private readonly long[] counts = new long[channels];

    /// <summary>Adds a byte of a channel.</summary>
    public void Add(int channel, byte value)
    {
        double share = value / 255.0;
        sums[channel] += share;
        squares[channel] += share * share;
        counts[channel]++;
    }

    /// <summary>Of each channel, rounded to four digits, which is how they are written down.</summary>
    public double[] Means => [.. sums.Zip(counts, (sum, count) => Math.Round(sum / count, 4))];

    /// <summary>Of each channel, likewise; at least the smallest that can be written, so that it can be divided by.</summary>
    public double[] Deviations => [.. Enumerable.Range(0, channels).Select(Deviation)];

    private double Deviation(int channel)
    {
        double mean = sums[channel] / counts[channel];
        return Math.Max(1e-4, Math.Round(Math.Sqrt(Math.Max(0, squares[channel] / counts[channel] - mean * mean)), 4));
    }
}
