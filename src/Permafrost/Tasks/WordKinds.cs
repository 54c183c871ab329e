using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>
/// What kind of thing is this word? Common English nouns of twelve kinds, a few to train on and others to answer: nothing in the letters tells, so that only a body that has
/// met the words can know. The lists, <c>word-kinds.txt</c>, are this project's own.
/// </summary>
public sealed class WordKinds : TextTask
{
    // Of each kind; the rest is the pool that training words are taken from.
    private const int HeldOut = 16;
    private const int TrainDefault = 15;

    /// <summary>The words by kind, as they stand in the list.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<string>> Lists { get; } = Read();

    /// <summary>The most training words of a kind.</summary>
    public static int Pool { get; } = Lists.Values.Min(words => words.Count) - 2 * HeldOut;

    /// <inheritdoc/>
    public override string Name => "word-kinds";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => $"what kind of thing is this word: {Lists.Count} kinds of common nouns, a few training words of each (texts)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: one English noun, through the backbone's own tokenizer and token table; read as the mean over its tokens.
        Output   its kind, one of {Lists.Count}: {string.Join(", ", Lists.Keys)}.
        Splits   of each kind {HeldOut} words validate and {HeldOut} test, the same whatever is trained on; `words_per_kind` of the other {Pool} train: 5 words are among
                 the 15, and those among the 30. No word is in two splits or of two kinds, but words may share a stem (boat, motorboat).
        Baselines   majority class, which is a guess: all kinds are of one size; beside a run n-grams, which endings help a little, and a linear probe
        Options  task_options.words_per_kind ({TrainDefault}, at most {Pool})
        Source   word lists of this project
        """;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckNoData(Name);
        options.CheckSettings(Name, "words_per_kind");
        int wanted = options.Int("words_per_kind", TrainDefault, 1, Pool);
        (var train, var validation, var test) = (new List<LabelledText>(), new List<LabelledText>(), new List<LabelledText>());
        foreach ((int kind, (string name, IReadOnlyList<string> words)) in Lists.Index())
        {
            long[] shuffled = new CounterRandom($"word-kinds/{name}", 0, 0).Permutation(words.Count);
            LabelledText[] order = [.. shuffled.Select(i => new LabelledText(words[(int)i], kind, $"the word {words[(int)i]}"))];
            test.AddRange(order[..HeldOut]);
            validation.AddRange(order[HeldOut..(2 * HeldOut)]);
            train.AddRange(order[(2 * HeldOut)..(2 * HeldOut + wanted)]);
        }
        return Make(options, [.. Lists.Keys], train, validation, test) with { IsGenerated = true };
    }

    // A kind with a colon, then its words, on lines of any length.
    private static OrderedDictionary<string, IReadOnlyList<string>> Read()
    {
        var lists = new OrderedDictionary<string, IReadOnlyList<string>>();
        var words = new List<string>();
        using var reader = new StreamReader(typeof(WordKinds).Assembly.GetManifestResourceStream("Tasks/word-kinds.txt")!);
        foreach (string word in reader.ReadToEnd().Split([' ', '\r', '\n'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (word[^1] == ':') lists[word[..^1]] = words = [];
            else words.Add(word);
        }
        return lists;
    }
}
