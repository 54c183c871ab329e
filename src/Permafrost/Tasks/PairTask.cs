using Permafrost.Data;
using Permafrost.Tokenizers;

namespace Permafrost.Tasks;

/// <summary>Two texts and their class.</summary>
/// <param name="First">The first text.</param>
/// <param name="Second">The second.</param>
/// <param name="Class">Their class; -100 where none is known.</param>
/// <param name="Group">What pairs have in common that must not be in two splits, such as a first text that several second ones go with.</param>
/// <param name="Where">Such as <c>dev.jsonl:12</c>, for errors.</param>
internal sealed record TextPair(string First, string Second, long Class, string Group, string Where);

/// <summary>
/// A task that asks for the class of two texts, which are fed as one: the first, the token that the body's own tokenizer ends texts with (<c>[SEP]</c>, <c>&lt;/s&gt;</c>;
/// a line end where it has none), and the second.
/// </summary>
public abstract class PairTask : TextTask
{
    /// <inheritdoc/>
    public override string InputFormat => "text, a pair a line: two texts with a tab between";

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        return TextLines.Parts(path, partSize, InputFormat, Parse, pairs => Tokenized(options with { MaxLength = spec.Input.Length }, Joined(options, pairs)));

        TextPair Parse(int number, string line) => line.Split('\t') is [{ Length: > 0 } first, { Length: > 0 } second]
            ? new TextPair(first.Trim(), second.Trim(), -100, "", TextLines.Name(path, number))
            : throw new PermafrostException($"{TextLines.Name(path, number)}: not {InputFormat}");
    }

    /// <summary>The data of pairs.</summary>
    private protected TaskData MakePairs(TaskOptions options, IReadOnlyList<string> labels, TextPair[] train, TextPair[] validation, TextPair[] test) =>
        Make(options, labels, Joined(options, train), Joined(options, validation), Joined(options, test));

    /// <summary>Pairs to train on, and some held out for validation, whole groups at a time: the same for every run.</summary>
    /// <param name="all">The pairs.</param>
    /// <param name="percent">How many of the groups are held out; at least one.</param>
    /// <exception cref="PermafrostException">None is left to train on.</exception>
    private protected (TextPair[] Train, TextPair[] Validation) HoldOutGroups(TextPair[] all, int percent)
    {
        string[] groups = [.. all.Select(pair => pair.Group).Distinct()];
        int held = Math.Max(1, (int)((long)groups.Length * percent / 100));
        HashSet<string> validation = [.. new CounterRandom($"{Name}/validation", 0, 0).Permutation(groups.Length).Take(held).Select(i => groups[i])];
        TextPair[] train = [.. all.Where(pair => !validation.Contains(pair.Group))];
        return train.Length > 0 ? (train, [.. all.Where(pair => validation.Contains(pair.Group))])
            : throw new PermafrostException($"{all[0].Where}: the file holds too little: nothing is left to train on beside what is held out for validation");
    }

    private LabelledText[] Joined(TaskOptions options, IReadOnlyList<TextPair> pairs)
    {
        string between = options.Tokenizer?.Invoke() is { SpecialTokens: > 0 } tokenizer ? $" {End(tokenizer)} " : "\n";
        return [.. pairs.Select(pair => new LabelledText(pair.First + between + pair.Second, pair.Class, pair.Where))];
    }

    // What a text of one letter ends with, if it is no letter.
    private static string End(Tokenizer tokenizer)
    {
        TokenizedText letter = tokenizer.Encode("a");
        return letter.Offsets[^1].End == letter.Offsets[^1].Start ? tokenizer.Token(letter.Ids[^1]) : tokenizer.Token(letter.Ids[0]);
    }
}
