namespace Permafrost.Formats;

/// <summary>Files that one process at a time holds open.</summary>
internal static class FileLock
{
    /// <summary>Whether opening failed because another holds the file: EWOULDBLOCK, as .NET on Linux and macOS passes it on, and Windows' sharing violation.</summary>
    public static bool IsHeld(IOException error) => error.HResult is 11 or 35 or unchecked((int)0x80070020);
}
