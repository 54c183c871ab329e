using SkiaSharp;

namespace Permafrost.Formats.Images;

/// <summary>A decoded picture of three bytes a pixel (red, green, blue), row by row; what shows through is black.</summary>
/// <param name="Pixels">Height x width x 3 bytes.</param>
/// <param name="Height">Its height, in pixels.</param>
/// <param name="Width">Its width, in pixels.</param>
internal sealed record Image(byte[] Pixels, int Height, int Width);

/// <summary>Files of PNG, JPEG or WebP. Colour profiles and a camera's orientation are not applied.</summary>
internal static class ImageFile
{
    private const int MostSide = 8192;

    private static readonly string[] Extensions = [".png", ".jpg", ".jpeg", ".webp"];

    /// <summary>Whether a file's name is that of such a picture.</summary>
    public static bool IsNamedSo(string path) => Extensions.Contains(Path.GetExtension(path), StringComparer.OrdinalIgnoreCase);

    /// <summary>Decodes a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="side">Height and width that the picture is scaled to; 0 to leave it as it is.</param>
    /// <returns>The picture, or what is wrong with the file.</returns>
    /// <exception cref="PermafrostException">The file cannot be read at all.</exception>
    public static (Image? Image, string? Damage) Read(string path, int side)
    {
        try
        {
            using var data = SKData.CreateCopy(File.ReadAllBytes(path));
            // Of Skia's ways of decoding only this one says that a file ends before its picture does.
            using SKCodec? codec = SKCodec.Create(data);
            if (codec is null) return (null, "it is no PNG, JPEG or WebP file, or is damaged");
            (int width, int height) = (codec.Info.Width, codec.Info.Height);
            if (Math.Max(width, height) > MostSide) return (null, $"it says that it has {height} x {width} pixels; at most {MostSide:N0} a side are read");
            // Numbers that are multiplied by their alpha are those of the picture before black.
            using var bitmap = new SKBitmap(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Premul));
            SKCodecResult result = codec.GetPixels(bitmap.Info, bitmap.GetPixels());
            if (result != SKCodecResult.Success) return (null, result == SKCodecResult.IncompleteInput ? "it is cut off before its end" : "it is damaged");
            if (side == 0) return (Packed(bitmap), null);
            using SKBitmap scaled = bitmap.Resize(bitmap.Info.WithSize(side, side), new SKSamplingOptions(SKFilterMode.Linear, SKMipmapMode.Linear))
                ?? throw new InvalidOperationException($"{path} could not be scaled");
            return (Packed(scaled), null);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    private static Image Packed(SKBitmap bitmap)
    {
        ReadOnlySpan<byte> pixels = bitmap.GetPixelSpan();
        var packed = new byte[bitmap.Width * bitmap.Height * 3];
        for (int pixel = 0; pixel < packed.Length / 3; pixel++) pixels.Slice(4 * pixel, 3).CopyTo(packed.AsSpan(3 * pixel));
        return new Image(packed, bitmap.Height, bitmap.Width);
    }
}
