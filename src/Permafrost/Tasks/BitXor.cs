using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>
/// Bit XOR (Lu et al. 2021, section 2.1; kzl/universal-computation datasets/bit_xor.py): two random bit strings, one bit a token, and the answer is
/// their elementwise exclusive or, read at the last tokens.
/// </summary>
public sealed class BitXor : TaskDefinition
{
    private const int HeldOut = 1000;

    /// <inheritdoc/>
    public override string Name => "bit-xor";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "elementwise exclusive or of two 5-bit strings, one bit a token (generated)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: `patterns` random strings of `length` bits, one after the other; each bit is a token of one number, 0 or 1.
        Output   the exclusive or (parity) of the strings, bit by bit; one answer of two classes at each of the last `length` tokens.
        Splits   training examples are generated without end from the run's seed; validation and test are {HeldOut:N0} each, the same for every run.
                 With 2 strings of 5 bits only 1,024 inputs exist, so the splits overlap: the score says whether the function was learned, not
                 whether it generalises to unseen inputs.
        Options  task_options.length (5), task_options.patterns (2)
        Source   Lu et al. 2021, arXiv 2103.05247, section 2.1; kzl/universal-computation datasets/bit_xor.py
        """;

    /// <inheritdoc/>
    public override string InputFormat => "text lines of `patterns x length` bits, such as 0110110001";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckNoData(Name);
        (int length, int patterns) = Settings(options);
        var spec = new TaskSpec(new VectorInput(1, length * patterns), new ClassOutput(2) { Count = length })
        {
            Readout = $"last:{length}",
            Preprocessing = new Dictionary<string, string> { ["input"] = $"{patterns} strings of {length} bits, one after the other", ["token"] = "one bit, 0 or 1" },
        };
        return GeneratedDataset.OfVectors(Name, options.Seed, spec, HeldOut, (ref random, bits, answers) =>
        {
            for (int i = 0; i < bits.Length; i++)
            {
                int bit = random.Next(2);
                bits[i] = bit;
                answers[i % length] ^= bit;
            }
        });
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        (int length, int patterns) = Settings(options);
        return TextLines.Parts(path, partSize, InputFormat, Parse, rows => new Given(rows, length));

        byte[] Parse(int number, string line) => line.Length == length * patterns && line.All(c => c is '0' or '1') ? [.. line.Select(c => (byte)(c - '0'))]
            : throw new PermafrostException($"{TextLines.Name(path, number)}: '{(line.Length > 40 ? line[..40] + "..." : line)}' is not {length * patterns} bits ({InputFormat})");
    }

    private (int Length, int Patterns) Settings(TaskOptions options)
    {
        options.CheckSettings(Name, "length", "patterns");
        return (options.Int("length", 5, 1, 4096), options.Int("patterns", 2, 2, 64));
    }

    private sealed class Given(IReadOnlyList<byte[]> rows, int length) : IDataset
    {
        public long? Count => rows.Count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            var inputs = new List<float>();
            foreach (long index in indices) inputs.AddRange(rows[(int)index].Select(bit => (float)bit));
            return new Batch(Tensors.From([.. inputs], indices.Length, rows[0].Length, 1), torch.full([indices.Length, length], (-100).Hold(), ScalarType.Int64));
        }
    }
}
