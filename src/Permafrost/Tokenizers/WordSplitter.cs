using System.Globalization;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>
/// The first half of BERT's tokenizer (Hugging Face transformers 4.30, tokenization_bert.py, BasicTokenizer): a text becomes words, cleaned, lower-cased and without accents as the
/// settings say, punctuation apart. It remembers for each character of a word which characters of the text it came from. For one text at a time.
/// </summary>
internal sealed class WordSplitter(WordPieceSettings settings)
{
    private readonly bool stripAccents = settings.StripAccents ?? settings.LowerCase;
    private readonly bool composes = settings.Slow && !(settings.StripAccents ?? settings.LowerCase);
    private char[] letters = new char[64];
    private int[] starts = new int[64];
    private int[] ends = new int[64];
    private int length;
    private int runes;

    /// <summary>Called with each word; the spans are good until it returns.</summary>
    /// <param name="word">The word.</param>
    /// <param name="starts">For each UTF-16 unit of it, the index in the text where what it came from begins.</param>
    /// <param name="ends">The index behind that.</param>
    /// <param name="runes">Its length in characters.</param>
    public delegate void WordAction(ReadOnlySpan<char> word, ReadOnlySpan<int> starts, ReadOnlySpan<int> ends, int runes);

    /// <summary>Finds the words between two indices of a text.</summary>
    public void Split(string text, int from, int to, WordAction found)
    {
        int at = from;
        while (at < to)
        {
            char c = text[at];
            // A mark may follow, of which there are none below 0x300.
            if (c < 128 && (!composes || at + 1 == to || text[at + 1] < 0x300)) Ascii(c, at++, found);
            else at = Other(text, at, to, found);
        }
        End(found);
    }

    private void Ascii(char c, int at, WordAction found)
    {
        if (c is ' ' or '\t' or '\n' or '\r') End(found);
        else if (c < ' ' || c == '\u007F')
        {
            if (settings.CleanText) return;
            if (char.IsWhiteSpace(c)) End(found);
            else Letter(c, at, at + 1);
        }
        else if (char.IsAsciiLetterOrDigit(c)) Letter(settings.LowerCase ? (char)(c | (char.IsAsciiLetterUpper(c) ? 0x20 : 0)) : c, at, at + 1);
        else Alone(new Rune(c), at, at + 1, found);
    }

    // A character, with the marks that follow it where it may be composed with them.
    private int Other(string text, int at, int to, WordAction found)
    {
        int end = at + Next(text, at, to, out Rune rune);
        if (stripAccents) Decomposed(rune, at, end, found);
        else if (!composes) Cased(rune.Value, at, end, found);
        else
        {
            while (end < to && Next(text, end, to, out Rune mark) is var size && Characters.Joins(mark.Value)) end += size;
            foreach (int composed in CanonicalForm.Compose(text[at..end].EnumerateRunes())) Cased(composed, at, end, found);
        }
        return end;
    }

    // A lone surrogate is read as U+FFFD.
    private static int Next(string text, int at, int to, out Rune rune)
    {
        if (Rune.DecodeFromUtf16(text.AsSpan(at, to - at), out rune, out int size) != System.Buffers.OperationStatus.Done) rune = new Rune(Characters.Replacement);
        return size;
    }

    // Lower case and decomposed, without accents: those of a capital I with a dot above too, whose lower case is two characters.
    private void Decomposed(Rune rune, int at, int end, WordAction found)
    {
        int lower = settings.LowerCase ? Characters.Lower(rune.Value)[0] : rune.Value;
        if (lower < 128)
        {
            Normalised(lower, at, end, found);
            return;
        }
        foreach (int part in CanonicalForm.Decompose(lower)) if (!Characters.IsMark(part)) Normalised(part, at, end, found);
    }

    private void Cased(int rune, int at, int end, WordAction found)
    {
        if (!settings.LowerCase) Normalised(rune, at, end, found);
        else foreach (int lower in Characters.Lower(rune)) Normalised(lower, at, end, found);
    }

    private void Normalised(int code, int at, int end, WordAction found)
    {
        var rune = new Rune(code);
        UnicodeCategory category = Rune.GetUnicodeCategory(rune);
        bool isBlank = code is '\t' or '\n' or '\r';
        if (!isBlank && settings.CleanText && (code is 0 or Characters.Replacement || Characters.IsControl(category, unassigned: settings.Slow))) return;
        if (isBlank || Rune.IsWhiteSpace(rune)) End(found);
        else if (code < 128 ? Characters.IsPunctuation(code) : Characters.IsPunctuation(category)) Alone(rune, at, end, found);
        else if (settings.SplitChinese && Characters.IsChinese(code)) Alone(rune, at, end, found);
        else Letters(rune, at, end);
    }

    private void Alone(Rune rune, int at, int end, WordAction found)
    {
        End(found);
        Letters(rune, at, end);
        End(found);
    }

    private void Letters(Rune rune, int at, int end)
    {
        Span<char> units = stackalloc char[2];
        int count = rune.EncodeToUtf16(units);
        Letter(units[0], at, end);
        if (count == 1) return;
        Letter(units[1], at, end);
        runes--;
    }

    private void Letter(char c, int at, int end)
    {
        if (length == letters.Length)
        {
            Array.Resize(ref letters, 2 * length);
            Array.Resize(ref starts, 2 * length);
            Array.Resize(ref ends, 2 * length);
        }
        (letters[length], starts[length], ends[length]) = (c, at, end);
        length++;
        runes++;
    }

    private void End(WordAction found)
    {
        if (length > 0) found(letters.AsSpan(0, length), starts.AsSpan(0, length), ends.AsSpan(0, length), runes);
        (length, runes) = (0, 0);
    }
}
