namespace Permafrost.Formats;

/// <summary>What Git LFS leaves in the place of a file that was not fetched: a few lines of text (https://github.com/git-lfs/git-lfs, docs/spec.md).</summary>
internal static class GitLfsPointer
{
    /// <summary>What a user is told that such a file is.</summary>
    public const string What = "a Git LFS pointer, not the file it stands for; fetch that with `git lfs pull` in its folder";

    private static ReadOnlySpan<byte> Start => "version https://git-lfs"u8;

    public static bool Is(ReadOnlySpan<byte> first) => first.StartsWith(Start);

    /// <summary>Goes back to where the file was.</summary>
    /// <exception cref="PermafrostException">It is one.</exception>
    public static void Refuse(Stream file, string path)
    {
        long at = file.Position;
        Span<byte> first = stackalloc byte[Start.Length];
        int count = file.ReadAtLeast(first, first.Length, throwOnEndOfStream: false);
        file.Position = at;
        if (Is(first[..count])) throw new PermafrostException($"{path} is {What}");
    }
}
