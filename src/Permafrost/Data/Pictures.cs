using System.Globalization;
using Permafrost.Kernels;

namespace Permafrost.Data;

/// <summary>A picture.</summary>
/// <param name="Pixels">Its bytes, row by row, pixel by pixel.</param>
/// <param name="Height">Its height, in pixels.</param>
/// <param name="Width">Its width, in pixels.</param>
internal sealed record Picture(byte[] Pixels, int Height, int Width)
{
    /// <summary>The bytes of a pixel: 1 for grey, 3 for red, green and blue.</summary>
    public int Channels => Pixels.Length / (Height * Width);

    /// <summary>Its size in words.</summary>
    public string Size => $"{Height} x {Width} pixels of {Channels} byte(s)";
}

/// <summary>
/// How pictures become sequences: square patches, row by row, are tokens, each of their pixels' numbers; every channel is made to have mean 0 and deviation 1 over the training
/// pictures. Pixels at the right and lower edge that fill no patch are left out.
/// </summary>
/// <param name="Means">Of each channel, of 0 to 1.</param>
/// <param name="Deviations">Of each channel.</param>
/// <param name="Patch">The side of a patch.</param>
/// <param name="Height">The pictures' height.</param>
/// <param name="Width">Their width.</param>
internal sealed record PictureEncoding(float[] Means, float[] Deviations, int Patch, int Height, int Width)
{
    /// <summary>Numbers of a token.</summary>
    public int Size => Patch * Patch * Means.Length;

    /// <summary>Tokens of a picture.</summary>
    public int Length => Height / Patch * (Width / Patch);

    /// <summary>The encoding of training pictures.</summary>
    /// <param name="train">The pictures, all of one size.</param>
    /// <param name="patch">The side of a patch; null for the smallest of which pictures have at most <paramref name="mostTokens"/>.</param>
    /// <param name="mostTokens">Tokens of a sequence at most.</param>
    public static PictureEncoding Of(IReadOnlyList<Picture> train, int? patch, int mostTokens)
    {
        (int height, int width, int channels) = (train[0].Height, train[0].Width, train[0].Channels);
        int side = patch ?? 1;
        while (patch is null && side < Math.Min(height, width) && height / side * (width / side) > mostTokens) side++;
        var sums = new ChannelSums(channels);
        foreach (Picture picture in train)
        {
            byte[] bytes = picture.Pixels;
            for (int i = 0; i < bytes.Length; i++) sums.Add(i % channels, bytes[i]);
        }
        float[] means = [.. sums.Means.Select(mean => (float)mean)], deviations = [.. sums.Deviations.Select(deviation => (float)deviation)];
        return new PictureEncoding(means, deviations, side, height, width);
    }

    /// <summary>Pixels at the edges of each picture that fill no patch.</summary>
    public int LeftOut => Height * Width - Length * Patch * Patch;

    /// <summary>Writes a picture as tokens.</summary>
    public void Encode(ReadOnlySpan<byte> picture, Span<float> tokens)
    {
        (int channels, int columns) = (Means.Length, Width / Patch);
        for (int y = 0; y < Height / Patch * Patch; y++)
        {
            for (int x = 0; x < columns * Patch; x++)
            {
                int at = (y / Patch * columns + x / Patch) * Size + (y % Patch * Patch + x % Patch) * channels;
                for (int c = 0; c < channels; c++) tokens[at + c] = (picture[(y * Width + x) * channels + c] / 255f - Means[c]) / Deviations[c];
            }
        }
    }

    /// <summary>The same in words, for the adapter.</summary>
    public Dictionary<string, string> Preprocessing() => new()
    {
        ["input"] = $"{Height} x {Width} pixels of {Means.Length} byte(s), divided by 255, less the channel's mean, divided by its deviation",
        ["token"] = $"a patch of {Patch} x {Patch}, pixel by pixel; patches row by row",
        ["patch"] = $"{Patch}",
        ["height"] = $"{Height}",
        ["width"] = $"{Width}",
        ["means"] = string.Join(' ', Means.Select(mean => mean.ToString("R", CultureInfo.InvariantCulture))),
        ["deviations"] = string.Join(' ', Deviations.Select(deviation => deviation.ToString("R", CultureInfo.InvariantCulture))),
    };

    /// <summary>What an adapter says of it.</summary>
    /// <exception cref="PermafrostException">It says nothing, or contradicts itself.</exception>
    public static PictureEncoding Read(IReadOnlyDictionary<string, string> facts, int size, int length)
    {
        int Whole(string key) => int.TryParse(facts.GetValueOrDefault(key), out int number) ? number : 0;
        static float Number(string text) => float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float number) ? number : float.NaN;
        float[] Numbers(string key) => [.. (facts.GetValueOrDefault(key) ?? "").Split(' ').Select(Number)];
        var encoding = new PictureEncoding(Numbers("means"), Numbers("deviations"), Whole("patch"), Whole("height"), Whole("width"));
        bool fits = encoding is { Patch: > 0, Height: > 0, Width: > 0 } && encoding.Size == size && encoding.Length == length && encoding.Means.Length == encoding.Deviations.Length
            && encoding.Means.All(float.IsFinite) && encoding.Deviations.All(deviation => deviation > 0);
        return fits ? encoding
            : throw new PermafrostException("the run's adapter_config.json does not say how pictures become tokens (preprocessing), or contradicts itself; it may be damaged");
    }
}

/// <summary>Pictures as a split.</summary>
/// <param name="pictures">The pictures.</param>
/// <param name="encoding">How they become sequences.</param>
/// <param name="targets">Gives the answers of some of them, by their numbers.</param>
internal sealed class PictureRows(IReadOnlyList<Picture> pictures, PictureEncoding encoding, Func<int[], Tensor> targets) : IDataset
{
    public long? Count => pictures.Count;

    public Batch Get(ReadOnlySpan<long> indices)
    {
        int size = encoding.Size * encoding.Length;
        var inputs = new float[indices.Length * size];
        int[] chosen = new int[indices.Length];
        for (int row = 0; row < chosen.Length; row++)
        {
            chosen[row] = (int)indices[row];
            encoding.Encode(pictures[chosen[row]].Pixels, inputs.AsSpan(row * size, size));
        }
        return new Batch(Tensors.From(inputs, chosen.Length, encoding.Length, encoding.Size), targets(chosen));
    }
}
