namespace Permafrost.Formats.Web;

/// <summary>How far a file has come.</summary>
/// <param name="File">Its name, or the address that it comes from.</param>
/// <param name="Bytes">What is here.</param>
/// <param name="Total">What it will have; null where the server does not say.</param>
public sealed record DownloadProgress(string File, long Bytes, long? Total);
