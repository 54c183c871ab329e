using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>
/// Does the second sentence answer the first? The first says what each of some keys has, the second claims it of one: true, or with what another key of the first has. Each
/// sentence alone tells nothing, nor does which tokens occur: only a look from one to the other does (Tay et al. 2021, section 5, on what convolutions fail at).
/// </summary>
public sealed class PairMatch : TaskDefinition
{
    private const int HeldOut = 1000, Separator = 1, FirstKey = 2;

    /// <inheritdoc/>
    public override string Name => "pair-match";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "does the second sentence claim what the first one says? (generated ids; needs attention across the pair)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: `facts` pairs of a key and its value, a separator, a key and a value: 2 x facts + 3 ids. Keys differ within a sentence, and so do values.
                 Ids: {Separator} the separator, from {FirstKey} on `symbols` keys and behind them as many values (0 is never fed).
        Output   whether the first sentence has the second one's value with its key: no or yes, half of the time each; where no, it is the value of another of its keys, so that
                 neither sentence alone nor a bag of both tells. Read at the last token.
        Splits   training examples are generated without end from the run's seed; validation and test are {HeldOut:N0} each, the same for every run.
        Baselines   majority class, which is a guess
        Options  task_options.facts (4, at least 2), task_options.symbols (8, at least as many as facts): the fewer, the sooner it is learned
        Source   of this project, after Tay et al. 2021, arXiv 2105.03322, section 5
        """;

    /// <inheritdoc/>
    public override string InputFormat => "text lines of numbers from 0: key value key value ... | key value";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckNoData(Name);
        (int facts, int symbols) = Settings(options);
        var spec = new TaskSpec(new IdInput(FirstKey + 2 * symbols, 2 * facts + 3), new ClassOutput(2) { Labels = ["no", "yes"] })
        {
            Preprocessing = new Dictionary<string, string>
            {
                ["input"] = $"{facts} keys with a value each, the separator, a key and a value",
                ["token"] = $"{Separator} for the separator, {FirstKey} and on for keys, {FirstKey + symbols} and on for values",
            },
        };
        return GeneratedDataset.OfIds(Name, options.Seed, spec, HeldOut, (ref random, ids, answers) =>
        {
            (int[] keys, int[] values) = (Drawn(ref random, facts, symbols), Drawn(ref random, facts, symbols));
            for (int i = 0; i < facts; i++) (ids[2 * i], ids[2 * i + 1]) = (FirstKey + keys[i], FirstKey + symbols + values[i]);
            (int asked, int other) = (random.Next(facts), random.Next(facts - 1));
            if (other >= asked) other++;
            answers[0] = random.Next(2);
            ids[2 * facts] = Separator;
            (ids[^2], ids[^1]) = (FirstKey + keys[asked], FirstKey + symbols + values[answers[0] == 1 ? asked : other]);
        });
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        (int facts, int symbols) = Settings(options);
        return GivenIds.OfLines(path, spec, InputFormat, partSize, line =>
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length != 2 * facts + 3 || words[2 * facts] != "|") return null;
            var ids = new long[words.Length];
            for (int i = 0; i < ids.Length; i++)
            {
                bool isValue = i % 2 == (i < 2 * facts ? 1 : 0);
                if (i == 2 * facts) ids[i] = Separator;
                else if (int.TryParse(words[i], out int symbol) && symbol >= 0 && symbol < symbols) ids[i] = FirstKey + (isValue ? symbols : 0) + symbol;
                else return null;
            }
            return ids;
        });
    }

    private (int Facts, int Symbols) Settings(TaskOptions options)
    {
        options.CheckSettings(Name, "facts", "symbols");
        int facts = options.Int("facts", 4, 2, 500);
        return (facts, options.Int("symbols", Math.Max(8, facts), facts, 10_000));
    }

    // Some of the symbols, each at most once, in any order.
    private static int[] Drawn(ref CounterRandom random, int count, int symbols)
    {
        var all = new int[symbols];
        for (int i = 0; i < symbols; i++) all[i] = i;
        for (int i = 0; i < count; i++)
        {
            int other = i + random.Next(symbols - i);
            (all[i], all[other]) = (all[other], all[i]);
        }
        return all[..count];
    }
}
