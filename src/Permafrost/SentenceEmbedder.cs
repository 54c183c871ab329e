using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;
using Permafrost.Adaptation;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tokenizers;

namespace Permafrost;

/// <summary>
/// A body with a tokenizer as an embedding generator: a text becomes the mean of the last hidden states of its tokens, special tokens included, scaled to unit length, which
/// is what all-MiniLM-L6-v2 was trained for (sentence-transformers, modules Pooling and Normalize). The dot product of two embeddings is their cosine.
/// Any number of threads may use one at once.
/// </summary>
/// <example><code>
/// using var embedder = SentenceEmbedder.Load("all-MiniLM-L6-v2");
/// var embeddings = await embedder.GenerateAsync(["A cat sits on the mat.", "The kitten is lying on a rug."]);
/// </code></example>
public sealed partial class SentenceEmbedder : IEmbeddingGenerator<string, Embedding<float>>
{
    /// <summary>Most tokens of a text, special tokens included; more are cut off, and counted.</summary>
    public const int UsualLength = 256;

    // Tokens of a batch: enough for whole products, few enough that they stay in the processor's cache.
    private const int BatchTokens = 1024;
    private const int BatchRows = 64;

    private readonly Backbone backbone;

    // Rows of the token table, where they can be read from the body's file; null where the table is in memory.
    private MatrixRows? tokenRows;
    private readonly FrozenWeights? owned;
    private readonly Tokenizer tokenizer;
    private readonly ILogger? logger;
    private readonly EmbeddingGeneratorMetadata metadata;
    private readonly int longest;
    private readonly int emptyLength;
    private volatile bool disposed;

    private SentenceEmbedder(FrozenWeights weights, bool owns, ScalarType? frozenType, ILogger? logger)
    {
        tokenizer = weights.LoadTokenizer()
            ?? throw new PermafrostException($"{weights.Reference} has no tokenizer ({TokenizerFiles.Wanted}), so it reads no texts; all-MiniLM-L6-v2, for one, does");
        ScalarType type = frozenType ?? AdaptationOptions.BestFrozenType(torch.CPU);
        backbone = weights.CreateBackbone((body, name) => IsInFile(weights, body, name) ? WeightUse.Unused : WeightUse.Frozen, type);
        (owned, this.logger) = (owns ? weights : null, logger);
        longest = Math.Min(UsualLength, backbone.Traits.LongestInput ?? UsualLength);
        emptyLength = tokenizer.SpecialTokens;
        metadata = new EmbeddingGeneratorMetadata("permafrost", defaultModelId: weights.Reference, defaultModelDimensions: backbone.Traits.Width);
    }

    /// <summary>C, the numbers of an embedding.</summary>
    public int Dimensions => backbone.Traits.Width;

    /// <summary>Loads a body of its own.</summary>
    /// <param name="reference">A model folder with a tokenizer, a model in the Hugging Face cache, or <c>all-MiniLM-L6-v2</c>.</param>
    /// <param name="frozenType">Number format of the matrices: float32 or bfloat16; null for bfloat16 where the processor multiplies it, else float32.</param>
    /// <param name="logger">Told of texts that were cut; null for nobody.</param>
    /// <exception cref="PermafrostException">The body is missing or damaged, or has no tokenizer.</exception>
    public static SentenceEmbedder Load(string reference, ScalarType? frozenType = null, ILogger? logger = null)
    {
        var weights = FrozenWeights.Load(reference);
        try
        {
            return new SentenceEmbedder(weights, owns: true, frozenType, logger);
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Computes with a body that others share.</summary>
    /// <param name="weights">The body; not owned.</param>
    /// <param name="frozenType">As for <see cref="Load"/>.</param>
    /// <param name="logger">Told of texts that were cut; null for nobody.</param>
    /// <exception cref="PermafrostException">The body has no tokenizer.</exception>
    public static SentenceEmbedder Over(FrozenWeights weights, ScalarType? frozenType = null, ILogger? logger = null) => new(weights, owns: false, frozenType, logger);

    /// <summary>The embeddings of texts, in their order.</summary>
    /// <param name="values">The texts. One of more than 256 tokens is cut; how many were, <c>AdditionalProperties["cut_texts"]</c> says.</param>
    /// <param name="options">Its dimensions, where given, must be <see cref="Dimensions"/>; the model's name is not looked at.</param>
    /// <param name="cancellationToken">Ends it after the present batch.</param>
    /// <exception cref="PermafrostException">A text is empty, or holds nothing that the tokenizer reads; or other dimensions were asked for.</exception>
    /// <exception cref="ObjectDisposedException">The generator was disposed of.</exception>
    public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        ObjectDisposedException.ThrowIf(disposed, this);
        if (options?.Dimensions is { } dimensions && dimensions != Dimensions)
            throw new PermafrostException($"embeddings of {dimensions} numbers were asked for; {metadata.DefaultModelId} gives {Dimensions}");
        string[] texts = [.. values];
        return Task.Run(() => Generate(texts, cancellationToken), cancellationToken);
    }

    /// <summary>Metadata, or the generator itself, for whoever asks by type.</summary>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null) return null;
        if (serviceType == typeof(EmbeddingGeneratorMetadata)) return metadata;
        return serviceType.IsInstanceOfType(this) ? this : null;
    }

