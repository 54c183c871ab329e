namespace Permafrost.Tasks;

/// <summary>The kind and size of the inputs that a task feeds to a model.</summary>
/// <param name="Length">T, the longest sequence.</param>
public abstract record InputSpec(int Length);

/// <summary>Vectors: batches are (B, T, Size) float32.</summary>
/// <param name="Size">The number of numbers in a token.</param>
/// <param name="Length">T, the longest sequence.</param>
public sealed record VectorInput(int Size, int Length) : InputSpec(Length);

/// <summary>Ids, looked up in a table: batches are (B, T) int64, from 0 to Vocabulary - 1.</summary>
/// <param name="Vocabulary">V, the number of ids.</param>
/// <param name="Length">T, the longest sequence.</param>
public sealed record IdInput(int Vocabulary, int Length) : InputSpec(Length);

/// <summary>Texts, as ids of a tokenizer's vocabulary, looked up in the body's own token table or a new one: batches are (B, T) int64 with a mask.</summary>
/// <param name="Vocabulary">V, the number of the tokenizer's ids.</param>
/// <param name="Length">T, the most tokens of a text, special tokens included; longer texts are cut.</param>
public sealed record TextInput(int Vocabulary, int Length) : InputSpec(Length);

/// <summary>
/// Pictures, cut into square patches row by row, each of them a token: batches are (B, Channels, Height, Width) float32. Pixels at the right and lower edge that do not fill a
/// patch are left out.
/// </summary>
/// <param name="Channels">The number of numbers in a pixel.</param>
/// <param name="Height">The height, in pixels.</param>
/// <param name="Width">The width, in pixels.</param>
/// <param name="Patch">The side of a patch, in pixels.</param>
public sealed record PixelInput(int Channels, int Height, int Width, int Patch) : InputSpec(Height / Patch * (Width / Patch))
{
    /// <summary>The number of numbers in a token.</summary>
    public int PatchSize => Channels * Patch * Patch;

    /// <summary>(B, T, Channels * Patch * Patch) from (B, Channels, Height, Width): patches row by row, within each the channels, and within those the pixels row by row.</summary>
    public Tensor Cut(Tensor pixels)
    {
        (long B, long rows, long columns) = (pixels.size(0), Height / Patch, Width / Patch);
        return pixels.narrow(2, 0, rows * Patch).narrow(3, 0, columns * Patch)
            .reshape(B, Channels, rows, Patch, columns, Patch)
            .permute(0, 2, 4, 1, 3, 5)
            .reshape(B, rows * columns, PatchSize);
    }
}
