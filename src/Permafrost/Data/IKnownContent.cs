namespace Permafrost.Data;

/// <summary>Examples that are known by a hash of the files that they are in, so that not all of them have to be computed to know them again.</summary>
internal interface IKnownContent
{
    /// <summary>SHA-256 of all that the examples follow from, as lower-case hex.</summary>
    string ContentSha256 { get; }
}
