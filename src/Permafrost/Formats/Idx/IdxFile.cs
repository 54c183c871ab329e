using System.Buffers.Binary;

namespace Permafrost.Formats.Idx;

/// <summary>
/// An IDX file of unsigned bytes, as MNIST comes in (http://yann.lecun.com/exdb/mnist/): two zero bytes, the type 0x08, the number of dimensions,
/// each size as a big-endian 32-bit number, then the data, last dimension fastest. A file that is packed by gzip, whatever its name, is unpacked while it is read.
/// </summary>
/// <param name="Shape">Sizes along the dimensions.</param>
/// <param name="Data">The bytes, row-major.</param>
public sealed record IdxFile(int[] Shape, byte[] Data)
{
    // More than any real IDX file; a hostile header must not make us allocate without limit.
    private const long MaxBytes = 1L << 31;

    /// <summary>Reads a file.</summary>
    /// <exception cref="PermafrostException">The file is missing, corrupt, truncated or not an IDX file of bytes.</exception>
    public static IdxFile Read(string path)
    {
        try
        {
            using FileStream file = File.OpenRead(path);
            using Stream stream = Gzip.Unpacked(file);
            return Read(stream, path);
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

    private static IdxFile Read(Stream stream, string path)
    {
        Span<byte> word = stackalloc byte[4];
        if (stream.ReadAtLeast(word, 4, throwOnEndOfStream: false) < 4) throw new PermafrostException($"{path} is truncated: it ends within its header");
        if (word[0] != 0 || word[1] != 0) throw new PermafrostException($"{path} is not an IDX file: it starts with 0x{Convert.ToHexString(word)}, not with 0x0000");
        if (word[2] != 0x08) throw new PermafrostException($"{path} holds IDX type 0x{word[2]:x2}; only unsigned bytes (0x08) are read");
        int dimensions = word[3];
        if (dimensions is 0 or > 8) throw new PermafrostException($"{path} claims {dimensions} dimensions; 1 to 8 are read");
        var shape = new int[dimensions];
        long total = 1;
        for (int i = 0; i < dimensions; i++)
        {
            if (stream.ReadAtLeast(word, 4, throwOnEndOfStream: false) < 4) throw new PermafrostException($"{path} is truncated: it ends within its header");
            shape[i] = BinaryPrimitives.ReadInt32BigEndian(word);
            if (shape[i] <= 0 || (total *= shape[i]) > MaxBytes)
                throw new PermafrostException($"{path} claims the sizes {string.Join("x", shape.Take(i + 1))}, which is not a sound shape");
        }
        // Memory grows as data is read, so that a short file whose header claims a huge size costs nothing.
        var data = new MemoryStream();
        var buffer = new byte[1 << 16];
        int read;
        while (data.Length < total && (read = stream.Read(buffer, 0, (int)Math.Min(buffer.Length, total - data.Length))) > 0) data.Write(buffer, 0, read);
        if (data.Length < total) throw new PermafrostException($"{path} is truncated: {total:N0} bytes of data are announced, {data.Length:N0} are there");
        if (stream.ReadByte() >= 0) throw new PermafrostException($"{path} has more data than its header announces ({total:N0} bytes)");
        return new IdxFile(shape, data.ToArray());
    }
}
