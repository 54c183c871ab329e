using System.Globalization;
using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>
/// Waveforms, a stand-in for a sensor: a noisy series of readings is a sine, a square, a triangle or a sawtooth, of any period, phase, height and offset. A task of this project,
/// without words and without meaning.
/// </summary>
public sealed class Waveforms : TaskDefinition
{
    private const int Length = 64;
    private const int Chunk = 4;
    private const int HeldOut = 500;
    private const double Noise = 0.35;
    private static readonly string[] Shapes = ["sine", "square", "triangle", "sawtooth"];

    /// <inheritdoc/>
    public override string Name => "waveforms";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "which wave is behind a noisy series of 64 readings: sine, square, triangle or sawtooth (generated)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: {Length} readings, {Chunk} a token. A wave of period 12 to 40 readings, any phase, height 0.5 to 1.5, offset -0.5 to 0.5, plus normal noise of {Noise}
                 times the height.
        Output   the shape: {string.Join(", ", Shapes)}; read as the mean over the tokens.
        Splits   training examples are generated without end from the run's seed; validation and test are {HeldOut} each, the same for every run.
        Source   this project
        """;

    /// <inheritdoc/>
    public override string InputFormat => $"text lines of {Length} numbers, with blanks or commas between them";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckNoData(Name);
        options.CheckSettings(Name);
        var spec = new TaskSpec(new VectorInput(Chunk, Length / Chunk), new ClassOutput(Shapes.Length) { Labels = Shapes })
        {
            Readout = "mean",
            Preprocessing = new Dictionary<string, string> { ["input"] = $"{Length} readings as they are", ["token"] = $"{Chunk} readings" },
        };
        return GeneratedDataset.OfVectors(Name, options.Seed, spec, HeldOut, (ref random, readings, answers) =>
        {
            answers[0] = random.Next(Shapes.Length);
            (double period, double phase) = (12 + 28 * random.NextDouble(), random.NextDouble());
            (double height, double offset) = (0.5 + random.NextDouble(), random.NextDouble() - 0.5);
            for (int i = 0; i < readings.Length; i++)
                readings[i] = (float)(offset + height * (Wave(answers[0], (i / period + phase) % 1) + Noise * Normal(ref random)));
        });
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        return TextLines.Parts(path, partSize, InputFormat, Parse, rows => new Given(rows));

        float[] Parse(int number, string line)
        {
            string[] words = line.Split([' ', ',', '\t', ';'], StringSplitOptions.RemoveEmptyEntries);
            var readings = new float[words.Length];
            for (int i = 0; i < words.Length; i++)
                if (!float.TryParse(words[i], NumberStyles.Float, CultureInfo.InvariantCulture, out readings[i]) || !float.IsFinite(readings[i]))
                    throw new PermafrostException($"{TextLines.Name(path, number)}: '{words[i]}' is no number ({InputFormat})");
            return readings.Length == Length ? readings
                : throw new PermafrostException($"{TextLines.Name(path, number)} has {readings.Length} numbers, not {Length} ({InputFormat})");
        }
    }

    // A wave between -1 and 1, at a share of its period.
    private static double Wave(long shape, double at) => shape switch
    {
        0 => Math.Sin(2 * Math.PI * at),
        1 => at < 0.5 ? 1 : -1,
        2 => 1 - 4 * Math.Abs(at - 0.5),
        _ => 2 * at - 1,
    };

    // Box and Muller 1958.
    private static double Normal(ref CounterRandom random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());

    private sealed class Given(IReadOnlyList<float[]> rows) : IDataset
    {
        public long? Count => rows.Count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            var inputs = new List<float>();
            foreach (long index in indices) inputs.AddRange(rows[(int)index]);
            return new Batch(Tensors.From([.. inputs], indices.Length, Length / Chunk, Chunk), torch.full([indices.Length, 1], (-100).Hold(), ScalarType.Int64));
        }
    }
}
