using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>What tasks of texts have in common: a tokenizer, and an input is a line.</summary>
public abstract class TextContract : TaskContract
{
    private static readonly string[] Syllables = ["ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru"];

    protected override TaskOptions With(TaskOptions options) => options with { Tokenizer = () => SmallTokenizer.Instance, MaxLength = 60 };

    // Words that are cut into letters, and joined again.
    protected override string Line(Batch example) => SmallTokenizer.Instance.Decode([.. example.Inputs.ToArray<long>().Select(id => (int)id)]);

    /// <summary>Texts that are all different.</summary>
    private protected static IEnumerable<string> Texts(int first, int count) =>
        Enumerable.Range(first, count).Select(i => $"{Syllables[i % 10]}{Syllables[i / 10 % 10]} {Syllables[i / 100 % 10]}{Syllables[i * 7 % 10]}");

    /// <summary>Writes lines into a file of the data's folder.</summary>
    private protected void Write(string name, IEnumerable<string> lines) => Folder.Write(Path.Combine("data", name), string.Join('\n', lines) + "\n");
}

/// <summary>Word kinds keeps every task's promises.</summary>
public class WordKindsContract : TextContract
{
    protected internal override string Name => "word-kinds";

    protected override Dictionary<string, string> Settings => new() { ["words_per_kind"] = "5" };
}

/// <summary>SST-2 keeps every task's promises, on sentences that mean nothing.</summary>
public class Sst2Contract : TextContract
{
    protected internal override string Name => "sst2";

    private protected virtual string Training => "sentence_train.tsv";

    protected override string MakeData()
    {
        IEnumerable<string> Labelled(int first, int count) => Texts(first, count).Select((text, i) => $"{text}\t{i * i % 3 % 2}");
        Write(Training, Labelled(0, 80));
        Write("sentence_dev.tsv", Labelled(100, 30));
        Write("sentence_test.tsv", Labelled(200, 30));
        return Folder["data"];
    }
}

/// <summary>So does the reading that trains on phrases.</summary>
public class Sst2PhrasesContract : Sst2Contract
{
    protected internal override string Name => "sst2@phrases";

    private protected override string Training => "phrase_binary_train.txt";
}

/// <summary>TREC keeps every task's promises, on questions that mean nothing.</summary>
public class TrecContract : TextContract
{
    private static readonly string[] Classes = ["LOC:city", "NUM:date", "HUM:ind", "DESC:def", "ENTY:food", "ABBR:exp"];

    protected internal override string Name => "trec";

    protected override string MakeData()
    {
        IEnumerable<string> Labelled(int first, int count) => Texts(first, count).Select((text, i) => $"{Classes[i * i % 7 % 6]} {text}");
        Write("train_5500.label", Labelled(0, 250));
        Write("TREC_10.label", Labelled(300, 30));
        return Folder["data"];
    }
}

/// <summary>So does the reading with finer classes.</summary>
public class FineTrecContract : TrecContract
{
    protected internal override string Name => "trec@fine";
}

/// <summary>A table of texts keeps every task's promises.</summary>
public class CsvContract : TextContract
{
    protected internal override string Name => "csv";

    protected override TaskOptions With(TaskOptions options) => base.With(options) with { TextColumn = "text", LabelColumn = "label", TestFraction = 0.2 };

    protected override string MakeData()
    {
        Write("table.csv", Texts(0, 200).Select((text, i) => $"{text},{"xyz"[i * i % 3]}").Prepend("text,label"));
        return Folder["data", "table.csv"];
    }
}
