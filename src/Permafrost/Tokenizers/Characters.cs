using System.Globalization;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>The classes of characters that tokenizers know: BERT's (Hugging Face transformers 4.30, tokenization_bert.py), and those of regular expressions.</summary>
internal static class Characters
{
    public const int Replacement = 0xFFFD;

    // Capital I with a dot above, the one character whose lower case is two.
    private const int DottedI = 0x130, DotAbove = 0x307;

    /// <summary>Control, format and private characters; unassigned ones too, where Python classifies.</summary>
    public static bool IsControl(UnicodeCategory category, bool unassigned) =>
        category is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
        || (unassigned && category == UnicodeCategory.OtherNotAssigned);

    public static bool IsWhite(int rune) => Rune.IsWhiteSpace(new Rune(rune));

    public static bool IsMark(int rune) => Rune.GetUnicodeCategory(new Rune(rune)) == UnicodeCategory.NonSpacingMark;

    public static bool IsAnyMark(int rune) =>
        Rune.GetUnicodeCategory(new Rune(rune)) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;

    /// <summary>Punctuation, and every other sign of ASCII.</summary>
    public static bool IsPunctuation(int rune) =>
        rune < 128 ? rune > ' ' && rune < 127 && !char.IsAsciiLetterOrDigit((char)rune) : IsPunctuation(Rune.GetUnicodeCategory(new Rune(rune)));

    public static bool IsPunctuation(UnicodeCategory category) => category is >= UnicodeCategory.ConnectorPunctuation and <= UnicodeCategory.OtherPunctuation;

    /// <summary>The blocks of Chinese characters, without Japanese and Korean alphabets, which are written with blanks or belong together.</summary>
    public static bool IsChinese(int c) =>
        c is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF) or (>= 0x2A700 and <= 0x2B73F) or (>= 0x2B740 and <= 0x2B81F)
            or (>= 0x2B820 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);

    /// <summary>Marks, and what Hangul syllables are composed of: what a character before it may be composed with.</summary>
    public static bool Joins(int rune) => rune >= 0x300 && (IsAnyMark(rune) || rune is >= 0x1160 and <= 0x11FF);

    /// <summary>Letters (letters in circles and squares too), marks, digits and connectors: what a regular expression calls a word's.</summary>
    public static bool IsWord(int rune)
    {
        UnicodeCategory category = Rune.GetUnicodeCategory(new Rune(rune));
        return category is <= UnicodeCategory.LetterNumber or UnicodeCategory.ConnectorPunctuation || rune is 0x200C or 0x200D or (>= 0x24B6 and <= 0x24E9)
            or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189);
    }

    public static bool IsLetter(int rune) => Rune.GetUnicodeCategory(new Rune(rune)) <= UnicodeCategory.OtherLetter;

    public static bool IsNumeric(int rune) =>
        Rune.GetUnicodeCategory(new Rune(rune)) is UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;

    /// <summary>The lower case of a character, whatever stands beside it.</summary>
    public static int[] Lower(int rune) => rune == DottedI ? ['i', DotAbove] : [Rune.ToLowerInvariant(new Rune(rune)).Value];
}
