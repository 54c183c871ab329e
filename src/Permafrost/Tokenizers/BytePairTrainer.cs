using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>What a training of byte pairs gave.</summary>
/// <param name="Tokens">The vocabulary by id: special tokens, the 256 bytes in the order of the characters that stand for them, merged tokens.</param>
/// <param name="Merges">The pairs in the order in which they were merged.</param>
internal sealed record BytePairVocabulary(IReadOnlyList<string> Tokens, IReadOnlyList<(string Left, string Right)> Merges);

/// <summary>
/// Learns a byte-level byte-pair vocabulary (Sennrich et al. 2016; Radford et al. 2019) from texts, with the choices of Hugging Face's trainer (tokenizers, models/bpe/trainer.rs):
/// GPT-2's words, all 256 bytes from the start, and of pairs that are equally frequent the one with the lowest ids first.
/// </summary>
internal sealed class BytePairTrainer
{
    private readonly Dictionary<string, long> words = new(StringComparer.Ordinal);

    /// <summary>How many different words were counted.</summary>
    public int Words => words.Count;

    /// <summary>Counts the words of texts, on all cores.</summary>
    public void Count(IReadOnlyList<string> texts)
    {
        var parts = new ConcurrentBag<Dictionary<string, long>>();
        Parallel.ForEach(
            texts, () => new Dictionary<string, long>(StringComparer.Ordinal), (text, state, part) =>
            {
                var lookup = part.GetAlternateLookup<ReadOnlySpan<char>>();
                var found = new List<(int From, int To)>();
                WordScanner.Gpt2.Find(text, found);
                foreach ((int from, int to) in found) CollectionsMarshal.GetValueRefOrAddDefault(lookup, text.AsSpan(from, to - from), out bool _)++;
                return part;
            }, parts.Add);
        foreach (Dictionary<string, long> part in parts)
            foreach ((string word, long count) in part) CollectionsMarshal.GetValueRefOrAddDefault(words, word, out _) += count;
    }

    /// <summary>Learns a vocabulary.</summary>
    /// <param name="size">V, special tokens included.</param>
    /// <param name="special">Tokens that get the first ids.</param>
    /// <param name="minFrequency">A pair that is rarer is not merged, even where the vocabulary stays smaller for it.</param>
    /// <exception cref="PermafrostException">The size has no room for the special tokens and the bytes.</exception>
    public BytePairVocabulary Train(int size, IReadOnlyList<string> special, int minFrequency = 2)
    {
        if (size < special.Count + 256) throw new PermafrostException($"a vocabulary of {size} tokens has no room for {special.Count} special tokens and 256 bytes; ask for more");
        var tokens = new List<string>(special);
        tokens.AddRange(Enumerable.Range(0, 256).Select(b => ByteAlphabet.Of((byte)b)).Order().Select(c => c.ToString()));
        var merges = new List<(string, string)>();
        var work = new Pairs(words, tokens, special.Count);
        var queue = new PriorityQueue<ulong, (long Count, ulong Pair)>(Comparer<(long Count, ulong Pair)>.Create(
            (a, b) => a.Count != b.Count ? b.Count.CompareTo(a.Count) : a.Pair.CompareTo(b.Pair)));
        foreach ((ulong pair, long count) in work.Counts) queue.Enqueue(pair, (count, pair));
        while (tokens.Count < size && queue.TryDequeue(out ulong pair, out (long Count, ulong Pair) entry))
        {
            long now = work.Counts.GetValueOrDefault(pair);
            if (now != entry.Count)
            {
                // An entry of before: it is put where it belongs now.
                if (now > 0) queue.Enqueue(pair, (now, pair));
                continue;
            }
            if (now < Math.Max(minFrequency, 1)) break;
            (int left, int right) = ((int)(pair >> 32), (int)(uint)pair);
            merges.Add((tokens[left], tokens[right]));
            string merged = tokens[left] + tokens[right];
            // Two ways to the same text give one token.
            int id = work.Known(merged, tokens);
            foreach (ulong risen in work.Merge(pair, left, right, id)) queue.Enqueue(risen, (work.Counts[risen], risen));
        }
        return new BytePairVocabulary(tokens, merges);
    }

    /// <summary>The words as they are merged so far, and how often and where each pair stands.</summary>
    private sealed class Pairs
    {
        private readonly int[][] symbols;
        private readonly long[] counts;
        private readonly Dictionary<ulong, HashSet<int>> places = [];
        private readonly Dictionary<string, int> ids = new(StringComparer.Ordinal);

        public Pairs(Dictionary<string, long> words, List<string> tokens, int firstByte)
        {
            for (int id = firstByte; id < tokens.Count; id++) ids[tokens[id]] = id;
            int[] bytes = [.. Enumerable.Range(0, 256).Select(b => ids[ByteAlphabet.Of((byte)b).ToString()])];
            (symbols, counts) = (new int[words.Count][], new long[words.Count]);
            int word = 0;
            foreach ((string text, long count) in words)
            {
                symbols[word] = [.. Encoding.UTF8.GetBytes(text).Select(b => bytes[b])];
                counts[word] = count;
                for (int i = 1; i < symbols[word].Length; i++) Add(Key(symbols[word][i - 1], symbols[word][i]), count, word);
                word++;
            }
        }

        public Dictionary<ulong, long> Counts { get; } = [];

        public int Known(string token, List<string> tokens)
        {
            if (ids.TryGetValue(token, out int id)) return id;
            tokens.Add(token);
            return ids[token] = tokens.Count - 1;
        }

        /// <summary>Merges a pair everywhere; gives the pairs that became more frequent.</summary>
        public HashSet<ulong> Merge(ulong pair, int left, int right, int id)
        {
            var risen = new HashSet<ulong>();
            if (!places.Remove(pair, out HashSet<int>? where)) return risen;
            foreach (int word in where)
            {
                int[] old = symbols[word];
                var merged = new List<int>(old.Length);
                for (int i = 0; i < old.Length; i++)
                {
                    bool here = i + 1 < old.Length && old[i] == left && old[i + 1] == right;
                    merged.Add(here ? id : old[i]);
                    if (here) i++;
                }
                for (int i = 1; i < old.Length; i++) CollectionsMarshal.GetValueRefOrAddDefault(Counts, Key(old[i - 1], old[i]), out _) -= counts[word];
                symbols[word] = [.. merged];
                for (int i = 1; i < merged.Count; i++)
                {
                    ulong key = Key(merged[i - 1], merged[i]);
                    Add(key, counts[word], word);
                    if (merged[i - 1] == id || merged[i] == id) risen.Add(key);
                }
            }
            Counts.Remove(pair);
            risen.RemoveWhere(key => !Counts.ContainsKey(key));
            return risen;
        }

        private void Add(ulong key, long count, int word)
        {
            CollectionsMarshal.GetValueRefOrAddDefault(Counts, key, out _) += count;
            (CollectionsMarshal.GetValueRefOrAddDefault(places, key, out _) ??= []).Add(word);
        }

        private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;
    }
}
