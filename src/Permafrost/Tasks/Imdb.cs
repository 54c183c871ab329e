using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>IMDb (Maas et al. 2011): is a film review positive or negative?</summary>
public sealed class Imdb : TextTask
{
    // Of the training texts, in percent.
    private const int HeldOut = 5;

    private static readonly string[] Labels = ["negative", "positive"];

    /// <inheritdoc/>
    public override string Name => "imdb";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "is a film review positive or negative? (long texts)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: a review, its line breaks (<br />) as blanks, through the backbone's own tokenizer and token table; read as the mean over its tokens. Reviews have
                 230 words on average and up to 2,500: `max_length` says where they are cut.
        Output   negative (at most 4 of 10 stars) or positive (at least 7).
        Splits   {HeldOut} % of the different training reviews validate, the same for every run, and the others train (the published set has 25,000); the published 25,000 test.
        Data     the folder aclImdb with train/pos, train/neg, test/pos and test/neg, a review a file; or train.tsv and test.tsv, each plain or .gz: 0 or 1, stars, number, text
        Baselines   majority class; beside a run a linear model of n-grams and a linear probe of the same body
        Source   Maas et al. 2011, Learning word vectors for sentiment analysis; Tay et al. 2021, arXiv 2105.03322
        """;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        string folder = DataHome.Find("imdb", options.DataPath);
        string nested = Path.Combine(folder, "aclImdb");
        if (Directory.Exists(nested)) folder = nested;
        LabelledText[] Split(string name) => Directory.Exists(Path.Combine(folder, name)) ? Files(Path.Combine(folder, name))
            : [.. TextLines.OfDataSet(folder, $"{name}.tsv").Select(line => Parse(line.Where, line.Line))];
        (LabelledText[] train, LabelledText[] validation) = HoldOut(Name, Split("train"), HeldOut);
        return Make(options, Labels, train, validation, Split("test"));
    }

    private static LabelledText[] Files(string folder)
    {
        var texts = new List<LabelledText>();
        foreach ((string name, long label) in new[] { ("neg", 0L), ("pos", 1L) })
        {
            string own = Path.Combine(folder, name);
            if (!Directory.Exists(own)) throw new PermafrostException($"{folder} has no folder {name}, whose files are the reviews");
            foreach (string file in Directory.EnumerateFiles(own, "*.txt").Order(StringComparer.Ordinal))
                texts.Add(new LabelledText(Plain(string.Join(' ', TextLines.Of(file).Select(line => line.Line))), label, file));
        }
        return texts.Count > 0 ? [.. texts] : throw new PermafrostException($"{folder} holds no reviews (neg/*.txt, pos/*.txt)");
    }

    private static LabelledText Parse(string where, string line)
    {
        string[] fields = line.Split('\t', 4);
        return fields is ["0" or "1", _, _, { Length: > 0 } text] ? new LabelledText(Plain(text), fields[0][0] - '0', where)
            : throw new PermafrostException($"{where}: not 0 or 1, stars, a number and a text with tabs between");
    }

    private static string Plain(string text) => text.Replace("<br />", " ", StringComparison.Ordinal);
}
