using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>A text, its class, and where it comes from, for errors.</summary>
/// <param name="Text">The text.</param>
/// <param name="Class">Its class; -100 where none is known.</param>
/// <param name="Where">Such as <c>reviews.csv:12</c>.</param>
public readonly record struct LabelledText(string Text, long Class, string Where);

/// <summary>A task that asks for the class of a text, which is fed through the body's own tokenizer. What is left to say is where the texts come from.</summary>
public abstract class TextTask : TaskDefinition
{
    /// <inheritdoc/>
    public override string InputFormat => "text, one input a line";

    /// <summary>The data from its texts: tokenised, with what a user should know of them.</summary>
    /// <param name="options">The run's options.</param>
    /// <param name="labels">The classes' names.</param>
    /// <param name="train">The texts to train on.</param>
    /// <param name="validation">Those to choose by; null or empty for none.</param>
    /// <param name="test">Those to score; null or empty for none.</param>
    /// <exception cref="PermafrostException">The body has no tokenizer, or a text holds nothing that its tokenizer knows.</exception>
    protected TaskData Make(
        TaskOptions options, IReadOnlyList<string> labels, IReadOnlyList<LabelledText> train, IReadOnlyList<LabelledText>? validation,
        IReadOnlyList<LabelledText>? test) =>
        Make($"`task` {Name}", options, labels, train, validation, test);

    /// <summary>The same for what is no task, and called something else in errors.</summary>
    internal static TaskData Make(
        string task, TaskOptions options, IReadOnlyList<string> labels, IReadOnlyList<LabelledText> train, IReadOnlyList<LabelledText>? validation,
        IReadOnlyList<LabelledText>? test)
    {
        var splits = new OrderedDictionary<string, TextRows>();
        foreach ((string name, IReadOnlyList<LabelledText>? texts) in new[] { ("training", train), ("validation", validation), ("test", test) })
            if (texts is { Count: > 0 }) splits[name] = Tokenized(task, options, texts);
        TextRows rows = splits["training"];
        var spec = new TaskSpec(new TextInput(rows.Vocabulary, rows.MaxLength), new ClassOutput(labels.Count) { Labels = labels })
        {
            Readout = "mean",
            Preprocessing = new Dictionary<string, string> { ["input"] = "a text", ["token"] = $"of the backbone's tokenizer, at most {rows.MaxLength} with its special tokens" },
        };
        return new TaskData(spec, rows, splits.GetValueOrDefault("validation"), splits.GetValueOrDefault("test"))
        { Notes = [.. splits.SelectMany(split => split.Value.Notes($"{split.Key} text"))] };
    }

    /// <summary>Texts to train on, and some held out for validation: the same for every run, and a text that is there twice is in one of them.</summary>
    /// <param name="name">The task, whose texts are in an order of their own.</param>
    /// <param name="all">The texts.</param>
    /// <param name="percent">How many of the different texts are held out; at least one.</param>
    /// <exception cref="PermafrostException">None is left to train on.</exception>
    private protected static (LabelledText[] Train, LabelledText[] Validation) HoldOut(string name, IReadOnlyList<LabelledText> all, int percent)
    {
        string[] different = [.. all.Select(text => text.Text).Distinct()];
        int held = Math.Max(1, (int)((long)different.Length * percent / 100));
        HashSet<string> validation = [.. new CounterRandom($"{name}/validation", 0, 0).Permutation(different.Length).Take(held).Select(i => different[i])];
        ILookup<bool, LabelledText> halves = all.ToLookup(text => validation.Contains(text.Text));
        if (!halves[false].Any())
            throw new PermafrostException($"{all[0].Where}: the file holds too few different texts: none is left to train on beside those held out for validation");
        return ([.. halves[false]], [.. halves[true]]);
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize) => ReadLines(path, spec, options, partSize);

    /// <summary>Texts of which each is a line.</summary>
    /// <inheritdoc cref="ReadInputs"/>
    protected IEnumerable<IDataset> ReadLines(string path, TaskSpec spec, TaskOptions options, int partSize) => TextLines.Parts(
        path, partSize, InputFormat,
        (number, line) => new Given(new LabelledText(line, -100, TextLines.Name(path, number))),
        lines => Tokenized(options with { MaxLength = spec.Input.Length }, [.. lines.Select(line => line.Text)]));

    /// <summary>Tokenises texts, and refuses those that hold nothing.</summary>
    /// <param name="options">The run's options.</param>
    /// <param name="texts">The texts.</param>
    /// <exception cref="PermafrostException">The body has no tokenizer, or a text holds nothing that its tokenizer knows.</exception>
    protected TextRows Tokenized(TaskOptions options, IReadOnlyList<LabelledText> texts) => Tokenized($"`task` {Name}", options, texts);

    private static TextRows Tokenized(string task, TaskOptions options, IReadOnlyList<LabelledText> texts)
    {
        TextRows rows = options.Tokenize(task, [.. texts.Select(text => text.Text)], [.. texts.Select(text => text.Class)]);
        if (rows.FirstEmpty is { } empty) throw new PermafrostException($"{texts[empty].Where}: {TextRows.EmptyIs}; mend it or leave it out");
        return rows;
    }

    private sealed record Given(LabelledText Text);
}
