using System.IO.Compression;

namespace Permafrost.Formats;

/// <summary>Files packed by gzip, which their first two bytes tell, whatever their names are.</summary>
internal static class Gzip
{
    /// <summary>The content of a file, unpacked while it is read where it is packed.</summary>
    /// <param name="file">The file, from its beginning; it must be able to go back there.</param>
    /// <returns>A stream that closes the file too; reading it throws <see cref="InvalidDataException"/> where it is damaged.</returns>
    /// <exception cref="PermafrostException">It is a Git LFS pointer.</exception>
    public static Stream Unpacked(Stream file)
    {
        if (file is FileStream named) GitLfsPointer.Refuse(file, named.Name);
        Span<byte> magic = stackalloc byte[2];
        bool packed = file.ReadAtLeast(magic, 2, throwOnEndOfStream: false) == 2 && magic is [0x1f, 0x8b];
        file.Position = 0;
        return packed ? new GZipStream(file, CompressionMode.Decompress) : file;
    }
}
