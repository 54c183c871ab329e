using System.Diagnostics.CodeAnalysis;

namespace Permafrost.Tokenizers;

/// <summary>Remembers something of short words. A word has one place, which the last one that has it takes: so it stays small, and threads need not wait for each other.</summary>
internal sealed class WordMemory<T> where T : class
{
    private const int LongestWord = 48;
    private const int Slots = 1 << 16;

    private readonly Entry?[] entries = new Entry?[Slots];

    /// <summary>What is known of a word.</summary>
    /// <param name="word">The word.</param>
    /// <param name="value">What is known.</param>
    /// <param name="slot">Where it is remembered; negative where it is too long.</param>
    public bool TryGet(ReadOnlySpan<char> word, [NotNullWhen(true)] out T? value, out int slot)
    {
        value = null;
        slot = -1;
        if (word.Length > LongestWord) return false;
        uint hash = (uint)word.Length;
        foreach (char c in word) hash = (hash ^ c) * 0x9E3779B1;
        slot = (int)(hash >> 16);
        Entry? entry = Volatile.Read(ref entries[slot]);
        if (entry is null || !word.SequenceEqual(entry.Word)) return false;
        value = entry.Value;
        return true;
    }

    public void Put(ReadOnlySpan<char> word, T value, int slot)
    {
        if (slot >= 0) Volatile.Write(ref entries[slot], new Entry(word.ToString(), value));
    }

    private sealed record Entry(string Word, T Value);
}
