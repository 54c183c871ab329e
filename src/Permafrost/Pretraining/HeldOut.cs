using System.Globalization;
using System.IO.Enumeration;

namespace Permafrost.Pretraining;

/// <summary>
/// What is never trained on: <c>NAME</c> is a file, with its folders or without, or a document, where <c>*</c> and <c>?</c> stand for other characters; <c>NAME:5%</c> are those
/// of its documents whose hash is among the lowest 5 % of all hashes, so that the choice follows from the texts alone.
/// </summary>
public sealed record HeldOut
{
    private readonly string pattern;

    private HeldOut(string text, string pattern, double share) => (Text, this.pattern, Share) = (text, pattern, share);

    /// <summary>As it was written.</summary>
    public string Text { get; }

    /// <summary>The share of the documents, from 0 to 1.</summary>
    public double Share { get; }

    /// <summary>Reads a rule.</summary>
    /// <exception cref="UsageException">It is none.</exception>
    public static HeldOut Parse(string text)
    {
        string pattern = text;
        double share = 1;
        int colon = text.LastIndexOf(':');
        if (text.EndsWith('%'))
        {
            bool number = double.TryParse(text.AsSpan(Math.Max(0, colon + 1))[..^1], NumberStyles.Float, CultureInfo.InvariantCulture, out double percent);
            if (colon < 0 || !number || percent is not (> 0 and < 100))
                throw new UsageException($"`held_out` {text}: write NAME, or NAME:5% for a share of its documents, more than 0 and less than 100 %");
            (pattern, share) = (text[..colon], percent / 100);
        }
        return pattern.Length > 0 ? new HeldOut(text, pattern, share) : throw new UsageException($"`held_out` {text} names no file and no document; * stands for all");
    }

    /// <summary>Whether a document is held out by this rule.</summary>
    public bool Takes(CorpusFile file, CorpusDocument document)
    {
        if (!Matches(file) && !Matches(document.Name)) return false;
        ulong place = ulong.Parse(document.Sha256.AsSpan(0, 16), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        return Share >= 1 || place < Share * 18446744073709551616.0;
    }

    /// <summary>Whether the rule speaks of a file.</summary>
    public bool Matches(CorpusFile file) => Matches(file.Name) || Matches(file.BareName);

    /// <summary>Whether the rule speaks of a document of this name.</summary>
    public bool Matches(string name) => FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: false);
}
