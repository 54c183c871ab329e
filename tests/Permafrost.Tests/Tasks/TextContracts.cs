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

/// <summary>AG News keeps every task's promises, on news that mean nothing.</summary>
public class AgNewsContract : TextContract
{
    protected internal override string Name => "ag-news";

    protected override string MakeData()
    {
        IEnumerable<string> Labelled(int first, int count) => Texts(first, count).Select((text, i) => $"\"{i * i % 7 % 4 + 1}\",\"{text.Split(' ')[0]}\",\"{text.Split(' ')[1]}\"");
        Write("train.csv", Labelled(0, 250));
        Write("test.csv", Labelled(300, 30));
        return Folder["data"];
    }
}

/// <summary>IMDb keeps every task's promises, on reviews that mean nothing.</summary>
public class ImdbContract : TextContract
{
    protected internal override string Name => "imdb";

    protected override string MakeData()
    {
        IEnumerable<string> Labelled(int first, int count) => Texts(first, count).Select((text, i) => $"{i * i % 3 % 2}\t{1 + i % 9}\t{i}\t{text}");
        Write("train.tsv", Labelled(0, 250));
        Write("test.tsv", Labelled(300, 30));
        return Folder["data"];
    }
}

/// <summary>Wikipedia's toxic comments keep every task's promises.</summary>
public class WikiToxicContract : TextContract
{
    protected internal override string Name => "wiki-toxic";

    protected override Dictionary<string, string> Settings => new() { ["f1_class"] = "fine" };

    protected override string MakeData()
    {
        IEnumerable<(string Text, int Label)> Labelled(int first, int count) => Texts(first, count).Select((text, i) => (text, i * i % 3 % 2));
        Write("train.csv", Labelled(0, 250).Select((row, i) => $"t{i},\"{row.Text}\",{row.Label},0,0,0,0,0").Prepend("id,comment_text,toxic,severe_toxic,obscene,threat,insult,identity_hate"));
        Write("test.csv", Labelled(300, 40).Select((row, i) => $"{i},\"{row.Text}\"").Prepend("id,comment_text"));
        Write("test_labels.csv", Labelled(300, 40).Select((row, i) => $"{i},{(i % 4 == 3 ? -1 : row.Label)},0,0,0,0,0").Prepend("id,toxic,severe_toxic,obscene,threat,insult,identity_hate"));
        return Folder["data"];
    }
}

/// <summary>Civil Comments keeps every task's promises.</summary>
public class CivilCommentsContract : TextContract
{
    protected internal override string Name => "civil-comments";

    protected override Dictionary<string, string> Settings => new() { ["threshold"] = "0.4" };

    protected override string MakeData()
    {
        IEnumerable<string> Labelled(int first, int count) => Texts(first, count).Select((text, i) => $"{i},{i * i % 5 / 4.0},\"{text}\"").Prepend("id,target,comment_text");
        Write("train.csv", Labelled(0, 250));
        Write("test.csv", Labelled(300, 30));
        return Folder["data"];
    }
}

/// <summary>So does the paper's reading, with comments for validation in a file of their own.</summary>
public class CivilCommentsPaperContract : CivilCommentsContract
{
    protected internal override string Name => "civil-comments@paper";

    protected override Dictionary<string, string> Settings => [];

    protected override string MakeData()
    {
        string folder = base.MakeData();
        Write("validation.csv", Texts(500, 30).Select((text, i) => $"{i % 3 / 2.0},\"{text}\"").Prepend("toxicity,text"));
        return folder;
    }
}

/// <summary>Sentiment140 keeps every task's promises, on tweets that mean nothing.</summary>
public class Sentiment140Contract : TextContract
{
    protected internal override string Name => "sentiment140";

    protected override string MakeData()
    {
        IEnumerable<string> Labelled(int first, int count, int labels) =>
            Texts(first, count).Select((text, i) => $"\"{new[] { 0, 4, 2 }[i * i % 7 % labels]}\",\"{i}\",\"Mon\",\"NO_QUERY\",\"somebody\",\"{text}\"");
        Write("training.1600000.processed.noemoticon.csv", Labelled(0, 900, 2));
        Write("testdata.manual.2009.06.14.csv", Labelled(920, 60, 3));
        return Folder["data"];
    }
}

/// <summary>So does the paper's reading, whose test tweets may be neutral.</summary>
public class Sentiment140PaperContract : Sentiment140Contract
{
    protected internal override string Name => "sentiment140@paper";
}
