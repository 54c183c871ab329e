using System.Buffers.Binary;
using System.IO.Compression;
using Permafrost.Formats.Idx;

namespace Permafrost.Cli.Tests;

/// <summary>The real MNIST files, and smaller folders made of them.</summary>
internal static class MnistFiles
{
    public const string TrainImages = "train-images-idx3-ubyte.gz";
    public const string TrainLabels = "train-labels-idx1-ubyte.gz";
    public const string TestImages = "t10k-images-idx3-ubyte.gz";
    public const string TestLabels = "t10k-labels-idx1-ubyte.gz";

    public static string[] All { get; } = [TrainImages, TrainLabels, TestImages, TestLabels];

    /// <summary>The real folder.</summary>
    public static string Folder => Repository.Data("mnist");

    /// <summary>A folder with links to the real files, for tests that put something else in the place of one.</summary>
    public static string Linked(Scratch scratch)
    {
        string folder = scratch["mnist"];
        Directory.CreateDirectory(folder);
        foreach (string name in All) File.CreateSymbolicLink(Path.Combine(folder, name), Path.Combine(Folder, name));
        return folder;
    }

    /// <summary>Puts content in the place of a linked file; removes it where there is none.</summary>
    public static void Replace(string folder, string name, byte[]? content)
    {
        File.Delete(Path.Combine(folder, name));
        if (content is not null) File.WriteAllBytes(Path.Combine(folder, name), content);
    }

    /// <summary>A folder with the first digits of the real test set as training and as test set.</summary>
    public static string Small(Scratch scratch, int train, int test)
    {
        string folder = scratch["small-mnist"];
        Directory.CreateDirectory(folder);
        IdxFile images = IdxFile.Read(Path.Combine(Folder, TestImages));
        IdxFile labels = IdxFile.Read(Path.Combine(Folder, TestLabels));
        Write(Path.Combine(folder, TrainImages), images, train);
        Write(Path.Combine(folder, TrainLabels), labels, train);
        Write(Path.Combine(folder, TestImages), images, test);
        Write(Path.Combine(folder, TestLabels), labels, test);
        return folder;
    }

    /// <summary>Writes the first entries of an IDX file, packed.</summary>
    public static void Write(string path, IdxFile file, int count)
    {
        using var stream = new GZipStream(File.Create(path), CompressionLevel.Fastest);
        stream.Write([0, 0, 8, (byte)file.Shape.Length]);
        Span<byte> word = stackalloc byte[4];
        foreach (int size in file.Shape.Skip(1).Prepend(count))
        {
            BinaryPrimitives.WriteInt32BigEndian(word, size);
            stream.Write(word);
        }
        stream.Write(file.Data.AsSpan(0, count * file.Shape.Skip(1).Aggregate(1, (product, size) => product * size)));
    }
}
