using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>
/// SST-2 (Socher et al. 2013): is a sentence of a film review positive or negative? The plain name trains on whole sentences, <c>sst2@phrases</c> on GLUE's phrases of them.
/// </summary>
public sealed class Sst2 : TextTask
{
    private static readonly string[] Labels = ["negative", "positive"];

    /// <inheritdoc/>
    public override string Name => "sst2";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "is a sentence of a film review positive or negative? (texts; sst2@phrases trains on GLUE's phrases)";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Readings => ["phrases"];

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: a sentence, lower case and split at blanks, through the backbone's own tokenizer and token table; read as the mean over its tokens.
        Output   negative or positive.
        Splits   6,920 sentences train, 872 validate and 1,821 test: the published ones. sst2@phrases trains on the 67,349 phrases of GLUE's training file, with the same
                 validation and test sentences. (GLUE hides the labels of its own test split; these are the labels of the original treebank.)
                 Two of the test sentences are also among the training ones, five among the phrases.
        Data     sentence_train.tsv, sentence_dev.tsv, sentence_test.tsv, and for sst2@phrases phrase_binary_train.txt instead of the first; each plain or .gz; a line is a
                 text, a tab, and 0 (negative) or 1 (positive). The sentence files have their punctuation simplified, the phrases keep theirs.
        Baselines   majority class; beside a run a linear model of n-grams and a linear probe of the same body
        Source   Socher et al. 2013, Recursive deep models for semantic compositionality; Wang et al. 2019, arXiv 1804.07461 (GLUE)
        """;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        string folder = DataHome.Find("sst2", options.DataPath);
        // GLUE's own file of phrases begins with the names of its columns.
        LabelledText[] Split(string file) => [.. TextLines.OfDataSet(folder, file).Where(line => line.Line != "sentence\tlabel").Select(line => Parse(line.Where, line.Line))];
        string train = options.Reading == "phrases" ? "phrase_binary_train.txt" : "sentence_train.tsv";
        return Make(options, Labels, Split(train), Split("sentence_dev.tsv"), Split("sentence_test.tsv"));
    }

    private static LabelledText Parse(string where, string line)
    {
        int tab = line.LastIndexOf('\t');
        return tab > 0 && line[(tab + 1)..] is "0" or "1" && !line.AsSpan(0, tab).IsWhiteSpace() ? new LabelledText(line[..tab].Trim(), line[^1] - '0', where)
            : throw new PermafrostException($"{where}: not a text, a tab, and 0 or 1");
    }
}
