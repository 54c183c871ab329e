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
    public override bool IsGenerated => true;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        (int length, int patterns) = Settings(options);
        var shape = new TaskShape { VectorSize = 1, SequenceLength = length * patterns, Targets = length, Classes = 2, Readout = $"last:{length}", Preprocessing = new Dictionary<string, string> { ["input"] = $"{patterns} strings of {length} bits, one after the other", ["token"] = "one bit, 0 or 1" } };
        return new TaskData(shape, new Generated("bit-xor/train", options.Seed, length, patterns, null),
            new Generated("bit-xor/validation", 0, length, patterns, HeldOut), new Generated("bit-xor/test", 0, length, patterns, HeldOut));
    }

    /// <inheritdoc/>
    public override IExamples ReadInputs(string path, TaskShape shape, TaskOptions options)
    {
        (int length, int patterns) = Settings(options);
        var rows = new List<byte[]>();
        foreach ((int number, string line) in TextInput.Lines(path))
        {
            if (line.Length != length * patterns || line.Any(c => c is not ('0' or '1')))
                throw new PermafrostException($"{TextInput.Name(path, number)}: '{(line.Length > 40 ? line[..40] + "..." : line)}' is not {length * patterns} bits ({InputFormat})");
            rows.Add([.. line.Select(c => (byte)(c - '0'))]);
        }
        if (rows.Count == 0) throw new PermafrostException($"{TextInput.Name(path)} holds no input; expected are {InputFormat}");
        return new Given(rows, length);
    }

    private (int Length, int Patterns) Settings(TaskOptions options)
    {
        options.CheckSettings(Name, "length", "patterns");
        return (options.Int("length", 5, 1, 4096), options.Int("patterns", 2, 2, 64));
    }

    private sealed class Generated(string stream, long seed, int length, int patterns, long? count) : IExamples
    {
        public long? Count => count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            var inputs = new float[indices.Length * length * patterns];
            var targets = new long[indices.Length * length];
            for (int row = 0; row < indices.Length; row++)
            {
                var random = new CounterRandom(stream, seed, indices[row]);
                for (int i = 0; i < length * patterns; i++)
                {
                    int bit = random.Next(2);
                    inputs[row * length * patterns + i] = bit;
                    targets[row * length + i % length] ^= bit;
                }
            }
            return new Batch(Tensors.From(inputs, indices.Length, length * patterns, 1), Tensors.From(targets, indices.Length, length));
        }
    }

    private sealed class Given(IReadOnlyList<byte[]> rows, int length) : IExamples
    {
        public long? Count => rows.Count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            var inputs = new List<float>();
            foreach (long index in indices) inputs.AddRange(rows[(int)index].Select(bit => (float)bit));
            return new Batch(Tensors.From([.. inputs], indices.Length, rows[0].Length, 1), torch.full([indices.Length, length], -100, ScalarType.Int64));
        }
    }
}
