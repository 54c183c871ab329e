using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks.Baselines;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Tasks;

/// <summary>
/// Bit Memory (Lu et al. 2021, section 2.1; kzl/universal-computation datasets/bit_memory.py): random bit strings are shown, then one of them again
/// with half of its bits masked; the whole string is to be reconstructed, one chunk of bits a token.
/// </summary>
public sealed class BitMemory : TaskDefinition
{
    private const int HeldOut = 1000;
    private const string Masked = "masked";

    /// <inheritdoc/>
    public override string Name => "bit-memory";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "recall a masked 1000-bit string out of five, 50 bits a token (generated)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: `patterns` random strings of `length` bits (-1 or 1), then one of them with each bit masked (0) with probability 1/2;
                 cut into tokens of `chunk` bits: 120 tokens of 50 numbers at the defaults.
        Output   every bit of the masked string, `chunk` answers of two classes at each of its tokens. Loss and accuracy count all bits, as the paper's do.
        Metrics  accuracy, and masked_accuracy over the masked bits only: copying the visible bits and guessing the rest already gives 75 %.
        Splits   training examples are generated without end from the run's seed; validation and test are {HeldOut:N0} each, the same for every run.
        Baselines   majority class; copy (visible bits copied, masked ones guessed)
        Options  task_options.length (1000), task_options.patterns (5), task_options.chunk (50)
        Source   Lu et al. 2021, arXiv 2103.05247, section 2.1; kzl/universal-computation datasets/bit_memory.py
        """;

    /// <inheritdoc/>
    public override string InputFormat => "text lines of all bits in order, shown strings then the masked one, as 0, 1 and ? for a masked bit";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckNoData(Name);
        Layout layout = Settings(options);
        return new TaskData(layout.Spec, new Generated("bit-memory/train", options.Seed, layout, null),
            new Generated("bit-memory/validation", 0, layout, HeldOut), new Generated("bit-memory/test", 0, layout, HeldOut))
        { IsGenerated = true };
    }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, double> OwnBaselines(TaskData data)
    {
        (double right, double all) = (0, 0);
        foreach (long[] indices in TrivialBaselines.BatchIndices(data.Test!))
        {
            using var scope = torch.NewDisposeScope();
            Batch batch = data.Test!.Get(indices);
            Tensor hidden = batch.Subsets[Masked];
            double masked = hidden.sum().Number();
            // The rule guesses 1 for every masked bit, so it is right where the bit is 1.
            right += batch.Targets.NumberOfElements - masked + (batch.Targets * hidden).sum().Number();
            all += batch.Targets.NumberOfElements;
        }
        return new Dictionary<string, double> { ["copy"] = right / all };
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        Layout layout = Settings(options);
        return TextLines.Parts(path, partSize, InputFormat, Parse, rows => new Given(rows, layout));

        string Parse(int number, string line) => line.Length == layout.Bits && line.All(c => c is '0' or '1' or '?') ? line
            : throw new PermafrostException($"{TextLines.Name(path, number)}: {line.Length} characters are not {layout.Bits} bits ({InputFormat})");
    }

    private Layout Settings(TaskOptions options)
    {
        options.CheckSettings(Name, "length", "patterns", "chunk");
        var layout = new Layout(options.Int("length", 1000, 1, 1 << 16), options.Int("patterns", 5, 1, 64), options.Int("chunk", 50, 1, 1 << 16));
        if (layout.Length % layout.Chunk != 0) throw new UsageException($"task_options.length ({layout.Length}) must be a multiple of task_options.chunk ({layout.Chunk})");
        return layout;
    }

    private sealed record Layout(int Length, int Patterns, int Chunk)
    {
        public int Bits => Length * (Patterns + 1);

        public int Tokens => Bits / Chunk;

        public TaskSpec Spec => new(new VectorInput(Chunk, Tokens), new ClassOutput(2) { Count = Length })
        {
            Readout = $"last:{Length / Chunk}",
            Metrics = [MetricInfo.Accuracy, MetricInfo.Accuracy with { Name = "masked_accuracy", Over = Masked }],
            Preprocessing = new Dictionary<string, string>
            {
                ["input"] = $"{Patterns} strings of {Length} bits, then one of them with unknown bits",
                ["token"] = $"{Chunk} bits: 1 as 1, 0 as -1, unknown as 0",
            },
        };
    }

    private sealed class Generated(string stream, long seed, Layout layout, long? count) : IDataset
    {
        public long? Count => count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            var inputs = new float[indices.Length * layout.Bits];
            var targets = new long[indices.Length * layout.Length];
            var masked = new long[targets.Length];
            for (int row = 0; row < indices.Length; row++)
            {
                var random = new CounterRandom(stream, seed, indices[row]);
                Span<float> bits = inputs.AsSpan(row * layout.Bits, layout.Bits);
                int shown = layout.Length * layout.Patterns;
                for (int i = 0; i < shown; i++) bits[i] = random.Next(2) * 2 - 1;
                int chosen = random.Next(layout.Patterns);
                for (int i = 0; i < layout.Length; i++)
                {
                    float bit = bits[chosen * layout.Length + i];
                    int at = row * layout.Length + i;
                    masked[at] = random.Next(2);
                    targets[at] = bit > 0 ? 1 : 0;
                    bits[shown + i] = masked[at] == 1 ? 0 : bit;
                }
            }
            return new Batch(Tensors.From(inputs, indices.Length, layout.Tokens, layout.Chunk), Tensors.From(targets, indices.Length, layout.Length))
            {
                Subsets = new Dictionary<string, Tensor> { [Masked] = Tensors.From(masked, indices.Length, layout.Length) },
            };
        }
    }

    private sealed class Given(IReadOnlyList<string> rows, Layout layout) : IDataset
    {
        public long? Count => rows.Count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            var inputs = new List<float>();
            foreach (long index in indices) inputs.AddRange(rows[(int)index].Select(Number));
            return new Batch(Tensors.From([.. inputs], indices.Length, layout.Tokens, layout.Chunk), torch.full([indices.Length, layout.Length], (-100).Hold(), ScalarType.Int64));
        }

        private static float Number(char bit) => bit switch { '?' => 0, '1' => 1, _ => -1 };
    }
}
