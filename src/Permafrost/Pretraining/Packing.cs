using Permafrost.Data;

namespace Permafrost.Pretraining;

/// <summary>
/// Which tokens each step sees, as a function of the step alone. An epoch cuts the stream into windows, from another place each time, and takes them in an order of its own; or,
/// where documents are not to share a window, it cuts each document by itself, and short ends are filled up.
/// </summary>
/// <param name="stream">The documents.</param>
/// <param name="window">Tokens of a window.</param>
/// <param name="batch">Windows of a step.</param>
/// <param name="seed">The run's.</param>
/// <param name="crossDocuments">Whether a window may hold the end of one document and the beginning of the next.</param>
public sealed class Packing(TokenStream stream, int window, int batch, long seed, bool crossDocuments = true)
{
    // Sums of the windows of the documents before each, where documents share none.
    private readonly long[] perDocument = crossDocuments ? [] : Windows(stream, window);
    private long cachedEpoch = -1;
    private long[] order = [];
    private long offset;

    /// <summary>Windows of an epoch.</summary>
    public long Count => crossDocuments ? stream.Length / window - (stream.Length / window > 1 ? 1 : 0) : perDocument[^1];

    /// <summary>Steps of an epoch: a last one with fewer windows is left to the next epoch.</summary>
    public long StepsPerEpoch => Count / batch;

    /// <summary>Refuses a corpus that does not fill a single step.</summary>
    /// <exception cref="PermafrostException">It does not.</exception>
    public void Check()
    {
        if (StepsPerEpoch == 0)
            throw new PermafrostException(
                $"the training text has {stream.Length:N0} tokens, and a step takes {batch} windows of {window}; give more text, or lower `batch_size` or `context`");
    }

    /// <summary>The windows of a step.</summary>
    /// <returns>For each window its tokens; -1 where a short one is filled up.</returns>
    public long[][] Step(long step)
    {
        (long epoch, long within) = Math.DivRem(step, StepsPerEpoch);
        if (epoch != cachedEpoch)
        {
            var random = new CounterRandom("packing", seed, epoch);
            offset = crossDocuments ? random.Next((int)Math.Min(stream.Length - Count * window + 1, window)) : 0;
            order = random.Permutation(Count);
            cachedEpoch = epoch;
        }
        var windows = new long[batch][];
        for (int i = 0; i < batch; i++) windows[i] = Window(order[within * batch + i]);
        return windows;
    }

    private long[] Window(long number)
    {
        var tokens = new long[window];
        if (crossDocuments)
        {
            stream.Read(offset + number * window, tokens);
            return tokens;
        }
        int document = Array.BinarySearch(perDocument, number);
        if (document < 0) document = ~document - 1;
        // A document without tokens has no window: the last of those that begin at the same number has.
        while (perDocument[document + 1] == number) document++;
        (_, CorpusDocument what, long start) = stream.Documents.ElementAt(document);
        long at = (number - perDocument[document]) * window, count = Math.Min(window, what.Tokens + 1 - at);
        stream.Read(start + at, tokens.AsSpan(0, (int)count));
        tokens.AsSpan((int)count).Fill(-1);
        return tokens;
    }

    private static long[] Windows(TokenStream stream, int window)
    {
        var sums = new long[stream.Count + 1];
        int i = 0;
        foreach ((_, CorpusDocument document, _) in stream.Documents) sums[++i] = sums[i - 1] + (document.Tokens + window) / window;
        return sums;
    }
}
