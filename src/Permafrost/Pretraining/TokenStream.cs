namespace Permafrost.Pretraining;

/// <summary>Documents behind one another, each behind a separator: what training windows are cut from.</summary>
public sealed class TokenStream
{
    private readonly (TokenCache Cache, CorpusDocument Document)[] documents;
    private readonly long[] starts;
    private readonly long separator;

    /// <summary>A stream.</summary>
    /// <param name="documents">The documents, in the order in which they are read.</param>
    /// <param name="separator">The token in front of each.</param>
    public TokenStream(IEnumerable<(TokenCache Cache, CorpusDocument Document)> documents, long separator)
    {
        this.documents = [.. documents];
        this.separator = separator;
        starts = new long[this.documents.Length + 1];
        for (int i = 0; i < this.documents.Length; i++) starts[i + 1] = starts[i] + 1 + this.documents[i].Document.Tokens;
    }

    /// <summary>The number of documents.</summary>
    public int Count => documents.Length;

    /// <summary>The number of tokens, separators included.</summary>
    public long Length => starts[^1];

    /// <summary>The number of bytes of the documents in UTF-8.</summary>
    public long Bytes => documents.Sum(one => one.Document.Bytes);

    /// <summary>The documents and where each begins in the stream, at its separator.</summary>
    public IEnumerable<(CorpusFile File, CorpusDocument Document, long Start)> Documents =>
        documents.Select((one, i) => (one.Cache.File, one.Document, starts[i]));

    /// <summary>Copies tokens from a place on.</summary>
    /// <exception cref="ArgumentOutOfRangeException">They are not in the stream.</exception>
    public void Read(long start, Span<long> into)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, Length - into.Length);
        int number = Array.BinarySearch(starts, start);
        if (number < 0) number = ~number - 1;
        for (int done = 0; done < into.Length; number++)
        {
            long within = start + done - starts[number];
            if (within == 0)
            {
                into[done++] = separator;
                within++;
            }
            int count = (int)Math.Min(into.Length - done, starts[number + 1] - starts[number] - within);
            if (count <= 0) continue;
            documents[number].Cache.Read(documents[number].Document.Start + within - 1, into.Slice(done, count));
            done += count;
        }
    }
}
