using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using SkiaSharp;

namespace Permafrost.Tests.Tasks;

/// <summary>Folders of pictures: what is decoded, and what is refused by the file's name.</summary>
public sealed class ImagesTaskTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Theory]
    [InlineData(SKEncodedImageFormat.Png, "png", 0)]
    [InlineData(SKEncodedImageFormat.Jpeg, "JPG", 3)]
    [InlineData(SKEncodedImageFormat.Jpeg, "jpeg", 3)]
    [InlineData(SKEncodedImageFormat.Webp, "webp", 3)]
    public void Pictures_of_each_kind_are_decoded(SKEncodedImageFormat format, string extension, int tolerance)
    {
        Fill("own", format, extension);
        using TaskData data = Load("own");
        Assert.Equal(["cat", "dog"], ((ClassOutput)data.Spec.Output).Labels);
        Assert.Equal(new VectorInput(3, 64), data.Spec.Input);
        Assert.Equal(6, data.Train.Count);
        // cat/0 is red alone: what is not of its picture's channel is below the mean.
        float[] means = Facts(data, "means"), deviations = Facts(data, "deviations");
        float[] pixel = [.. data.Train.Get([0]).Inputs.ToArray<float>()[..3].Select((value, c) => 255 * (value * deviations[c] + means[c]))];
        Assert.All(pixel.Zip([200f, 0f, 0f]), pair => Assert.Equal(pair.Second, pair.First, tolerance + 0.1f));
    }

    [Fact]
    public void What_shows_through_is_black()
    {
        TestImages.Write(folder, "own/a/1.png", 8, 8, [.. Enumerable.Repeat((byte)200, 192)], alpha: 51);
        TestImages.Write(folder, "own/b/1.png", 8, 8, [.. Enumerable.Repeat((byte)40, 192)]);
        using TaskData data = Load("own");
        Assert.Equal(data.Train.Get([1]).Inputs.ToArray<float>(), data.Train.Get([0]).Inputs.ToArray<float>());
        Assert.All(Facts(data, "means"), mean => Assert.Equal(40 / 255f, mean, 1e-4f));
    }

    [Fact]
    public void Pictures_of_several_sizes_are_scaled_or_refused()
    {
        Fill("own");
        TestImages.Write(folder, "own/dog/9.png", 30, 20, new byte[1800]);
        Assert.Contains("task_options.size", Refusal.Of("dog/9.png", () => Load("own")), StringComparison.Ordinal);
        using TaskData data = Load("own", ("size", "4"));
        Assert.Equal(new VectorInput(3, 16), data.Spec.Input);
        Assert.Equal("4", data.Spec.Preprocessing["size"]);
        // New pictures are scaled by what the run knows, whatever its options are.
        IDataset read = Assert.Single(new ImagesTask().ReadInputs(folder["own"], data.Spec, new TaskOptions(), 100));
        Assert.Equal(7, read.Count);
        Assert.Equal(data.Train.Get([2]).Inputs.ToArray<float>(), read.Get([2]).Inputs.ToArray<float>());
        Assert.Equal(1, Assert.Single(new ImagesTask().ReadInputs(folder["own/dog/9.png"], data.Spec, new TaskOptions(), 100)).Count);
    }

    [Theory]
    [InlineData("png")]
    [InlineData("jpg")]
    [InlineData("webp")]
    public void A_picture_that_is_cut_off_is_refused_or_left_out_and_counted(string extension)
    {
        SKEncodedImageFormat format = extension switch { "png" => SKEncodedImageFormat.Png, "jpg" => SKEncodedImageFormat.Jpeg, _ => SKEncodedImageFormat.Webp };
        Fill("own", format, extension);
        string path = folder[$"own/cat/1.{extension}"];
        var random = new CounterRandom("noise", 0, 0);
        TestImages.Write(folder, $"own/cat/1.{extension}", 8, 8, [.. Enumerable.Range(0, 192).Select(_ => (byte)random.Next(256))], format);
        byte[] whole = File.ReadAllBytes(path);
        File.WriteAllBytes(path, whole[..(whole.Length * 3 / 4)]);
        Refusal.Of(path, () => Load("own"));
        using TaskData data = Load("own", ("skip_damaged", "true"));
        Assert.Equal(5, data.Train.Count);
        Assert.Contains(data.Notes, note => note.Contains("1 of 6 pictures", StringComparison.Ordinal) && note.Contains(path, StringComparison.Ordinal));
        Refusal.Of(path, () => new ImagesTask().ReadInputs(folder["own"], data.Spec, new TaskOptions(), 100).ToArray());
    }

    [Fact]
    public void A_picture_larger_than_memory_allows_is_refused_before_it_is_decoded()
    {
        Fill("own");
        string path = folder["own/cat/1.png"];
        byte[] bytes = File.ReadAllBytes(path);
        (bytes[16], bytes[17], bytes[18], bytes[19]) = (0, 1, 0, 0);  // a width of 65,536, with the header's checksum as it must be
        uint crc = Crc32(bytes.AsSpan(12, 17));
        (bytes[29], bytes[30], bytes[31], bytes[32]) = ((byte)(crc >> 24), (byte)(crc >> 16), (byte)(crc >> 8), (byte)crc);
        File.WriteAllBytes(path, bytes);
        Assert.Contains("8 x 65536 pixels", Refusal.Of(path, () => Load("own")), StringComparison.Ordinal);
    }

    [Fact]
    public void Folders_that_hold_no_classes_are_refused_and_other_files_are_counted()
    {
        Fill("split/train");
        Assert.Contains("such as " + folder["split/train"], Refusal.Of(folder["split"] + " has no folder", () => Load("split")), StringComparison.Ordinal);
        Refusal.Of("does not exist", () => Load("nowhere"));
        Refusal.Of("1.png is a file", () => Load("split/train/cat/1.png"));
        Refusal.OfUsage("`data`", () => new ImagesTask().Load(new TaskOptions()));
        Refusal.OfUsage("task_options.skip_damaged", () => Load("split/train", ("skip_damaged", "yes")));
        folder.Write("split/train/cat/notes.txt", "of no account");
        folder.Write("split/train/.hidden/1.png", "of none either");
        using TaskData data = Load("split/train");
        Assert.Contains("1 files", Assert.Single(data.Notes, note => note.Contains("passed over", StringComparison.Ordinal)), StringComparison.Ordinal);
        Refusal.Of("no PNG, JPEG or WebP file", () => new ImagesTask().ReadInputs(Directory.CreateDirectory(folder["empty"]).FullName, data.Spec, new TaskOptions(), 100).ToArray());
        Refusal.Of("notes.txt: it is no PNG", () => new ImagesTask().ReadInputs(folder["split/train/cat/notes.txt"], data.Spec, new TaskOptions(), 100).ToArray());
    }

    [Fact]
    public void Pictures_that_no_label_takes_are_counted_and_folders_without_any_too()
    {
        Fill("own");
        TestImages.Write(folder, "own/cat/more/7.png", 8, 8, new byte[192]);
        TestImages.Write(folder, "own/8.png", 8, 8, new byte[192]);
        Directory.CreateDirectory(folder["own/bird"]);
        using TaskData data = Load("own");
        Assert.Equal(6, data.Train.Count);
        Assert.Contains(data.Notes, note => note.StartsWith("2 pictures", StringComparison.Ordinal));
        Assert.Contains(data.Notes, note => note.Contains("1 folders", StringComparison.Ordinal) && note.EndsWith("bird", StringComparison.Ordinal));
    }

    private static uint Crc32(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte one in bytes)
        {
            crc ^= one;
            for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320);
        }
        return ~crc;
    }

    private TaskData Load(string name, params (string Key, string Value)[] settings) =>
        new ImagesTask().Load(new TaskOptions(folder[name], Settings: settings.ToDictionary(pair => pair.Key, pair => pair.Value)) { ValidationFraction = 0, TestFraction = 0 });

    private void Fill(string name, SKEncodedImageFormat format = SKEncodedImageFormat.Png, string extension = "png")
    {
        for (int i = 0; i < 6; i++)
            TestImages.Write(folder, $"{name}/{(i < 3 ? "cat" : "dog")}/{i}.{extension}", 8, 8, [.. Enumerable.Range(0, 192).Select(at => (byte)(at % 3 == i % 3 ? 200 : 0))], format);
    }

    private static float[] Facts(TaskData data, string key) =>
        [.. data.Spec.Preprocessing[key].Split(' ').Select(number => float.Parse(number, System.Globalization.CultureInfo.InvariantCulture))];
}

/// <summary>Pictures for tests.</summary>
internal static class TestImages
{
    /// <summary>Writes a picture.</summary>
    public static void Write(
        TemporaryFolder folder, string name, int height, int width, byte[] rgb, SKEncodedImageFormat format = SKEncodedImageFormat.Png, byte alpha = 255)
    {
        using var bitmap = new SKBitmap(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Unpremul));
        for (int i = 0; i < height * width; i++) bitmap.SetPixel(i % width, i / width, new SKColor(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], alpha));
        using SKData data = bitmap.Encode(format, 100);
        folder.Write(name, data.ToArray());
    }
}
