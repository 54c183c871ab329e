using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench;

/// <summary>The sizes that a step's work depends on.</summary>
internal sealed record StepShape(int Batch, int Tokens, int Layers, int Width, int Inner)
{
    /// <summary>Numbers of a token's queries, all heads together.</summary>
    public int Queries { get; init; } = Width;

    /// <summary>Numbers of a token's keys, and of its values; fewer where heads share them.</summary>
    public int Keys { get; init; } = Width;

    /// <summary>Maps from the stream to the inner numbers; 2 where one is a gate.</summary>
    public int Expansions { get; init; } = 1;

    /// <summary>How many keys a query sees on each side of its own; null for all.</summary>
    public int? HalfWindow { get; init; }

    /// <summary>From the sizes that <see cref="BenchBody"/> tells.</summary>
    public static StepShape Parse(JsonObject sizes, int batch, int tokens)
    {
        (int heads, int headSize) = ((int)sizes["heads"]!, (int?)sizes["head_size"] ?? (int)sizes["width"]! / (int)sizes["heads"]!);
        return new StepShape(batch, tokens, (int)sizes["layers"]!, (int)sizes["width"]!, (int)sizes["inner"]!)
        {
            Queries = heads * headSize,
            Keys = ((int?)sizes["key_heads"] ?? heads) * headSize,
            Expansions = (bool?)sizes["gated"] == true ? 2 : 1,
            HalfWindow = (int?)sizes["windows"]?.AsArray().Max(window => (int)window!) / 2,
        };
    }
}

/// <summary>What our path leaves out without changing a result, and what it computes twice.</summary>
/// <param name="CutFrom">From this layer on, all but attention's keys and values is computed at the read-out positions only; the number of layers: nowhere.</param>
/// <param name="ReadOut">The number of positions at the end that are read out.</param>
/// <param name="AttentionBlock">Attention goes by blocks of so many queries and keys, and leaves out those that are masked as a whole; 0: it computes the full square.</param>
internal sealed record StepShortcuts(int CutFrom, int ReadOut, int AttentionBlock)
{
    /// <summary>Those of Gpt2Model and native/attention.cpp.</summary>
    public static StepShortcuts Of(StepShape shape) => new(CutFrom: shape.Layers - 1, ReadOut: 1, AttentionBlock: 64);

    /// <summary>Where all positions are read, as in BertModel under the readout <c>mean</c>, nothing is left out.</summary>
    public static StepShortcuts None(StepShape shape) => new(CutFrom: shape.Layers, ReadOut: shape.Tokens, AttentionBlock: 0);
}

/// <summary>
/// Floating-point operations of the matrix products in the blocks of a step, two for each multiplication and addition. Input and output layer
/// (below 0.1 %) and everything that is no matrix product are left out.
/// </summary>
/// <param name="Nominal">All layers at all positions, attention as full squares, or whole windows: what a plain composition computes.</param>
/// <param name="Executed">What our path computes; the fraction of the ceiling counts these.</param>
internal readonly record struct StepFlops(double Nominal, double Executed)
{
    /// <param name="shape">The step's sizes.</param>
    /// <param name="shortcuts">What our path leaves out.</param>
    /// <param name="passes">1 forward only; 2 with the gradients of the products' inputs; 3 with those of the weights too.</param>
    public static StepFlops Of(StepShape shape, StepShortcuts shortcuts, int passes)
    {
        (double B, double T, double C, double F, double R) = (shape.Batch, shape.Tokens, shape.Width, shape.Inner, shortcuts.ReadOut);
        // Attention's two products have no weights, and both their operands get gradients: one pass forward, two backward.
        int attentionPasses = passes == 1 ? 1 : 3;

        // A token's products with a block's weights: query C Q, key and value 2 C K, projection Q C, feed-forward 2 C F, or 3 C F with a gate.
        (double Q, double K) = (shape.Queries, shape.Keys);
        double query = 2 * C * Q, keyValue = 2 * 2 * C * K, projection = 2 * Q * C, feedForward = 2 * (1 + shape.Expansions) * C * F;
        double weights = query + keyValue + projection + feedForward;
        double scores = 2 * 2 * Q;  // q k and p v of one query with one key, all heads together

        double nominal = shape.Layers * B * (passes * T * weights + attentionPasses * Window(shape) * scores);

        // A pass backward by blocks computes the scores again: five products instead of four.
        double blockPasses = shortcuts.AttentionBlock == 0 || passes == 1 ? attentionPasses : 3.5;
        double pairs = shortcuts.AttentionBlock == 0 ? Window(shape) : Pairs(0, shape.Tokens, shortcuts.AttentionBlock);
        double full = passes * T * weights + blockPasses * pairs * scores;
        double cutPairs = Pairs(shape.Tokens - shortcuts.ReadOut, shape.Tokens, shortcuts.AttentionBlock);
        double cut = passes * (T * keyValue + R * (query + projection + feedForward)) + blockPasses * cutPairs * scores;
        double executed = B * (shortcuts.CutFrom * full + (shape.Layers - shortcuts.CutFrom) * cut);
        return new StepFlops(nominal, executed);
    }

    // The number of keys, over all queries, that a query sees before and behind it.
    private static double Window(StepShape shape)
    {
        double T = shape.Tokens, half = Math.Min(shape.HalfWindow ?? T, T - 1);
        return T * (2 * half + 1) - half * (half + 1);
    }

    // The number of keys, over all causal queries [first, tokens), that a query is multiplied with; a block of queries takes all keys up to the block of its last query.
    private static double Pairs(int first, int tokens, int block)
    {
        if (block == 0) return (double)(tokens - first) * tokens;
        double pairs = 0;
        for (int start = first; start < tokens; start += block)
        {
            int end = Math.Min(start + block, tokens);
            pairs += (double)(end - start) * Math.Min(tokens, (end - 1) / block * block + block);
        }
        return pairs;
    }
}
