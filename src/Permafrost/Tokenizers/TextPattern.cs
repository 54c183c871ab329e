using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Permafrost.Tokenizers;

/// <summary>Something to look for in a text.</summary>
internal abstract record TextPattern
{
    /// <summary>Adds the ranges of a text, in UTF-16 units, that the pattern matches, in their order.</summary>
    public abstract void Find(ReadOnlySpan<char> text, List<(int From, int To)> found);

    /// <summary>False where it surely matches nothing.</summary>
    public virtual bool MayBeIn(ReadOnlySpan<char> text) => true;
}

/// <summary>A text.</summary>
internal sealed record LiteralPattern(string Text) : TextPattern
{
    public override void Find(ReadOnlySpan<char> text, List<(int From, int To)> found)
    {
        for (int at = 0; text[at..].IndexOf(Text, StringComparison.Ordinal) is >= 0 and var next; at = found[^1].To) found.Add((at + next, at + next + Text.Length));
    }

    public override bool MayBeIn(ReadOnlySpan<char> text) => text.Contains(Text, StringComparison.Ordinal);
}

/// <summary>Each character of a kind.</summary>
internal sealed record CharacterPattern(Func<int, bool> Is) : TextPattern
{
    public override void Find(ReadOnlySpan<char> text, List<(int From, int To)> found)
    {
        for (int at = 0; at < text.Length;)
        {
            if (Rune.DecodeFromUtf16(text[at..], out Rune rune, out int size) != OperationStatus.Done) rune = Rune.ReplacementChar;
            if (Is(rune.Value)) found.Add((at, at + size));
            at += size;
        }
    }
}

/// <summary>A regular expression, which is about characters: .NET's are about UTF-16 units.</summary>
internal sealed record RegexPattern : TextPattern
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    // For each kind of characters beyond U+FFFF one below that is of the kind, and that hardly any expression names.
    private static readonly Dictionary<UnicodeCategory, char> StandIns = new()
    {
        [UnicodeCategory.UppercaseLetter] = '\uA7BA',
        [UnicodeCategory.LowercaseLetter] = '\uA7BB',
        [UnicodeCategory.ModifierLetter] = '\uA9CF',
        [UnicodeCategory.OtherLetter] = '\uA4A0',
        [UnicodeCategory.TitlecaseLetter] = '\u1FFC',
        [UnicodeCategory.NonSpacingMark] = '\uA8C5',
        [UnicodeCategory.SpacingCombiningMark] = '\uA8C3',
        [UnicodeCategory.EnclosingMark] = '\uA670',
        [UnicodeCategory.DecimalDigitNumber] = '\uA8D0',
        [UnicodeCategory.LetterNumber] = '\uA6E6',
        [UnicodeCategory.OtherNumber] = '\uA830',
        [UnicodeCategory.OtherPunctuation] = '\uA874',
        [UnicodeCategory.DashPunctuation] = '\u2E3A',
        [UnicodeCategory.OpenPunctuation] = '\u2E28',
        [UnicodeCategory.ClosePunctuation] = '\u2E29',
        [UnicodeCategory.ConnectorPunctuation] = '\uFE34',
        [UnicodeCategory.MathSymbol] = '\u2AFB',
        [UnicodeCategory.CurrencySymbol] = '\uA838',
        [UnicodeCategory.ModifierSymbol] = '\uA700',
        [UnicodeCategory.OtherSymbol] = '\u4DC0',
        [UnicodeCategory.Format] = '\u206A',
        [UnicodeCategory.PrivateUse] = '\uE000',
        [UnicodeCategory.OtherNotAssigned] = '\u0378',
    };

    private readonly Regex regex;
    private readonly string source;

    /// <exception cref="PermafrostException">It is no regular expression that .NET knows.</exception>
    public RegexPattern(string expression, string source)
    {
        this.source = source;
        const RegexOptions LikeOniguruma = RegexOptions.CultureInvariant | RegexOptions.Multiline | RegexOptions.Compiled;
        try
        {
            if (expression.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')) throw new ArgumentException("it names characters beyond U+FFFF");
            regex = new Regex(expression, LikeOniguruma, Patience);
        }
        catch (ArgumentException error)
        {
            string why = Formats.JsonFile.Reason(error);
            throw new PermafrostException($"{source}: the regular expression '{Short(expression)}' is not known: {why}");
        }
    }

    public override void Find(ReadOnlySpan<char> text, List<(int From, int To)> found)
    {
        bool isPlain = !text.ContainsAnyInRange('\uD800', '\uDFFF');
        int[] places = [];
        if (!isPlain) text = StoodIn(text, out places);
        try
        {
            foreach (ValueMatch match in regex.EnumerateMatches(text))
            {
                (int from, int to) = (match.Index, match.Index + match.Length);
                found.Add(isPlain ? (from, to) : (places[from], places[to]));
            }
        }
        catch (RegexMatchTimeoutException)
        {
            string what = $"'{Short(regex.ToString())}' takes longer than {Patience.TotalSeconds} seconds on a text of {text.Length:N0} characters";
            throw new PermafrostException($"{source}: the regular expression {what}");
        }
    }

    // One unit a character, and where each stands.
    private static char[] StoodIn(ReadOnlySpan<char> text, out int[] places)
    {
        char[] units = new char[text.Length];
        places = new int[text.Length + 1];
        int count = 0;
        for (int at = 0; at < text.Length;)
        {
            if (Rune.DecodeFromUtf16(text[at..], out Rune rune, out int size) != OperationStatus.Done) rune = Rune.ReplacementChar;
            places[count] = at;
            units[count++] = rune.IsBmp ? (char)rune.Value : StandIns.GetValueOrDefault(Rune.GetUnicodeCategory(rune), '\u0378');
            at += size;
        }
        places[count] = text.Length;
        return units[..count];
    }

    private static string Short(string expression) => expression.Length <= 100 ? expression : expression[..100] + "...";
}
