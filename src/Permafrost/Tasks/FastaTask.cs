using System.Buffers;
using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>Proteins or nucleic acids of one's own in a FASTA file, with a label or a number each.</summary>
public sealed class FastaTask : TaskDefinition
{
    private const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ*-";
    private const int MostTokens = 1024;

    private static readonly SearchValues<char> Known = SearchValues.Create(Letters);

    /// <inheritdoc/>
    public override string Name => "fasta";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override bool ReadsTables => true;

    /// <inheritdoc/>
    internal override bool NamesColumns => false;

    /// <inheritdoc/>
    public override string Summary => "your own proteins or nucleic acids in a FASTA file, with labels";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    fasta: the letters of a sequence, upper or lower case, as ids from 1 for {Letters}; 0 is padding. Sequences of more than {MostTokens:N0} letters, or than the
                 body's positions, are cut at the end, and how many is said.
        Output   the label, in the order of its characters; with task_options.answer number (default class) a number, with answer labels any
                 number of labels with task_options.label_separator (;) between (micro_f1, macro_f1, exact_match). Read as the mean over the tokens.
        Splits   `validation_data` and `test_data` name files of the same form; where one is not given, `validation_fraction` and `test_fraction` of the sequences of every label
                 are held out of `data`, the same for every run. (Relatives may then be in two splits: give files of your own where that matters.)
        Data     `data`: a FASTA file, plain or .gz; a heading is > and a name, which no two sequences have, and the label is its last word: >P12345 kinase. Or task_options.labels
                 names a file of names and labels, with a tab between
        Baselines   majority class, or mean for numbers; beside a run a linear model of k-mers
        """;

    /// <inheritdoc/>
    public override string InputFormat => "text: a file called .fasta or .fa, or in any other file a sequence a line";

    /// <inheritdoc/>
    public override IReadOnlyList<string>? Words(TaskSpec spec) => ["", .. Letters.Select(letter => $"{letter}")];

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name, "answer", MultiLabels.Setting, "labels");
        Dictionary<string, string>? labels = options.Settings?.GetValueOrDefault("labels") is { } path ? Labels(path) : null;
        OwnSplits<string> splits = OwnSplits<string>.Of(this, options, file => Labelled(file, labels));
        OwnExample<string>[][] all = [splits.Train, splits.Validation, splits.Test];
        int most = Math.Min(MostTokens, options.LongestInput() ?? MostTokens), longest = all.SelectMany(split => split).Max(example => example.Input.Length);
        int length = options.Trained?.Input.Length ?? Math.Min(most, longest), cut = all.SelectMany(split => split).Count(example => example.Input.Length > length);
        var spec = new TaskSpec(new IdInput(Letters.Length + 1, length), splits.Output)
        {
            Readout = "mean",
            Preprocessing = new Dictionary<string, string> { ["input"] = "letters of a sequence", ["token"] = $"1 and on for {Letters}; 0 is padding; at most {length}" },
        };
        IdRows? Split(OwnExample<string>[] split) => split.Length == 0 ? null
            : new IdRows([.. split.Select(example => Ids(example.Input, length))], chosen => splits.Targets([.. chosen.Select(row => split[row])]));
        int count = all.Sum(split => split.Length);
        string[] notes = cut == 0 ? [] : [FormattableString.Invariant($"{cut:N0} of {count:N0} sequences have more than {length:N0} letters and were cut")];
        return new TaskData(spec, Split(splits.Train)!, Split(splits.Validation), Split(splits.Test)) { Notes = [.. splits.Notes, .. notes] };
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        IdRows Rows(IReadOnlyList<string> sequences) =>
            new([.. sequences.Select(sequence => Ids(sequence, spec.Input.Length))], chosen => OwnSplits<string>.Unknown(spec.Output, chosen.Length));
        string Fitting(string where, string sequence)
        {
            string letters = Checked(where, sequence);
            return letters.Length <= spec.Input.Length ? letters
                : throw new PermafrostException($"{where}: {letters.Length:N0} letters, more than the {spec.Input.Length:N0} of the run's sequences; cut it to as many");
        }
        if (FastaFile.Is(path)) return FastaFile.Read(path).Chunk(partSize).Select(part => Rows([.. part.Select(record => Fitting(record.Where, record.Sequence))]));
        return TextLines.Parts(path, partSize, InputFormat, (number, line) => Fitting(TextLines.Name(path, number), line), Rows);
    }

    private static OwnExample<string>[] Labelled(string path, Dictionary<string, string>? labels) => [.. FastaFile.Read(path).Select(record =>
    {
        string[] words = record.Heading.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
        string? label = labels is null ? (words.Length > 1 ? words[^1] : null) : labels.GetValueOrDefault(words[0]);
        string why = labels is null ? "its heading has no label behind the name" : "task_options.labels has no label for it";
        return label is null ? throw new PermafrostException($"{record.Where}: {why}")
            : new OwnExample<string>(Checked(record.Where, record.Sequence), label, record.Where);
    })];

    private static string Checked(string where, string sequence)
    {
        string upper = sequence.Trim().ToUpperInvariant();
        int wrong = upper.AsSpan().IndexOfAnyExcept(Known);
        return wrong < 0 ? upper : throw new PermafrostException($"{where}: '{upper[wrong]}' at {wrong + 1} is not a letter of a sequence");
    }

    private static long[] Ids(string sequence, int most) => [.. sequence.Take(most).Select(letter => (long)Letters.IndexOf(letter, StringComparison.Ordinal) + 1)];

    private static Dictionary<string, string> Labels(string path)
    {
        var labels = new Dictionary<string, string>();
        foreach ((int number, string line) in TextLines.Of(path))
        {
            string[] fields = line.Split('\t', StringSplitOptions.TrimEntries);
            if (fields is not [{ Length: > 0 }, { Length: > 0 }]) throw new PermafrostException($"{TextLines.Name(path, number)}: not a name and a label with a tab between");
            if (!labels.TryAdd(fields[0], fields[1])) throw new PermafrostException($"{TextLines.Name(path, number)}: the name {fields[0]} appears twice");
        }
        return labels;
    }
}
