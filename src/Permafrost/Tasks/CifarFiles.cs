using Permafrost.Data;
using Permafrost.Formats;

namespace Permafrost.Tasks;

/// <summary>Images of CIFAR-10's binary form (https://www.cs.toronto.edu/~kriz/cifar.html): records of a label and 32 x 32 bytes of red, of green and of blue.</summary>
/// <param name="Path">Where they are from, for errors.</param>
/// <param name="Records">The records, one behind the other.</param>
internal sealed record CifarFiles(string Path, byte[] Records)
{
    /// <summary>The side of an image, and the bytes of one without its label.</summary>
    public const int Side = 32, Pixels = Side * Side, Bytes = 3 * Pixels;

    // Twice what the published set has in one file.
    private const long Most = 100_000L * (1 + Bytes);

    /// <summary>The number of images.</summary>
    public int Count => Records.Length / (1 + Bytes);

    /// <summary>An image's class, from 0 to 9.</summary>
    public long Label(long index) => Records[index * (1 + Bytes)];

    /// <summary>An image's bytes: red, green, blue, each row by row.</summary>
    public ReadOnlySpan<byte> Image(long index) => Records.AsSpan(checked((int)(index * (1 + Bytes) + 1)), Bytes);

    /// <summary>The training and test images of a folder: the published batches, or the first that is there of a part of them.</summary>
    /// <exception cref="PermafrostException">It has neither, or a file is damaged.</exception>
    public static (CifarFiles Train, CifarFiles Test) OfFolder(string folder)
    {
        string nested = System.IO.Path.Combine(folder, "cifar-10-batches-bin");
        if (Directory.Exists(nested)) folder = nested;
        string? Find(string name) => Array.Find([System.IO.Path.Combine(folder, name), System.IO.Path.Combine(folder, name + ".gz")], File.Exists);
        string[] batches = [.. Enumerable.Range(1, 5).Select(number => Find($"data_batch_{number}.bin")).OfType<string>()];
        if (batches.Length is > 0 and < 5) throw new PermafrostException($"{folder} has {batches.Length} of the five files data_batch_1.bin to data_batch_5.bin");
        string? part = Find("train_jpegdecoded_10000.bin"), test = Find("test_batch.bin") ?? Find("test_jpegdecoded_2000.bin");
        if ((batches.Length == 0 && part is null) || test is null)
            throw new PermafrostException($"{folder} has no data_batch_1.bin to data_batch_5.bin and test_batch.bin (plain or .gz); name the folder that has them with `data`");
        return (Joined(batches.Length == 0 ? [part!] : batches), Read(test));
    }

    /// <summary>The images of a file, plain or packed by gzip.</summary>
    /// <exception cref="PermafrostException">It cannot be read, or is of another length or kind.</exception>
    /// <param name="path">The file.</param>
    /// <param name="labelled">Whether its labels are looked at.</param>
    public static CifarFiles Read(string path, bool labelled = true)
    {
        try
        {
            using Stream stream = Gzip.Unpacked(File.OpenRead(path));
            var content = new MemoryStream();
            var buffer = new byte[1 << 16];
            int read;
            while ((read = stream.Read(buffer)) > 0)
            {
                content.Write(buffer, 0, read);
                if (content.Length > Most) throw new PermafrostException($"{path} is longer than any file of CIFAR-10; records of {1 + Bytes} bytes are expected");
            }
            byte[] records = content.ToArray();
            if (records.Length == 0 || records.Length % (1 + Bytes) != 0)
                throw new PermafrostException($"{path} has {records.Length:N0} bytes; records of {1 + Bytes} are expected, a label and 3 x 32 x 32 bytes");
            for (int i = 0; labelled && i < records.Length; i += 1 + Bytes)
                if (records[i] > 9) throw new PermafrostException($"{path}: image {i / (1 + Bytes)} has the label {records[i]}; there are 0 to 9");
            return new CifarFiles(path, records);
        }
        catch (InvalidDataException error)
        {
            throw new PermafrostException($"{path} is a damaged gzip file ({error.Message.TrimEnd('.')}); fetch it again");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    private static CifarFiles Joined(string[] paths) => new(paths[0], [.. paths.SelectMany(path => Read(path).Records)]);

    /// <summary>
    /// An image moved, turned and perhaps mirrored as torchvision does in training: cut out of itself with 4 pixels of black around, mirrored half of the time, turned by up to 20
    /// degrees about its middle, the nearest pixel taken.
    /// </summary>
    /// <param name="image">3 x 32 x 32 bytes.</param>
    /// <param name="random">The example's own random numbers.</param>
    /// <param name="target">Receives 3 x 32 x 32 bytes.</param>
    public static void Augment(ReadOnlySpan<byte> image, ref CounterRandom random, Span<byte> target)
    {
        const int Margin = 4;
        const double Middle = (Side - 1) / 2.0;
        (int down, int right, bool mirrored) = (random.Next(2 * Margin + 1) - Margin, random.Next(2 * Margin + 1) - Margin, random.Next(2) == 1);
        (double sin, double cos) = Math.SinCos((random.NextDouble() * 40 - 20) * Math.PI / 180);
        for (int y = 0; y < Side; y++)
        {
            for (int x = 0; x < Side; x++)
            {
                // Back from the turned image to the mirrored one, and from there to the first.
                (double dx, double dy) = (x - Middle, y - Middle);
                (int fromX, int fromY) = ((int)Math.Round(cos * dx - sin * dy + Middle), (int)Math.Round(sin * dx + cos * dy + Middle));
                bool inside = fromX is >= 0 and < Side && fromY is >= 0 and < Side;
                if (mirrored) fromX = Side - 1 - fromX;
                (fromX, fromY) = (fromX + right, fromY + down);
                inside &= fromX is >= 0 and < Side && fromY is >= 0 and < Side;
                for (int channel = 0; channel < 3; channel++)
                    target[channel * Pixels + y * Side + x] = inside ? image[channel * Pixels + fromY * Side + fromX] : (byte)0;
            }
        }
    }
}
