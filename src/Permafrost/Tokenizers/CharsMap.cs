using System.Buffers.Binary;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>
/// SentencePiece's <c>precompiled_charsmap</c> (normalizer.cc; darts-clone's double array): texts of a few bytes, and what stands for each. It comes from a file, so every
/// offset in it is checked where it is followed.
/// </summary>
internal sealed class CharsMap
{
    // NFKC's longest is 33 bytes.
    private const int LongestReplacement = 1024;
    private const int Ascii = 128;

    private readonly uint[] units;
    private readonly byte[] texts;
    private readonly string source;
    private readonly Dictionary<int, int[]?> replacements = [];
    private readonly Lock gate = new();

    // What an ASCII character becomes where no other than an ASCII character follows; null where it stays. Behind a character that begins a longer text of ASCII it is not known.
    private readonly int[]?[] ascii = new int[Ascii][];
    private readonly bool[] joins = new bool[Ascii];

    /// <exception cref="PermafrostException">The bytes are no such map.</exception>
    public CharsMap(ReadOnlySpan<byte> bytes, string source)
    {
        this.source = source;
        uint size = bytes.Length < 4 ? uint.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        if (size % 4 != 0 || size < 4 || size > bytes.Length - 4) throw Broken("its trie is longer than the map");
        units = new uint[size / 4];
        for (int i = 0; i < units.Length; i++) units[i] = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(4 + 4 * i)..]);
        texts = bytes[(4 + (int)size)..].ToArray();
        for (int c = 0; c < Ascii; c++)
        {
            uint node = Root;
            if (!Follow(ref node, (byte)c, out int value)) continue;
            if (value >= 0) ascii[c] = Replacement(value);
            for (int next = 0; next < Ascii && !joins[c]; next++)
            {
                uint behind = node;
                joins[c] = Follow(ref behind, (byte)next, out _);
            }
        }
    }

    /// <summary>What an ASCII character becomes before another one, or at the end of a text; null where it stays as it is.</summary>
    /// <returns>Whether that is so whatever the other is.</returns>
    public bool TryAscii(int rune, out int[]? replacement)
    {
        replacement = ascii[rune];
        return !joins[rune];
    }

    /// <summary>The longest text that begins at an index and that the map replaces, in characters; 0 where there is none.</summary>
    public int Longest(AlignedText text, int at, out int[] replacement)
    {
        (int length, int found) = (0, -1);
        uint node = Root;
        Span<byte> bytes = stackalloc byte[4];
        for (int i = at; i < text.Count; i++)
        {
            int size = new Rune(text[i].Rune).EncodeToUtf8(bytes), value = -1;
            bool goesOn = true;
            for (int b = 0; b < size && goesOn; b++) goesOn = Follow(ref node, bytes[b], out value);
            if (!goesOn) break;
            if (value >= 0) (length, found) = (i + 1 - at, value);
        }
        replacement = found >= 0 ? Replacement(found) : [];
        return length;
    }

    /// <summary>What stands for the shortest beginning of a range of a text; null where there is none.</summary>
    public int[]? Shortest(AlignedText text, int from, int to)
    {
        uint node = Root;
        Span<byte> bytes = stackalloc byte[4];
        for (int i = from; i < to; i++)
        {
            int size = new Rune(text[i].Rune).EncodeToUtf8(bytes);
            for (int b = 0; b < size; b++)
            {
                if (!Follow(ref node, bytes[b], out int value)) return null;
                if (value >= 0) return Replacement(value);
            }
        }
        return null;
    }

    private uint Root => Offset(units[0]);

    // One byte further; value is where the text's replacement stands, or -1.
    private bool Follow(ref uint node, byte label, out int value)
    {
        value = -1;
        uint at = node ^ label;
        // A NUL would lead to the place of a value.
        if (label == 0 || at >= units.Length || (units[at] & 0x800000FF) != label) return false;
        node = at ^ Offset(units[at]);
        if ((units[at] >> 8 & 1) == 1)
        {
            if (node >= units.Length) throw Broken("an offset of its trie leads out of it");
            value = (int)(units[node] & 0x7FFFFFFF);
        }
        return true;
    }

    private static uint Offset(uint unit) => unit >> 10 << (int)((unit & 1u << 9) >> 6);

    private int[] Replacement(int at)
    {
        lock (gate)
        {
            if (replacements.TryGetValue(at, out int[]? known)) return known!;
            if (at > texts.Length) throw Broken("an offset of its texts leads out of them");
            int length = texts.AsSpan(at).IndexOf((byte)0);
            if (length < 0) length = texts.Length - at;
            if (length > LongestReplacement) throw Broken($"one of its texts has {length:N0} bytes");
            return replacements[at] = [.. Encoding.UTF8.GetString(texts, at, length).EnumerateRunes().Select(rune => rune.Value)];
        }
    }

    private PermafrostException Broken(string how) => new($"{source}: the normalizer's precompiled_charsmap is damaged: {how}");
}
