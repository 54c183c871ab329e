using Permafrost.Formats;

namespace Permafrost.Data.Published;

/// <summary>A published file of a data set.</summary>
/// <param name="Name">Its name in the data set's folder, and at a mirror.</param>
/// <param name="Address">Where it is published.</param>
public sealed record PublishedFile(string Name, string Address)
{
    /// <summary>Its published length; null where it is not known here. A download may be a quarter longer, in case it was packed again.</summary>
    public long? Bytes { get; init; }

    /// <summary>SHA-256 of its content, unpacked where gzip packed it, so that plain and re-packed files are the same to us; null where none is known here: what the first
    /// download has is recorded then.</summary>
    public string? Sha256 { get; init; }

    /// <summary>What is unpacked of an archive, which itself is not kept; null for a file that is kept as it is.</summary>
    public IReadOnlyList<ArchivePart>? Parts { get; init; }
}
