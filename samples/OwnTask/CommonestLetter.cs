using Permafrost.Data;
using Permafrost.Tasks;

/// <summary>Which of three letters occurs most often in a word of 15? A letter is a token, a, b and c are the ids 0, 1 and 2.</summary>
internal sealed class CommonestLetter : TaskDefinition
{
    private const string Letters = "abc";
    private static readonly TaskSpec Spec = new(new IdInput(Letters.Length, 15), new ClassOutput(Letters.Length) { Labels = ["a", "b", "c"] })
    { Readout = "mean", Preprocessing = new Dictionary<string, string> { ["token"] = "a letter: 0, 1 or 2 for a, b or c" } };

    public override string Name => "commonest-letter";
    public override int Version => 1;
    public override string Summary => "the commonest of three letters in a word of 15 (generated)";
    public override string Description => "Input    commonest-letter: 15 letters, each a token.\nOutput   the commonest.\nSplits   endless training words; 500 validate, 500 test.";
    public override string InputFormat => "text, a word of 15 letters a, b or c a line";

    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        options.CheckNoData(Name);
        return GeneratedDataset.OfIds(Name, options.Seed, Spec, heldOut: 500, Example);
    }

    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize) =>
        GivenIds.OfLines(path, spec, InputFormat, partSize, line => [.. line.Select(letter => (long)Letters.IndexOf(letter))]);

    private static void Example(ref CounterRandom random, Span<long> letters, Span<long> answer)
    {
        var counts = new int[Letters.Length];
        for (int t = 0; t < letters.Length; t++) counts[letters[t] = random.Next(Letters.Length)]++;
        answer[0] = Array.IndexOf(counts, counts.Max());
    }
}
