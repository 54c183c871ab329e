using System.Text;
using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>TREC questions (Li and Roth 2002): what kind of answer does a question ask for? Six coarse classes, or, as <c>trec@fine</c>, their fifty finer ones.</summary>
public sealed class Trec : TextTask
{
    // Of the training questions, in percent.
    private const int HeldOut = 10;

    private static readonly string[] Coarse = ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"];

    /// <inheritdoc/>
    public override string Name => "trec";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "what kind of answer does a question ask for: 6 classes (texts; trec@fine: 50)";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Readings => ["fine"];

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: a question, split at blanks, through the backbone's own tokenizer and token table; read as the mean over its tokens.
        Output   what is asked for: {string.Join(", ", Coarse)} (abbreviation, description, entity, human, location, number).
                 trec@fine: the finer classes that the training file has, such as LOC:city (50 in the published one, 42 of which occur in its test file).
        Splits   {HeldOut} % of the different questions of the training file validate, the same for every run, and the others train (the published file has 5,452 questions,
                 some of them twice: both go to one split); the published 500 test, ten of which are also among the training questions.
        Data     train_5500.label and TREC_10.label, each plain or .gz, in Latin-1; a line is COARSE:fine, a space, and the question
        Baselines   majority class; beside a run a linear model of n-grams and a linear probe of the same body
        Source   Li and Roth 2002, Learning question classifiers
        """;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        string folder = DataHome.Find("trec", options.DataPath);
        bool fine = options.Reading == "fine";
        Question[] Read(string file) => [.. TextLines.OfDataSet(folder, file, Encoding.Latin1).Select(line => Parse(line.Where, line.Line))];
        Question[] all = Read("train_5500.label"), test = Read("TREC_10.label");
        string[] labels = fine ? [.. all.Select(question => question.Fine).Distinct().Order(StringComparer.Ordinal)] : Coarse;
        LabelledText Labelled(Question question)
        {
            int at = Array.IndexOf(labels, fine ? question.Fine : question.Fine.Split(':')[0]);
            return at >= 0 ? new LabelledText(question.Text, at, question.Where)
                : throw new PermafrostException($"{question.Where}: no question to train on is of the class {question.Fine}");
        }
        (LabelledText[] train, LabelledText[] validation) = HoldOut(Name, [.. all.Select(Labelled)], HeldOut);
        return Make(options, labels, train, validation, [.. test.Select(Labelled)]);
    }

    private static Question Parse(string where, string line)
    {
        int space = line.IndexOf(' ', StringComparison.Ordinal);
        string label = space < 0 ? "" : line[..space], text = space < 0 ? "" : line[(space + 1)..].Trim();
        bool known = label.Split(':') is [var coarse, { Length: > 0 }] && Coarse.Contains(coarse);
        return known && text.Length > 0 ? new Question(text, label, where)
            : throw new PermafrostException($"{where}: not a class such as LOC:city ({string.Join(", ", Coarse)}), a space and a question");
    }

    private sealed record Question(string Text, string Fine, string Where);
}
