using System.Text.Json;
using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Tasks;

/// <summary>Remote homology (Hou et al. 2018, as in TAPE, Rao et al. 2019): which of 1,195 folds does a protein have?</summary>
public sealed class RemoteHomology : TaskDefinition
{
    private const string Letters = "ABCDEFGHIKLMNOPQRSTUVWXYZ", Fold = "fold";
    private const int Classes = 1195, MostTokens = 1024, CutAt = 512, MostBytes = 512 << 20;

    private static readonly string[] HeldOut = ["fold", "family", "superfamily"];

    /// <inheritdoc/>
    public override string Name => "remote-homology";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "which of 1,195 folds does a protein have? (ids of amino acids; remote-homology@512 cuts at 512, @code has the published code's ids)";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Readings => ["code", "512"];

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: amino acids as ids, 1 to 25 for the letters {Letters} (0 is padding). Proteins of more than {MostTokens:N0} are left out, and how many is said.
                 remote-homology@512: longer ones are cut at {CutAt}, for a body of 512 positions. remote-homology@code: TAPE's 30 ids, [CLS] before and [SEP] behind, and 1,200
                 classes, of which 1,195 occur; unlike there, padding is masked (the published code reads it as the last token of most proteins).
        Output   the fold, read at the last token that is no padding.
        Metrics  accuracy on folds' held-out superfamilies, which is what papers report; family_accuracy and superfamily_accuracy on the two easier test sets
        Splits   TAPE's: 12,312 train, 736 validate, and 718, 1,272 and 1,254 test
        Data     remote_homology_train.json, _valid.json, _test_fold_holdout.json, _test_family_holdout.json and _test_superfamily_holdout.json, as TAPE publishes them; or a
                 part of them: tape_subset_training.tsv, _validation.tsv, _test_fold.tsv, _test_family.tsv, _test_superfamily.tsv (name, class, fold, source, sequence);
                 each plain or .gz
        Baselines   majority class; nearest_kmers: the fold of the training protein that shares the most runs of three letters
        Source   Rao et al. 2019, arXiv 1906.08230; Lu et al. 2021, arXiv 2103.05247 (which multiplies its accuracies by the share of proteins that are not left out)
        """;

    /// <inheritdoc/>
    public override string InputFormat => "text: a protein a line, or a FASTA file called .fasta or .fa";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        string folder = DataHome.Find("remote_homology", options.DataPath);
        string nested = Path.Combine(folder, "remote_homology");
        if (Directory.Exists(nested)) folder = nested;
        bool isPart = Directory.EnumerateFiles(folder, "tape_subset_training.tsv*").Any() && !Directory.EnumerateFiles(folder, "remote_homology_train.json*").Any();
        Protein[] Read(string json, string tsv) => isPart ? OfTable(folder, tsv) : OfJson(folder, json);
        Protein[] train = Read("remote_homology_train.json", "tape_subset_training.tsv"), validation = Read("remote_homology_valid.json", "tape_subset_validation.tsv");
        Protein[][] test = [.. HeldOut.Select(level => Read($"remote_homology_test_{level}_holdout.json", $"tape_subset_test_{level}.tsv"))];
        bool code = options.Reading == "code";
        int most = options.Reading == "512" ? CutAt : MostTokens - (code ? 2 : 0);
        var notes = new List<string>();
        Protein[] Kept(string split, Protein[] all)
        {
            Protein[] fitting = options.Reading == "512" ? all : [.. all.Where(protein => protein.Sequence.Length <= most)];
            int cut = fitting.Count(protein => protein.Sequence.Length > most), left = all.Length - fitting.Length;
            string of = FormattableString.Invariant($"of {all.Length:N0} {split} proteins are longer than {most:N0} and");
            if (left > 0) notes.Add(FormattableString.Invariant($"{left:N0} {of} left out"));
            if (cut > 0) notes.Add(FormattableString.Invariant($"{cut:N0} {of} were cut"));
            return fitting;
        }
        Protein[] training = Kept("training", train);
        if (training.Length == 0) throw new PermafrostException($"{folder}: no training protein has at most {most:N0} amino acids");
        int length = Math.Min(most, new[] { training, validation }.Concat(test).SelectMany(split => split).Max(protein => protein.Sequence.Length)) + (code ? 2 : 0);
        var spec = new TaskSpec(new IdInput(code ? 30 : Letters.Length + 1, length), new ClassOutput(code ? 1200 : Classes))
        {
            Metrics = [MetricInfo.Accuracy with { Over = Fold }, .. HeldOut[1..].Select(level => MetricInfo.Accuracy with { Name = $"{level}_accuracy", Over = level })],
            Preprocessing = new Dictionary<string, string>
            {
                ["input"] = "letters of amino acids",
                ["token"] = code ? $"2 before and 3 behind; 5 and on for {Letters}; 4 for others; 0 is padding" : $"1 and on for {Letters}; X for others; 0 is padding",
            },
        };
        Proteins Split((string Level, Protein[] Proteins)[] parts) => new(
            [.. parts.SelectMany(part => part.Proteins.Select(protein => Ids(protein.Sequence, code, most)))],
            [.. parts.SelectMany(part => part.Proteins.Select(protein => protein.Class))],
            [.. parts.SelectMany(part => part.Proteins.Select(_ => part.Level))]);
        return new TaskData(
            spec, Split([(Fold, training)]), Split([(Fold, Kept("validation", validation))]),
            Split([.. HeldOut.Zip(test, (level, proteins) => (level, Kept($"{level} test", proteins)))]))
        { Notes = notes };
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string>? Words(TaskSpec spec)
    {
        string[] letters = [.. Letters.Select(letter => $"{letter}")];
        return ((IdInput)spec.Input).Vocabulary == 30 ? ["", "", "", "", "X", .. letters] : ["", .. letters];
    }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, double> OwnBaselines(TaskData data)
    {
        var train = (Proteins)data.Train;
        var test = (Proteins)data.Test!;
        // Which training proteins have a run of three letters.
        var places = new Dictionary<(long, long, long), List<int>>();
        for (int i = 0; i < train.Ids.Length; i++)
        {
            foreach ((long, long, long) run in Runs(train.Ids[i]))
            {
                if (!places.TryGetValue(run, out List<int>? own)) places[run] = own = [];
                own.Add(i);
            }
        }
        double[] sizes = [.. train.Ids.Select(ids => (double)Runs(ids).Count)];
        (double right, double all) = (0, 0);
        for (int i = 0; i < test.Ids.Length; i++)
        {
            if (test.Levels[i] != Fold) continue;
            HashSet<(long, long, long)> runs = Runs(test.Ids[i]);
            var shared = new Dictionary<int, int>();
            foreach (int neighbour in runs.SelectMany(run => places.GetValueOrDefault(run) ?? [])) shared[neighbour] = shared.GetValueOrDefault(neighbour) + 1;
            all++;
            if (shared.Count == 0) continue;
            int nearest = shared.MaxBy(pair => (pair.Value / (runs.Count + sizes[pair.Key] - pair.Value), -pair.Key)).Key;
            if (train.Folds[nearest] == test.Folds[i]) right++;
        }
        return new Dictionary<string, double> { ["nearest_kmers"] = right / Math.Max(1, all) };
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        bool code = options.Reading == "code";
        int most = spec.Input.Length - (code ? 2 : 0);
        Proteins Rows(IReadOnlyList<long[]> rows) => new([.. rows], [.. rows.Select(_ => -100L)], [.. rows.Select(_ => Fold)]);
        if (FastaFile.Is(path)) return FastaFile.Read(path).Chunk(partSize).Select(part => Rows([.. part.Select(record => Parsed(record.Where, record.Sequence))]));
        return TextLines.Parts(path, partSize, InputFormat, (number, line) => Parsed(TextLines.Name(path, number), line), Rows);

        long[] Parsed(string where, string line)
        {
            if (line[0] == '>') throw new PermafrostException($"{where}: a heading of a FASTA file, which is read as one where its name ends with .fasta or .fa");
            string sequence = line.Trim().ToUpperInvariant();
            Check(where, sequence);
            if (sequence.Length > most) throw new PermafrostException($"{where}: {sequence.Length} amino acids, more than the {most} of the run's proteins; cut it to as many");
            return Ids(sequence, code, most);
        }
    }

    private static HashSet<(long, long, long)> Runs(long[] ids) => [.. Enumerable.Range(0, Math.Max(0, ids.Length - 2)).Select(i => (ids[i], ids[i + 1], ids[i + 2]))];

    private static long[] Ids(string sequence, bool code, int most)
    {
        IEnumerable<long> letters = sequence.Take(most).Select(letter => (long)Letters.IndexOf(letter, StringComparison.Ordinal));
        // J stands for one of two amino acids, and has no id: it is unknown in TAPE, and X here.
        return code ? [2, .. letters.Select(at => at < 0 ? 4 : at + 5), 3] : [.. letters.Select(at => at < 0 ? Letters.IndexOf('X', StringComparison.Ordinal) + 1 : at + 1)];
    }

    private static void Check(string where, string sequence)
    {
        int wrong = sequence.AsSpan().IndexOfAnyExceptInRange('A', 'Z');
        if (wrong >= 0) throw new PermafrostException($"{where}: '{sequence[wrong]}' at {wrong + 1} is not a letter of an amino acid");
        if (sequence.Length == 0) throw new PermafrostException($"{where}: the protein is empty");
    }

    private static Protein Checked(string where, string sequence, long fold)
    {
        Check(where, sequence);
        return fold is >= 0 and < Classes ? new Protein(sequence, fold) : throw new PermafrostException($"{where}: the class {fold} is not among 0 to {Classes - 1}");
    }

    private static Protein[] OfTable(string folder, string name) => [.. TextLines.OfDataSet(folder, name).Select(line =>
    {
        string[] fields = line.Line.Split('\t');
        return fields.Length == 5 && long.TryParse(fields[1], out long fold) ? Checked(line.Where, fields[4].Trim(), fold)
            : throw new PermafrostException($"{line.Where}: not a name, a class, a fold, a source and a sequence with tabs between");
    })];

    // A list of objects, of which `primary` and `fold_label` are read.
    private static Protein[] OfJson(string folder, string name)
    {
        string path = Data.Csv.DataSetTable.Find(folder, name);
        try
        {
            using Stream stream = Gzip.Unpacked(File.OpenRead(path));
            using var content = new MemoryStream();
            var buffer = new byte[1 << 16];
            for (int read; (read = stream.Read(buffer)) > 0;)
            {
                content.Write(buffer, 0, read);
                if (content.Length > MostBytes) throw new PermafrostException($"{path} is longer than any file of TAPE, {MostBytes >> 20} MiB");
            }
            using var json = JsonDocument.Parse(content.GetBuffer().AsMemory(0, (int)content.Length));
            return [.. json.RootElement.EnumerateArray().Select((protein, number) =>
                Checked($"{path}, protein {number}", protein.GetProperty("primary").GetString() ?? "", protein.GetProperty("fold_label").GetInt64()))];
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or KeyNotFoundException or FormatException or InvalidDataException)
        {
            throw new PermafrostException($"{path} is no list of proteins with `primary` and `fold_label`: {JsonFile.Reason(error)}");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    private readonly record struct Protein(string Sequence, long Class);

    private sealed class Proteins(long[][] ids, long[] folds, string[] levels) : IDataset
    {
        public long[][] Ids => ids;

        public long[] Folds => folds;

        public string[] Levels => levels;

        public long? Count => ids.Length;

        public IReadOnlyList<int> Lengths => [.. ids.Select(row => row.Length)];

        public Batch Get(ReadOnlySpan<long> indices)
        {
            long[] chosen = indices.ToArray();
            (Tensor inputs, Tensor mask) = IdBatch.Of([.. chosen.Select(index => ids[index])]);
            var subsets = new Dictionary<string, Tensor>();
            string[] own = [.. chosen.Select(index => levels[index])];
            foreach (string level in HeldOut) subsets[level] = Tensors.From([.. own.Select(of => of == level ? 1L : 0)], own.Length, 1);
            return new Batch(inputs, Tensors.From([.. chosen.Select(index => folds[index])], own.Length, 1), mask) { Subsets = subsets };
        }
    }
}
