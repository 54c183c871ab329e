using System.Globalization;
using Permafrost.Kernels;

namespace Permafrost.Data;

/// <summary>A series of readings.</summary>
/// <param name="Values">Steps x channels numbers, step by step; NaN where one is missing.</param>
/// <param name="Channels">C, the numbers of a step.</param>
internal sealed record Series(float[] Values, int Channels)
{
    /// <summary>The number of steps.</summary>
    public int Steps => Values.Length / Channels;
}

/// <summary>
/// How series become sequences: every channel is made to have mean 0 and deviation 1 over all steps of the training series, missing readings become 0, and so many steps make a
/// token. A channel that never changes becomes 0.
/// </summary>
/// <param name="Means">Of each channel.</param>
/// <param name="Deviations">Of each channel.</param>
/// <param name="Chunk">Steps of a token; what the last token lacks is 0.</param>
/// <param name="Length">The most tokens of a series.</param>
internal sealed record SeriesEncoding(float[] Means, float[] Deviations, int Chunk, int Length)
{
    private const string MeansKey = "means", DeviationsKey = "deviations", ChunkKey = "steps_per_token";

    /// <summary>Numbers of a token.</summary>
    public int Size => Means.Length * Chunk;

    /// <summary>Tokens of a series of so many steps.</summary>
    public int Tokens(int steps) => (steps + Chunk - 1) / Chunk;

    /// <summary>The encoding that training series ask for.</summary>
    /// <param name="train">The training series.</param>
    /// <param name="longest">Steps of the longest series of any split.</param>
    /// <param name="mostTokens">Tokens of a sequence at most.</param>
    public static SeriesEncoding Of(IReadOnlyList<Series> train, int longest, int mostTokens)
    {
        int channels = train[0].Channels, chunk = (longest + mostTokens - 1) / mostTokens;
        (var means, var deviations) = (new float[channels], new float[channels]);
        for (int channel = 0; channel < channels; channel++)
        {
            double[] readings = [.. train.SelectMany(series => Channel(series, channel)).Where(value => !double.IsNaN(value))];
            double mean = readings.Length == 0 ? 0 : readings.Average();
            bool changes = readings.Length > 0 && readings.Max() > readings.Min();
            (means[channel], deviations[channel]) = ((float)mean, changes ? (float)Math.Sqrt(readings.Average(value => (value - mean) * (value - mean))) : 0);
        }
        return new SeriesEncoding(means, deviations, chunk, (longest + chunk - 1) / chunk);
    }

    private static IEnumerable<double> Channel(Series series, int channel)
    {
        for (int i = channel; i < series.Values.Length; i += series.Channels) yield return series.Values[i];
    }

    /// <summary>The same in words, for the adapter.</summary>
    public Dictionary<string, string> Preprocessing() => new()
    {
        ["input"] = "a reading of each channel at each step, less the channel's mean, divided by its deviation; 0 where the deviation is 0 or the reading is missing",
        ["token"] = $"{Chunk} step(s), step by step, each of {Means.Length} channel(s)",
        [ChunkKey] = $"{Chunk}",
        [MeansKey] = Joined(Means),
        [DeviationsKey] = Joined(Deviations),
    };

    /// <summary>What an adapter says of it.</summary>
    /// <exception cref="PermafrostException">It says nothing, or contradicts itself.</exception>
    public static SeriesEncoding Read(IReadOnlyDictionary<string, string> preprocessing, int size, int length)
    {
        float[] Numbers(string key) => [.. (preprocessing.GetValueOrDefault(key) ?? "").Split(' ').Select(text =>
            float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float number) ? number : float.NaN)];
        (float[] means, float[] deviations) = (Numbers(MeansKey), Numbers(DeviationsKey));
        bool fits = int.TryParse(preprocessing.GetValueOrDefault(ChunkKey), out int chunk) && chunk > 0 && means.Length == deviations.Length && means.Length * chunk == size
            && means.Concat(deviations).All(float.IsFinite);
        return fits ? new SeriesEncoding(means, deviations, chunk, length)
            : throw new PermafrostException("the run's adapter_config.json does not say how series become tokens (preprocessing), or contradicts itself; it may be damaged");
    }

    /// <summary>Writes a series as tokens.</summary>
    public void Encode(Series series, Span<float> tokens)
    {
        for (int i = 0; i < series.Values.Length; i++) tokens[i] = Scaled(series, i);
    }

    /// <summary>The first step of a series with a reading that is no number any more when it is scaled; null where there is none.</summary>
    public int? FirstBeyond(Series series)
    {
        for (int i = 0; i < series.Values.Length; i++) if (!float.IsFinite(Scaled(series, i))) return i / series.Channels;
        return null;
    }

    private float Scaled(Series series, int at)
    {
        (int channel, float value) = (at % series.Channels, series.Values[at]);
        return float.IsNaN(value) || Deviations[channel] == 0 ? 0 : (value - Means[channel]) / Deviations[channel];
    }

    private static string Joined(float[] numbers) => string.Join(' ', numbers.Select(number => number.ToString("R", CultureInfo.InvariantCulture)));
}

/// <summary>Series as a split. Batches are as long as their longest series; shorter ones are filled up and masked.</summary>
/// <param name="series">The series.</param>
/// <param name="encoding">How they become sequences.</param>
/// <param name="targets">Gives the answers of some of them, by their numbers.</param>
internal sealed class SeriesRows(IReadOnlyList<Series> series, SeriesEncoding encoding, Func<int[], Tensor> targets) : IDataset
{
    public long? Count => series.Count;

    public IReadOnlyList<int> Lengths { get; } = [.. series.Select(one => encoding.Tokens(one.Steps))];

    public Batch Get(ReadOnlySpan<long> indices)
    {
        int[] chosen = new int[indices.Length];
        for (int i = 0; i < chosen.Length; i++) chosen[i] = (int)indices[i];
        int T = chosen.Max(row => Lengths[row]), size = encoding.Size;
        (var inputs, var mask) = (new float[chosen.Length * T * size], new long[chosen.Length * T]);
        bool padded = false;
        for (int row = 0; row < chosen.Length; row++)
        {
            encoding.Encode(series[chosen[row]], inputs.AsSpan(row * T * size, T * size));
            int own = Lengths[chosen[row]];
            Array.Fill(mask, 1, row * T, own);
            padded |= own < T;
        }
        return new Batch(Tensors.From(inputs, chosen.Length, T, size), targets(chosen), padded ? Tensors.From(mask, chosen.Length, T) : null);
    }
}
