using System.Text.Json;
using Permafrost.Data;
using Permafrost.Formats;

namespace Permafrost.Tasks;

/// <summary>MultiNLI (Williams et al. 2018): does the first sentence entail the second, contradict it, or neither? Tay et al. 2021 name it as what convolutions fail at.</summary>
public sealed class MultiNli : PairTask
{
    // Of the first sentences, in percent.
    private const int HeldOut = 2;

    private const string Prefix = "multinli_1.0_", Undecided = "-";

    private static readonly string[] Labels = ["entailment", "neutral", "contradiction"];

    /// <inheritdoc/>
    public override string Name => "multinli";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "does the first sentence entail the second, contradict it, or neither? (pairs of texts; multinli@mismatched: other genres test)";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Readings => ["mismatched"];

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: premise and hypothesis through the backbone's own tokenizer and token table, with the token between that ends a text ([SEP], </s>; a line end where there
                 is none); read as the mean over the tokens. Segment ids are not fed.
        Output   {string.Join(", ", Labels)}. Pairs whose readers did not agree (gold label -) are left out, and how many is said.
        Splits   {HeldOut} % of the different premises validate, with all their hypotheses, the same for every run, and the others train (the published file has 392,702 pairs).
                 The published dev_matched tests (its own test labels are not public), or with multinli@mismatched dev_mismatched, of genres that training does not have.
        Data     {Prefix}train, {Prefix}dev_matched and {Prefix}dev_mismatched, as .jsonl or .txt (tabs, with a header), each plain or .gz
        Baselines   majority class; beside a run a linear model of n-grams, which knows no pair, and a linear probe of the same body
        Source   Williams, Nangia and Bowman 2018, arXiv 1704.05426; Tay et al. 2021, arXiv 2105.03322, section 5
        """;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        string folder = DataHome.Find("multinli", options.DataPath);
        string nested = Path.Combine(folder, "multinli_1.0");
        if (Directory.Exists(nested)) folder = nested;
        int undecided = 0;
        TextPair[] Split(string name)
        {
            TextPair?[] rows = [.. Read(folder, Prefix + name)];
            undecided += rows.Count(row => row is null);
            return [.. rows.OfType<TextPair>()];
        }
        (TextPair[] train, TextPair[] validation) = HoldOutGroups(Split("train"), HeldOut);
        TaskData data = MakePairs(options, Labels, train, validation, Split(options.Reading == "mismatched" ? "dev_mismatched" : "dev_matched"));
        string left = FormattableString.Invariant($"{undecided:N0} pair(s) whose readers did not agree are left out");
        return undecided == 0 ? data : data with { Notes = [left, .. data.Notes] };
    }

    // Null stands for a pair that nobody decided.
    private static IEnumerable<TextPair?> Read(string folder, string name)
    {
        bool isTable = !Exists(folder, name + ".jsonl") && Exists(folder, name + ".txt");
        return isTable ? OfTable(folder, name + ".txt") : TextLines.OfDataSet(folder, name + ".jsonl").Select(line => Parse(line.Where, line.Line));
    }

    private static bool Exists(string folder, string name) => File.Exists(Path.Combine(folder, name)) || File.Exists(Path.Combine(folder, name + ".gz"));

    private static IEnumerable<TextPair?> OfTable(string folder, string name)
    {
        int[]? places = null;
        foreach ((string where, string line) in TextLines.OfDataSet(folder, name))
        {
            string[] fields = line.Split('\t');
            if (places is null)
            {
                places = [.. new[] { "gold_label", "sentence1", "sentence2" }.Select(column => Array.IndexOf(fields, column))];
                if (places.Contains(-1)) throw new PermafrostException($"{where}: not a header with gold_label, sentence1 and sentence2");
                continue;
            }
            if (fields.Length <= places.Max()) throw new PermafrostException($"{where}: {fields.Length} columns, fewer than the header says");
            yield return Pair(where, fields[places[0]], fields[places[1]], fields[places[2]]);
        }
    }

    private static TextPair? Parse(string where, string line)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            string Text(string key) => json.RootElement.GetProperty(key).GetString() ?? "";
            return Pair(where, Text("gold_label"), Text("sentence1"), Text("sentence2"));
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new PermafrostException($"{where}: not a JSON object with gold_label, sentence1 and sentence2: {JsonFile.Reason(error)}");
        }
    }

    private static TextPair? Pair(string where, string label, string first, string second)
    {
        if (label == Undecided) return null;
        (int at, first, second) = (Array.IndexOf(Labels, label), first.Trim(), second.Trim());
        if (at < 0) throw new PermafrostException($"{where}: '{label}' is none of {string.Join(", ", Labels)} and {Undecided}");
        return first.Length > 0 && second.Length > 0 ? new TextPair(first, second, at, first, where) : throw new PermafrostException($"{where}: a sentence is empty");
    }
}