    /// <summary>Frees the model, and the body where it is the generator's own.</summary>
    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        backbone.Dispose();
        tokenRows?.Dispose();
        owned?.Dispose();
    }

    private bool IsInFile(FrozenWeights weights, Backbone body, string name) => name == body.TokenTable && (tokenRows ??= weights.OpenRows(name)) is not null;

    private GeneratedEmbeddings<Embedding<float>> Generate(string[] texts, CancellationToken cancellation)
    {
        var ids = new int[texts.Length][];
        (int cut, long tokens) = (0, 0);
        if (Array.IndexOf(texts, null) is >= 0 and var none) throw new PermafrostException($"text {none} is null");
        IReadOnlyList<TokenizedText> tokenized = tokenizer.EncodeBatch(texts, maxLength: longest, cancellation: cancellation);
        for (int i = 0; i < texts.Length; i++)
        {
            TokenizedText text = tokenized[i];
            if (text.Ids.Length <= emptyLength) throw new PermafrostException($"text {i} is empty or holds nothing that can be read, so it has no embedding; leave it out");
            ids[i] = text.Ids;
            tokens += text.Ids.Length;
            if (text.Dropped > 0) cut++;
        }
        var embeddings = new Embedding<float>[texts.Length];
        DateTimeOffset now = DateTimeOffset.UtcNow;
        // Texts of about one length go together, so that little padding is computed.
        int[] order = [.. Enumerable.Range(0, texts.Length).OrderByDescending(i => ids[i].Length)];
        for (int first = 0; first < order.Length;)
        {
            cancellation.ThrowIfCancellationRequested();
            int rows = Math.Min(Math.Clamp(BatchTokens / ids[order[first]].Length, 1, BatchRows), order.Length - first);
            int[] part = order[first..(first + rows)];
            float[] numbers = Compute([.. part.Select(i => ids[i])]);
            for (int row = 0; row < rows; row++)
                embeddings[part[row]] = new Embedding<float>(numbers.AsMemory(row * Dimensions, Dimensions).ToArray()) { CreatedAt = now, ModelId = metadata.DefaultModelId };
            first += rows;
        }
        if (cut > 0 && logger is not null) LogCut(logger, cut, longest);
        return new GeneratedEmbeddings<Embedding<float>>(embeddings)
        {
            Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens },
            AdditionalProperties = new AdditionalPropertiesDictionary { ["cut_texts"] = cut },
        };
    }

    // Rows of ids, the longest first.
    private float[] Compute(int[][] rows)
    {
        using var noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        PaddedTokens padded = tokenizer.Pad(rows);
        (int B, int T) = (padded.Rows, padded.Length);
        Tensor? mask = padded.IsPadded ? Tensors.From(padded.Mask, B, T) : null;
        try
        {
            ModelInputs given = tokenRows is { } table ? new ModelInputs(InputsEmbeds: table.Read(padded.Ids).view(B, T, Dimensions), AttentionMask: mask)
                : new ModelInputs(InputIds: Tensors.From(padded.Ids, B, T), AttentionMask: mask);
            Tensor hidden = backbone.Forward(given).LastHiddenState;
            Tensor mean = new Readout(ReadoutKind.Mean).Read(hidden, mask).squeeze(1);  // (B, C)
            return torch.nn.functional.normalize(mean, 2, 1).ToArray<float>();
        }
        catch (InvalidOperationException error) when (disposed)
        {
            throw new ObjectDisposedException($"this {nameof(SentenceEmbedder)} was disposed while it computed", error);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Count} text(s) were longer than {Longest} tokens, and cut")]
    private static partial void LogCut(ILogger logger, int count, int longest);
}
