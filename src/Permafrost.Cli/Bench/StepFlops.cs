namespace Permafrost.Cli.Bench;

/// <summary>The sizes that a step's work depends on.</summary>
internal sealed record StepShape(int Batch, int Tokens, int Layers, int Width, int Inner);

/// <summary>What our path leaves out without changing a result, and what it computes twice.</summary>
/// <param name="CutFrom">From this layer on, all but attention's keys and values is computed at the read-out positions only; the number of layers: nowhere.</param>
/// <param name="ReadOut">The number of positions at the end that are read out.</param>
/// <param name="AttentionBlock">Attention goes by blocks of so many queries and keys, and leaves out those that are masked as a whole; 0: it computes the full square.</param>
internal sealed record StepShortcuts(int CutFrom, int ReadOut, int AttentionBlock)
{
    /// <summary>Those of Gpt2Model and native/attention.cpp.</summary>
    public static StepShortcuts Of(StepShape shape) => new(CutFrom: shape.Layers - 1, ReadOut: 1, AttentionBlock: 64);

    /// <summary>Where all positions are read and see each other, as in BertModel under the readout <c>mean</c>, nothing is left out.</summary>
    public static StepShortcuts None(StepShape shape) => new(CutFrom: shape.Layers, ReadOut: shape.Tokens, AttentionBlock: 0);
}

/// <summary>
/// Floating-point operations of the matrix products in the blocks of a GPT-2 step, two for each multiplication and addition. Input and output layer
/// (below 0.1 %) and everything that is no matrix product are left out.
/// </summary>
/// <param name="Nominal">All layers at all positions, attention as full squares: what a plain composition computes.</param>
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

        // A token's products with a block's weights: query C C, key and value 2 C C, projection C C, feed-forward 2 C F.
        double query = 2 * C * C, keyValue = 2 * 2 * C * C, projection = 2 * C * C, feedForward = 2 * 2 * C * F;
        double weights = query + keyValue + projection + feedForward;
        double scores = 2 * 2 * C;  // q k and p v of one query with one key, all heads together

        double nominal = shape.Layers * B * (passes * T * weights + attentionPasses * T * T * scores);

        // A pass backward by blocks computes the scores again: five products instead of four.
        double blockPasses = shortcuts.AttentionBlock == 0 || passes == 1 ? attentionPasses : 3.5;
        double full = passes * T * weights + blockPasses * Pairs(0, shape.Tokens, shortcuts.AttentionBlock) * scores;
        double cutPairs = Pairs(shape.Tokens - shortcuts.ReadOut, shape.Tokens, shortcuts.AttentionBlock);
        double cut = passes * (T * keyValue + R * (query + projection + feedForward)) + blockPasses * cutPairs * scores;
        double executed = B * (shortcuts.CutFrom * full + (shape.Layers - shortcuts.CutFrom) * cut);
        return new StepFlops(nominal, executed);
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
