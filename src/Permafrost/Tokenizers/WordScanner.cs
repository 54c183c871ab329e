using System.Buffers;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>
/// The words of byte-level vocabularies, found without a regular expression: those of GPT-2 (Radford et al. 2019, encoder.py), and those of cl100k and its kin (Llama 3, Qwen2),
/// which differ in how many digits stand together. <see cref="For"/> tells which expressions these are.
/// </summary>
/// <param name="Modern">The second kind.</param>
/// <param name="Digits">Most digits of a word.</param>
internal sealed record WordScanner(bool Modern, int Digits) : TextPattern
{
    private const string ModernBegin = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}", ModernEnd = @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    // Small letters with what else has them as its small or its folded form.
    private static readonly string[] Contractions = ["s", "t", "re", "ve", "m", "ll", "d"];

    public static WordScanner Gpt2 { get; } = new(Modern: false, int.MaxValue);

    /// <summary>The scanner that finds what an expression finds; null where there is none.</summary>
    public static WordScanner? For(string expression) => expression switch
    {
        @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+" => Gpt2,
        ModernBegin + "{1,3}" + ModernEnd => new WordScanner(Modern: true, 3),
        ModernBegin + ModernEnd => new WordScanner(Modern: true, 1),
        ModernBegin + "+" + ModernEnd => new WordScanner(Modern: true, int.MaxValue),
        _ => null,
    };

    public override void Find(ReadOnlySpan<char> text, List<(int From, int To)> found)
    {
        for (int at = 0; at < text.Length;)
        {
            int end = Modern ? NextModern(text, at) : NextGpt2(text, at);
            found.Add((at, end));
            at = end;
        }
    }

    private int NextGpt2(ReadOnlySpan<char> text, int at)
    {
        char c = text[at];
        if (c == '\'' && Contraction(text, at, anyCase: false) is > 0 and var contraction) return at + contraction;
        int from = c == ' ' && at + 1 < text.Length ? at + 1 : at;
        Kind kind = KindAt(text, from, out int size);
        return kind == Kind.Blank ? Blanks(text, at) : Run(text, from + size, kind, int.MaxValue);
    }

    private int NextModern(ReadOnlySpan<char> text, int at)
    {
        char c = text[at];
        if (c == '\'' && Contraction(text, at, anyCase: true) is > 0 and var contraction) return at + contraction;
        Kind kind = KindAt(text, at, out int size);
        if (kind == Kind.Letter) return Run(text, at + size, Kind.Letter, int.MaxValue);
        if (kind == Kind.Number) return Run(text, at + size, Kind.Number, Digits - 1);
        int next = at + size, nextSize = 0;
        Kind behind = next < text.Length ? KindAt(text, next, out nextSize) : Kind.Blank;
        if (c is not ('\r' or '\n') && behind == Kind.Letter) return Run(text, next + nextSize, Kind.Letter, int.MaxValue);
        if (kind == Kind.Other || (c == ' ' && behind == Kind.Other))
        {
            int end = Run(text, kind == Kind.Other ? next : next + nextSize, Kind.Other, int.MaxValue);
            while (end < text.Length && text[end] is '\r' or '\n') end++;
            return end;
        }
        int blanks = Run(text, next, Kind.Blank, int.MaxValue), line = text[at..blanks].LastIndexOfAny('\r', '\n');
        return line >= 0 ? at + line + 1 : Blanks(text, at);
    }

    // All of the blanks at the end of a text; before a word the last of them is left to it.
    private static int Blanks(ReadOnlySpan<char> text, int at)
    {
        int end = Run(text, at + 1, Kind.Blank, int.MaxValue);
        return end == text.Length || end == at + 1 ? end : end - 1;
    }

    private static int Run(ReadOnlySpan<char> text, int at, Kind kind, int most)
    {
        for (; at < text.Length && most > 0; most--)
        {
            if (KindAt(text, at, out int size) != kind) break;
            at += size;
        }
        return at;
    }

    private static int Contraction(ReadOnlySpan<char> text, int at, bool anyCase)
    {
        foreach (string letters in Contractions)
        {
            if (at + letters.Length >= text.Length) continue;
            bool same = true;
            for (int i = 0; i < letters.Length && same; i++)
            {
                char c = text[at + 1 + i];
                // The long s is an s in another form.
                same = c == letters[i] || (anyCase && ((c | 0x20) == letters[i] || (c == '\u017F' && letters[i] == 's')));
            }
            if (same) return letters.Length + 1;
        }
        return 0;
    }

    private enum Kind : byte { Other, Letter, Number, Blank }

    private static readonly Kind[] Latin = [.. Enumerable.Range(0, 0x100).Select(KindOf)];

    private static Kind KindAt(ReadOnlySpan<char> text, int at, out int size)
    {
        char c = text[at];
        size = 1;
        if (c < Latin.Length) return Latin[c];
        if (Rune.DecodeFromUtf16(text[at..], out Rune rune, out size) != OperationStatus.Done) rune = Rune.ReplacementChar;
        return KindOf(rune.Value);
    }

    private static Kind KindOf(int rune)
    {
        if (Characters.IsLetter(rune)) return Kind.Letter;
        if (Characters.IsNumeric(rune)) return Kind.Number;
        return Characters.IsWhite(rune) ? Kind.Blank : Kind.Other;
    }
}
