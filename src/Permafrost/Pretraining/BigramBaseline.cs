using System.Runtime.InteropServices;

namespace Permafrost.Pretraining;

/// <summary>
/// The least that a model has to beat: each token told from the one before alone, by how often they followed one another in the training text, where each of the V tokens counts
/// as if it had followed <see cref="Added"/> times more (Lidstone's estimate).
/// </summary>
internal static class BigramBaseline
{
    /// <summary>What is added to each count.</summary>
    public const double Added = 0.01;

    private const int Block = 1 << 16;

    /// <summary>What held-out documents cost, in bits for each byte in UTF-8.</summary>
    /// <param name="train">What is counted.</param>
    /// <param name="heldOut">The documents; of each all tokens are told, the first from the separator.</param>
    /// <param name="vocabulary">V.</param>
    /// <param name="cancellation">Ends it.</param>
    public static double[] BitsPerByte(TokenStream train, IReadOnlyList<TokenStream> heldOut, int vocabulary, CancellationToken cancellation = default)
    {
        // Only pairs that will be asked for are counted: those of all text would not fit in memory.
        var pairs = new Dictionary<(int, int), long>();
        foreach (TokenStream documents in heldOut)
            foreach ((int First, int Second) pair in PairsOf(documents, cancellation)) pairs.TryAdd(pair, 0);
        var firsts = new long[vocabulary];
        foreach ((int First, int Second) pair in Pairs(train, 0, train.Length, cancellation))
        {
            firsts[pair.First]++;
            ref long count = ref CollectionsMarshal.GetValueRefOrNullRef(pairs, pair);
            if (!System.Runtime.CompilerServices.Unsafe.IsNullRef(ref count)) count++;
        }
        double Bits((int First, int Second) pair) => -Math.Log2((pairs[pair] + Added) / (firsts[pair.First] + Added * vocabulary));
        return [.. heldOut.Select(documents => PairsOf(documents, cancellation).Sum(Bits) / documents.Bytes)];
    }

    private static IEnumerable<(int First, int Second)> PairsOf(TokenStream documents, CancellationToken cancellation) =>
        documents.Documents.SelectMany(one => Pairs(documents, one.Start, one.Document.Tokens + 1, cancellation));

    private static IEnumerable<(int First, int Second)> Pairs(TokenStream stream, long start, long tokens, CancellationToken cancellation)
    {
        for (long at = 0; at + 1 < tokens; at += Block)
        {
            cancellation.ThrowIfCancellationRequested();
            var ids = new long[(int)Math.Min(Block + 1, tokens - at)];
            stream.Read(start + at, ids);
            for (int i = 1; i < ids.Length; i++) yield return ((int)ids[i - 1], (int)ids[i]);
        }
    }
}
