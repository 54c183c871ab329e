using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>Writes one example of vectors: its numbers, token by token, and its answers.</summary>
/// <param name="random">The example's own random numbers.</param>
/// <param name="inputs">T x size numbers, all 0 before.</param>
/// <param name="answers">P classes, all 0 before.</param>
public delegate void VectorExample(ref CounterRandom random, Span<float> inputs, Span<long> answers);

/// <summary>Writes one example of ids, and its answers.</summary>
/// <param name="random">The example's own random numbers.</param>
/// <param name="ids">T ids, all 0 before.</param>
/// <param name="answers">P classes, all 0 before.</param>
public delegate void IdExample(ref CounterRandom random, Span<long> ids, Span<long> answers);

/// <summary>
/// Examples of classes that are made when they are asked for, all of the longest length. An example follows from its number alone: a training that stops and goes on sees what it
/// would have seen.
/// </summary>
public sealed class GeneratedDataset : IDataset
{
    private readonly string stream;
    private readonly long seed;
    private readonly TaskSpec spec;
    private readonly VectorExample? vectors;
    private readonly IdExample? ids;

    private GeneratedDataset(string stream, long seed, long? count, TaskSpec spec, VectorExample? vectors, IdExample? ids)
    {
        this.stream = stream;
        this.seed = seed;
        this.spec = spec;
        this.vectors = vectors;
        this.ids = ids;
        Count = count;
    }

    /// <inheritdoc/>
    public long? Count { get; }

    /// <summary>A task's data, of vectors: training examples without end, from the run's seed; for validation and test always the same.</summary>
    /// <param name="task">The task's name, which its random numbers follow from.</param>
    /// <param name="seed">The run's.</param>
    /// <param name="spec">What it feeds, <see cref="VectorInput"/> or <see cref="IdInput"/>, and the classes that it asks for.</param>
    /// <param name="heldOut">Examples for validation, and for the test.</param>
    /// <param name="example">Writes one.</param>
    public static TaskData OfVectors(string task, long seed, TaskSpec spec, long heldOut, VectorExample example) => Splits(task, seed, spec, heldOut, example, null);

    /// <summary>A task's data, of ids.</summary>
    /// <inheritdoc cref="OfVectors"/>
    public static TaskData OfIds(string task, long seed, TaskSpec spec, long heldOut, IdExample example) => Splits(task, seed, spec, heldOut, null, example);

    /// <inheritdoc/>
    public Batch Get(ReadOnlySpan<long> indices)
    {
        (int T, int P) = (spec.Input.Length, spec.Output.Answers);
        int size = T * ((spec.Input as VectorInput)?.Size ?? 1);
        var targets = new long[indices.Length * P];
        var numbers = new float[vectors is null ? 0 : indices.Length * size];
        var tokens = new long[ids is null ? 0 : indices.Length * size];
        for (int row = 0; row < indices.Length; row++)
        {
            var random = new CounterRandom(stream, seed, indices[row]);
            Span<long> answers = targets.AsSpan(row * P, P);
            vectors?.Invoke(ref random, numbers.AsSpan(row * size, size), answers);
            ids?.Invoke(ref random, tokens.AsSpan(row * size, size), answers);
        }
        Tensor inputs = vectors is null ? Tensors.From(tokens, indices.Length, T) : Tensors.From(numbers, indices.Length, T, size / T);
        return new Batch(inputs, Tensors.From(targets, indices.Length, P));
    }

    private static TaskData Splits(string task, long seed, TaskSpec spec, long heldOut, VectorExample? vectors, IdExample? ids)
    {
        if (spec.Output is not ClassOutput || (vectors is null ? spec.Input is not IdInput : spec.Input is not VectorInput))
            throw new ArgumentException("examples are made of vectors or ids, with classes to answer", nameof(spec));
        GeneratedDataset Split(string split, long own, long? count) => new($"{task}/{split}", own, count, spec, vectors, ids);
        return new TaskData(spec, Split("train", seed, null), Split("validation", 0, heldOut), Split("test", 0, heldOut)) { IsGenerated = true };
    }
}
