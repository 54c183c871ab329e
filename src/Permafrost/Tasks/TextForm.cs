using System.Globalization;
using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>
/// How examples that are no texts are written as one, so that a body reads them through its own tokenizer and token table (Ballout et al. 2023, arXiv 2306.12205, which names the
/// token table as what matters; how that paper writes pixels and residues is not known, and this is a reading of it).
/// </summary>
internal abstract class TextForm
{
    private const string WordsKey = "text_words", ValuesKey = "text_values", RangeKey = "text_range", OfKey = "text_of";

    // A word for each of as many values, or steps: ten digits, which every vocabulary has.
    private const int Digits = 10;

    // Examples that values are measured on.
    private const int Looked = 256;

    // Stands for ids that are not written, such as padding.
    private const string Nothing = "_";

    /// <summary>The most words of an example.</summary>
    public abstract int Words { get; }

    /// <summary>The words that are written.</summary>
    public abstract IReadOnlyList<string> Vocabulary { get; }

    /// <summary>The form in words, for a note.</summary>
    public abstract string Summary { get; }

    /// <summary>What an adapter's configuration says of the form; <see cref="Read"/> understands it.</summary>
    public abstract IReadOnlyDictionary<string, string> Facts { get; }

    /// <summary>The form of a task's examples.</summary>
    /// <param name="task">The task.</param>
    /// <param name="data">Its data, whose training examples numbers are measured on.</param>
    /// <param name="room">Words that the body has room for; null for any number.</param>
    /// <returns>Null where the examples are ids without words, which are looked up as they are.</returns>
    public static TextForm? Of(TaskDefinition task, TaskData data, int? room)
    {
        if (data.Spec.Input is IdInput ids)
            return task.Words(data.Spec) is { } words ? new OfIds([.. words.Select(word => word.Length == 0 ? Nothing : word)], ids.Length) : null;
        bool mean = Size(data.Spec.Input) is > 1 and var size && (long)data.Spec.Input.Length * size > room;
        float[] numbers = Sample(data, mean);
        float[] different = [.. numbers.Distinct().Order().Take(Digits + 1)];
        return new OfNumbers(data.Spec.Input, mean, different.Length <= Digits ? different : null, numbers.Min(), numbers.Max());
    }

    /// <summary>The form that a finished run's configuration describes.</summary>
    /// <param name="source">What the task itself feeds.</param>
    /// <param name="facts">Its preprocessing.</param>
    /// <exception cref="PermafrostException">It describes none, or contradicts itself.</exception>
    public static TextForm Read(InputSpec source, IReadOnlyDictionary<string, string> facts)
    {
        static float[] Floats(string text) => [.. text.Split(' ').Select(number => float.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture))];
        try
        {
            if (source is IdInput ids)
                return facts[WordsKey].Split(' ') is var words && words.Length == ids.Vocabulary ? new OfIds(words, ids.Length) : throw new FormatException("words");
            float[] range = Floats(facts[RangeKey]);
            if (range.Length != 2 || !range.All(float.IsFinite)) throw new FormatException("range");
            return new OfNumbers(source, facts[OfKey] == "tokens", facts.TryGetValue(ValuesKey, out string? values) ? Floats(values) : null, range[0], range[1]);
        }
        catch (Exception error) when (error is KeyNotFoundException or FormatException or OverflowException)
        {
            throw new PermafrostException("the run's adapter_config.json does not say how examples are written as text (preprocessing), or contradicts itself; it may be damaged");
        }
    }

    /// <summary>The texts of a batch.</summary>
    public abstract string[] Write(Batch batch);

    private static int Size(InputSpec input) => input switch { VectorInput vectors => vectors.Size, PixelInput pixels => pixels.PatchSize, _ => 1 };

    // (B, T, Size), or (B, T) means over tokens.
    private static Tensor Numbers(InputSpec input, Batch batch, bool mean)
    {
        Tensor numbers = input is PixelInput pixels ? pixels.Cut(batch.Inputs) : batch.Inputs;
        return mean ? numbers.mean([2L]) : numbers.reshape(numbers.size(0), numbers.size(1), -1);
    }

    private static float[] Sample(TaskData data, bool mean)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        IDataset examples = data.TrainSource ?? data.Train;
        long count = Math.Min(Looked, examples.Count ?? Looked), all = examples.Count ?? Looked;
        // Spread over the whole split: files are often sorted by class.
        Batch batch = examples.Get([.. Enumerable.Range(0, (int)count).Select(i => i * all / count)]);
        return [.. Numbers(data.Spec.Input, batch, mean).contiguous().ToArray<float>().Where(float.IsFinite).DefaultIfEmpty(0)];
    }

    private sealed class OfIds(string[] words, int length) : TextForm
    {
        public override int Words => length;

        public override IReadOnlyList<string> Vocabulary => [.. words.Where(word => word != Nothing)];

        public override string Summary => $"their {Vocabulary.Count} words, with blanks between";

        public override IReadOnlyDictionary<string, string> Facts => new Dictionary<string, string> { [WordsKey] = string.Join(' ', words) };

        public override string[] Write(Batch batch)
        {
            int T = (int)batch.Inputs.size(1);
            long[] ids = batch.Inputs.ToArray<long>();
            long[]? mask = batch.Mask?.ToArray<long>();
            IEnumerable<string> Row(int row) => Enumerable.Range(row * T, T).Where(i => mask is null || mask[i] != 0).Select(i => words[ids[i]]).Where(word => word != Nothing);
            return [.. Enumerable.Range(0, (int)batch.Count).Select(row => string.Join(' ', Row(row)))];
        }
    }

    private sealed class OfNumbers(InputSpec input, bool mean, float[]? values, float low, float high) : TextForm
    {
        public override int Words => input.Length * (mean ? 1 : Size(input));

        public override IReadOnlyList<string> Vocabulary { get; } = [.. Enumerable.Range(0, Digits).Select(digit => $"{digit}")];

        public override string Summary => values is not null
            ? $"a digit for each of the {values.Length} numbers that occur"
            : FormattableString.Invariant($"a digit for each {(mean ? "token's mean" : "number")}, in ten steps from {low:G4} to {high:G4}");

        public override IReadOnlyDictionary<string, string> Facts
        {
            get
            {
                static string Joined(params float[] numbers) => string.Join(' ', numbers.Select(number => number.ToString("R", CultureInfo.InvariantCulture)));
                var facts = new Dictionary<string, string> { [RangeKey] = Joined(low, high), [OfKey] = mean ? "tokens" : "numbers" };
                if (values is not null) facts[ValuesKey] = Joined(values);
                return facts;
            }
        }

        public override string[] Write(Batch batch)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            float[] numbers = Numbers(input, batch, mean).contiguous().ToArray<float>();
            int words = numbers.Length / (int)batch.Count, size = words / (int)batch.Inputs.size(1);
            long[]? mask = input is PixelInput ? null : batch.Mask?.ToArray<long>();
            IEnumerable<char> Row(int row) => Enumerable.Range(row * words, words).Where(i => mask is null || mask[i / size] != 0).Select(i => Digit(numbers[i]));
            return [.. Enumerable.Range(0, (int)batch.Count).Select(row => string.Join(' ', Row(row)))];
        }

        // What was not among the values that were measured is written as the nearest of them.
        private char Digit(float number)
        {
            if (float.IsNaN(number)) return '0';
            if (values is not null) return (char)('0' + Enumerable.Range(0, values.Length).MinBy(i => Math.Abs(values[i] - number)));
            return (char)('0' + Math.Clamp((int)((number - low) / (high - low) * Digits), 0, Digits - 1));
        }
    }
}
