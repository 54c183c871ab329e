using System.Text.Json;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>What tasks of pairs of texts have in common: a line has a tab between the two.</summary>
public abstract class PairContract : TextContract
{
    // [CLS] first [SEP] second [SEP]
    protected override string Line(Batch example)
    {
        string[] texts = SmallTokenizer.Instance.Decode([.. example.Inputs.ToArray<long>().Select(id => (int)id)], skipSpecialTokens: false).Replace("[CLS]", "").Split("[SEP]");
        return $"{texts[0].Trim()}\t{texts[1].Trim()}";
    }

    private protected static string[] Words(int first, int count) => [.. Texts(first, count)];
}

/// <summary>MultiNLI keeps every task's promises, on sentences that mean nothing.</summary>
public class MultiNliContract : PairContract
{
    protected internal override string Name => "multinli";

    protected override string MakeData()
    {
        Write("multinli_1.0_train.jsonl", Lines(0, 700));
        Write("multinli_1.0_dev_matched.jsonl", Lines(800, 40));
        Write("multinli_1.0_dev_mismatched.jsonl", Lines(900, 40));
        return Folder["data"];
    }

    private protected static IEnumerable<string> Lines(int first, int count) => Words(first, count).Select((text, i) => JsonSerializer.Serialize(new Dictionary<string, string>
    {
        ["gold_label"] = new[] { "entailment", "neutral", "contradiction", "-" }[i * i % 11 % 4],
        ["sentence1"] = text,
        ["sentence2"] = "so " + text[..2],
    }));
}

/// <summary>So does the reading that tests on other genres, of files of columns.</summary>
public class MultiNliMismatchedContract : MultiNliContract
{
    protected internal override string Name => "multinli@mismatched";

    protected override string MakeData()
    {
        static IEnumerable<string> Table(int first, int count) => Words(first, count).Select((text, i) => $"{new[] { "entailment", "neutral", "contradiction", "-" }[i * i % 11 % 4]}\tparse\t{text}\tso {text[..2]}")
            .Prepend("gold_label\tsentence1_parse\tsentence1\tsentence2");
        Write("multinli_1.0_train.txt", Table(0, 700));
        Write("multinli_1.0_dev_mismatched.txt", Table(900, 40));
        return Folder["data"];
    }
}

/// <summary>SQuAD 2.0 keeps every task's promises, on articles that mean nothing.</summary>
public class SquadContract : PairContract
{
    protected internal override string Name => "squad";

    private protected virtual string Version => "v2.0";

    protected override string MakeData()
    {
        Folder.Write(Path.Combine("data", $"train-{Version}.json"), Articles(0, 160));
        Folder.Write(Path.Combine("data", $"dev-{Version}.json"), Articles(500, 20));
        return Folder["data"];
    }

    private string Articles(int first, int count)
    {
        string[] words = Words(first, 2 * count);
        object Question(string text, int number) => Version == "v1.1" ? new { question = "why " + text, id = number } : new { question = "why " + text, id = number, is_impossible = number % 3 == 1 };
        return JsonSerializer.Serialize(new
        {
            version = Version,
            data = Enumerable.Range(0, count).Select(article => new
            {
                title = $"article {first + article}",
                paragraphs = new[] { words[2 * article], words[2 * article + 1] }.Select((text, i) => new { context = text, qas = new[] { Question(text, 2 * article + i) } }),
            }),
        });
    }
}

/// <summary>So does SQuAD 1.1, where unanswered pairs are made.</summary>
public class SquadElevenContract : SquadContract
{
    private protected override string Version => "v1.1";
}

/// <summary>Pair match keeps every task's promises.</summary>
public class PairMatchContract : TaskContract
{
    protected internal override string Name => "pair-match";

    protected override Dictionary<string, string> Settings => new() { ["facts"] = "3", ["symbols"] = "9" };

    protected override string Line(Batch example) => string.Join(' ', example.Inputs.ToArray<long>().Select((id, i) => i == 6 ? "|" : $"{id - 2 - (i % 2 == (i < 6 ? 1 : 0) ? 9 : 0)}"));
}
