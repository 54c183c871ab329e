using System.Buffers;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>A text on its way to words: characters (code points), each with the UTF-16 units of the original text that it came from.</summary>
internal sealed class AlignedText
{
    private const int Replacement = 0xFFFD;

    private readonly List<(int Rune, int Start, int End)> characters = [];

    public int Count => characters.Count;

    public (int Rune, int Start, int End) this[int index] => characters[index];

    public static AlignedText Of(string text) => Of(text, 0, text.Length);

    /// <summary>A part of a text. Half of a surrogate pair is read as U+FFFD.</summary>
    public static AlignedText Of(string text, int from, int to)
    {
        var aligned = new AlignedText();
        for (int at = from; at < to;)
        {
            bool sound = Rune.DecodeFromUtf16(text.AsSpan(at, to - at), out Rune rune, out int size) == OperationStatus.Done;
            aligned.Add(sound ? rune.Value : Replacement, at, at + size);
            at += size;
        }
        return aligned;
    }

    public void Add(int rune, int start, int end) => characters.Add((rune, start, end));

    public void Add((int Rune, int Start, int End) character) => characters.Add(character);

    /// <summary>The characters of a range.</summary>
    public AlignedText Range(int from, int to)
    {
        var part = new AlignedText();
        part.characters.AddRange(characters[from..to]);
        return part;
    }

    /// <summary>Each character replaced by what is made of it, in its place.</summary>
    public AlignedText Select(Func<int, IEnumerable<int>> make)
    {
        var made = new AlignedText();
        foreach ((int rune, int start, int end) in characters)
            foreach (int other in make(rune)) made.Add(other, start, end);
        return made;
    }

    public AlignedText Where(Func<int, bool> keep) => Select(rune => keep(rune) ? [rune] : []);

    public override string ToString() => string.Concat(characters.Select(character => new Rune(character.Rune).ToString()));
}
