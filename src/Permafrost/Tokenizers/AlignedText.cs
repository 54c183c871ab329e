using System.Buffers;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>A text on its way to words: characters (code points), each with the UTF-16 units of the original text that it came from.</summary>
internal sealed class AlignedText
{
    // A text becomes no longer than a few times what a text may have; only rules that are made to blow up memory do more.
    private const int Most = 1 << 26;

    // Unicode itself makes up to 18 characters of one, of U+FDFA.
    private const int MostOfOne = 32;

    private (int Rune, int Start, int End)[] characters;

    public AlignedText(int capacity = 0) => characters = new (int Rune, int Start, int End)[Math.Max(capacity, 4)];

    public int Count { get; private set; }

    public (int Rune, int Start, int End) this[int index] => characters[index];

    public static AlignedText Of(string text) => Of(text, 0, text.Length);

    /// <summary>A part of a text. Half of a surrogate pair is read as U+FFFD.</summary>
    public static AlignedText Of(string text, int from, int to)
    {
        var aligned = new AlignedText(to - from);
        for (int at = from; at < to;)
        {
            if (text[at] < 0x80)
            {
                aligned.characters[aligned.Count++] = (text[at], at, ++at);
                continue;
            }
            bool sound = Rune.DecodeFromUtf16(text.AsSpan(at, to - at), out Rune rune, out int size) == OperationStatus.Done;
            aligned.Add(sound ? rune.Value : Characters.Replacement, at, at + size);
            at += size;
        }
        return aligned;
    }

    public void Add(int rune, int start, int end) => Add((rune, start, end));

    /// <exception cref="PermafrostException">The text has become longer than any text does.</exception>
    public void Add((int Rune, int Start, int End) character)
    {
        if (Count == characters.Length)
        {
            if (Count >= Most) throw TooLong();
            Array.Resize(ref characters, 2 * Count);
        }
        characters[Count++] = character;
    }

    private PermafrostException TooLong()
    {
        bool isSound = Count / MostOfOne < characters[Count - 1].End;
        return new PermafrostException($"the tokenizer's rules make more than {Most:N0} characters of the text; {(isSound ? "break the text up" : "its normalizer is not sound")}");
    }

    /// <summary>The characters of a range.</summary>
    public AlignedText Range(int from, int to)
    {
        var part = new AlignedText(to - from);
        Array.Copy(characters, from, part.characters, 0, to - from);
        part.Count = to - from;
        return part;
    }

    /// <summary>Each character replaced by what is made of it, in its place.</summary>
    public AlignedText Select(Func<int, IEnumerable<int>> make)
    {
        var made = new AlignedText(Count);
        foreach ((int rune, int start, int end) in characters.AsSpan(0, Count))
            foreach (int other in make(rune)) made.Add(other, start, end);
        return made;
    }

    public AlignedText Where(Func<int, bool> keep)
    {
        var kept = new AlignedText(Count);
        foreach ((int Rune, int Start, int End) character in characters.AsSpan(0, Count)) if (keep(character.Rune)) kept.Add(character);
        return kept;
    }

    /// <summary>Each character replaced by another.</summary>
    public AlignedText Map(Func<int, int> make)
    {
        var made = new AlignedText(Count);
        foreach ((int rune, int start, int end) in characters.AsSpan(0, Count)) made.Add(make(rune), start, end);
        return made;
    }

    public override string ToString()
    {
        var text = new StringBuilder(Count);
        foreach ((int rune, _, _) in characters.AsSpan(0, Count))
            if (rune <= char.MaxValue) text.Append((char)rune);
            else text.Append(new Rune(rune));
        return text.ToString();
    }
}
