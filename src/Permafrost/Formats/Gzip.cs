using System.IO.Compression;

namespace Permafrost.Formats;

/// <summary>Files packed by gzip, which their first two bytes tell, whatever their names are.</summary>
internal static class Gzip
{
    /// <summary>The content of a file, unpacked while it is read where it is packed.</summary>
    /// <param name="file">The file, from its beginning; it must be able to go back there.</param>
    /// <returns>A stream that closes the file too; reading it throws <see cref="InvalidDataException"/> where it is damaged.</returns>
    /// <exception cref="PermafrostException">It is a Git LFS pointer, or a pipe.</exception>
    public static Stream Unpacked(Stream file)
    {
        if (!file.CanSeek)
        {
            string name = (file as FileStream)?.Name ?? "what is to be read";
            file.Dispose();
            throw new PermafrostException($"{name} is a pipe, and is to be read more than once; write it into a file and name that");
        }
        if (file is FileStream named) GitLfsPointer.Refuse(file, named.Name);
        Span<byte> magic = stackalloc byte[2];
        bool packed = file.ReadAtLeast(magic, 2, throwOnEndOfStream: false) == 2 && magic is [0x1f, 0x8b];
        file.Position = 0;
        return packed ? new GZipStream(file, CompressionMode.Decompress) : file;
    }
}
