using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>Longformer without global tokens: BERT's layers, in which every token sees a window.</summary>
internal sealed class PeerLongformer : PeerBody
{
    private readonly Embedding positions, types;
    private readonly LayerNorm norm;
    private readonly ModuleList<PeerBertLayer> layers;

    public PeerLongformer(PeerShape shape) : base(shape, "longformer")
    {
        (positions, types, norm) = (Embedding(shape.Positions, shape.Width), Embedding(1, shape.Width), LayerNorm(shape.Width, shape.Epsilon));
        types.weight!.requires_grad = false;
        Dictionary<int, PeerWindow> windows = shape.Windows.Distinct().ToDictionary(window => window, window => new PeerWindow(window / 2, shape.Type));
        layers = ModuleList([.. shape.Windows.Select(window => new PeerBertLayer(shape, windows[window].Attend))]);
        PeerGroup.Register(
            [("embeddings.position_embeddings", positions), ("embeddings.token_type_embeddings", types), ("embeddings.LayerNorm", norm), ("encoder.layer", layers)],
            (name, module) => register_module(name, module));
    }

    public override Tensor Run(Tensor vectors, int last = 0, List<Tensor>? states = null)
    {
        long tokens = vectors.size(1);
        Tensor sum = vectors + types.weight!.narrow(0, 0, 1) + positions.weight!.narrow(0, Shape.FirstPosition, tokens);
        Tensor stream = Drop(norm.forward(sum));
        foreach (PeerBertLayer layer in layers)
        {
            states?.Add(stream);
            stream = layer.forward(stream);
        }
        states?.Add(stream);
        return last == 0 ? stream : stream.narrow(1, tokens - last, last);
    }
}

/// <summary>
/// Attention to the keys at most <paramref name="half"/> places away. Short sequences are a square under a band mask. In longer ones a block of half a window's queries meets
/// three such blocks of keys, its own and both beside it, which overlap from block to block. Hugging Face's chunks of a whole window multiply each query with four.
/// </summary>
/// <param name="half">Keys that are seen on each side.</param>
/// <param name="type">The type of queries and keys.</param>
internal sealed class PeerWindow(int half, ScalarType type)
{
    // Added to scores: 0 or minus infinity. All layers and steps share it.
    private Tensor? mask;
    private (long Batch, long Tokens) made;

    /// <param name="q">(B, H, T, D).</param>
    /// <param name="k">(B, H, T, D).</param>
    /// <param name="v">(B, H, T, D).</param>
    /// <param name="dropout">Of probabilities.</param>
    /// <returns>(B, H, T, D).</returns>
    public Tensor Attend(Tensor q, Tensor k, Tensor v, double dropout)
    {
        (long B, long H, long T, long D) = (q.size(0), q.size(1), q.size(2), q.size(3));
        if (T <= half + 1) return functional.scaled_dot_product_attention(q, k, v, null, dropout, false);
        long blocks = T <= 3 * half ? 1 : (T + half - 1) / half, padded = blocks * half;
        if (mask is null || made != (B, T))
        {
            mask?.Dispose();
            (mask, made) = (blocks == 1 ? Band(T, q.device) : Bands(B, T, blocks, q.device), (B, T));
        }
        if (blocks == 1) return functional.scaled_dot_product_attention(q, k, v, mask, dropout, false);
        Tensor Around(Tensor x) =>
            functional.pad(x, [0, 0, half, padded - T + half]).unfold(2, 3 * half, half).permute(0, 2, 1, 4, 3).reshape(B * blocks, H, 3 * half, D);
        Tensor queries = functional.pad(q, [0, 0, 0, padded - T]).view(B, H, blocks, half, D).transpose(1, 2).reshape(B * blocks, H, half, D);
        Tensor context = functional.scaled_dot_product_attention(queries, Around(k), Around(v), mask, dropout, false);
        return context.view(B, blocks, H, half, D).transpose(1, 2).reshape(B, H, padded, D).narrow(2, 0, T);
    }

    // (T, T).
    private Tensor Band(long tokens, Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor places = arange(tokens, int64, device);
        return Hidden((places.unsqueeze(0) - places.unsqueeze(1)).abs().gt(half));
    }

    // (B blocks, 1, half, 3 half): of three blocks a query sees a band, and nothing before the first token and behind the last.
    private Tensor Bands(long batch, long tokens, long blocks, Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor starts = arange(blocks, int64, device).view(-1, 1, 1, 1) * half;
        Tensor query = starts + arange(half, int64, device).view(1, 1, -1, 1), key = starts + arange(-half, 2 * half, int64, device).view(1, 1, 1, -1);
        Tensor hidden = (query - key).abs().gt(half).logical_or(key.lt(0)).logical_or(key.ge(tokens));
        return Hidden(hidden.repeat(batch, 1, 1, 1));
    }

    private Tensor Hidden(Tensor hidden) => zeros(hidden.shape, type, hidden.device).masked_fill(hidden, double.NegativeInfinity).DetachFromDisposeScope();
}
