namespace Permafrost.Formats;

/// <summary>Reads files that somebody else may have made: a link may lead to a device without end, and a length may be wrong.</summary>
internal static class BoundedFile
{
    /// <summary>A file's bytes; null where there are more than <paramref name="most"/>.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static byte[]? Read(string path, long most)
    {
        using FileStream file = File.OpenRead(path);
        long length = file.CanSeek ? file.Length : 0;
        if (length > most) return null;
        var content = new MemoryStream((int)length);
        byte[] piece = new byte[1 << 16];
        for (int count; (count = file.Read(piece)) > 0;)
        {
            if (content.Length + count > most) return null;
            content.Write(piece, 0, count);
        }
        return content.Length == content.Capacity ? content.GetBuffer() : content.ToArray();
    }
}
