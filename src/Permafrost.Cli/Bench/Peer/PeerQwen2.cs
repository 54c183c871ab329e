using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>Qwen2: causal, rotary positions, heads of keys that heads of queries share, gated feed-forward layers. Without windows, as it is published.</summary>
internal sealed class PeerQwen2 : PeerBody
{
    private readonly ModuleList<PeerQwen2Layer> layers;
    private readonly PeerRmsNorm finalNorm;
    private Tensor? cos, sin;

    public PeerQwen2(PeerShape shape) : base(shape, "qwen2")
    {
        layers = ModuleList([.. Enumerable.Range(0, shape.Layers).Select(_ => new PeerQwen2Layer(shape))]);
        finalNorm = new PeerRmsNorm(shape.Width, shape.Epsilon);
        register_module("layers", layers);
        register_module("norm", finalNorm);
    }

    public override Tensor Run(Tensor vectors, int last = 0, List<Tensor>? states = null)
    {
        long tokens = vectors.size(1);
        if (cos is null || cos.size(0) != tokens) (cos, sin) = Angles(tokens, vectors.device);
        Tensor stream = vectors;
        foreach (PeerQwen2Layer layer in layers)
        {
            states?.Add(stream);
            stream = layer.forward(stream, cos, sin!);
        }
        // The norm works on each position by itself, so positions that nobody reads can be left out.
        Tensor hidden = finalNorm.forward(last == 0 ? stream : stream.narrow(1, tokens - last, last));
        states?.Add(hidden);
        return hidden;
    }

    // (T, D), computed once for a length.
    private (Tensor Cos, Tensor Sin) Angles(long tokens, Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor frequencies = 1.0 / pow(Shape.RopeTheta, arange(0, Shape.HeadSize, 2, float32, device) / Shape.HeadSize);
        Tensor half = arange(tokens, float32, device).outer(frequencies), angles = cat([half, half], -1);
        return (angles.cos().to(Shape.Type).DetachFromDisposeScope(), angles.sin().to(Shape.Type).DetachFromDisposeScope());
    }
}

/// <summary>One pre-norm layer.</summary>
internal sealed class PeerQwen2Layer : Module<Tensor, Tensor, Tensor, Tensor>
{
    private readonly PeerShape shape;
    private readonly PeerLinear query, key, value, projection, gate, up, down;
    private readonly PeerRmsNorm norm1, norm2;

    public PeerQwen2Layer(PeerShape shape) : base("layer")
    {
        this.shape = shape;
        PeerLinear Map(int inputs, int outputs, bool bias = false) => new(inputs, outputs, trains: false, shape.Type, bias);
        (int queries, int keys) = (shape.Heads * shape.HeadSize, shape.KeyHeads * shape.HeadSize);
        (query, key, value, projection) = (Map(shape.Width, queries, true), Map(shape.Width, keys, true), Map(shape.Width, keys, true), Map(queries, shape.Width));
        (gate, up, down) = (Map(shape.Width, shape.Inner), Map(shape.Width, shape.Inner), Map(shape.Inner, shape.Width));
        (norm1, norm2) = (new PeerRmsNorm(shape.Width, shape.Epsilon), new PeerRmsNorm(shape.Width, shape.Epsilon));
        PeerGroup.Register(
            [("self_attn.q_proj", query), ("self_attn.k_proj", key), ("self_attn.v_proj", value), ("self_attn.o_proj", projection),
                ("mlp.gate_proj", gate), ("mlp.up_proj", up), ("mlp.down_proj", down), ("input_layernorm", norm1), ("post_attention_layernorm", norm2)],
            (name, module) => register_module(name, module));
    }

    public override Tensor forward(Tensor stream, Tensor cos, Tensor sin)
    {
        // What autograd keeps stays alive without the handles that are freed here.
        using DisposeScope scope = NewDisposeScope();
        Tensor x = norm1.forward(stream).to(shape.Type);
        Tensor q = Turned(PeerHeads.Split(query.forward(x), shape.Heads), cos, sin);
        Tensor k = Shared(Turned(PeerHeads.Split(key.forward(x), shape.KeyHeads), cos, sin)), v = Shared(PeerHeads.Split(value.forward(x), shape.KeyHeads));
        Tensor context = functional.scaled_dot_product_attention(q, k, v, null, training ? shape.Dropout : 0, true);
        Tensor middle = stream + projection.forward(PeerHeads.Join(context));
        x = norm2.forward(middle).to(shape.Type);
        return (middle + down.forward(functional.silu(gate.forward(x)) * up.forward(x))).MoveToOuterDisposeScope();
    }

    // The halves of a head turn against each other.
    private Tensor Turned(Tensor x, Tensor cos, Tensor sin)
    {
        long half = shape.HeadSize / 2;
        return x * cos + cat([-x.narrow(-1, half, half), x.narrow(-1, 0, half)], -1) * sin;
    }

    // (B, heads, T, D): each head of keys as often as heads of queries share it.
    private Tensor Shared(Tensor x)
    {
        (long B, long T, long D, long times) = (x.size(0), x.size(2), x.size(3), shape.Heads / shape.KeyHeads);
        return times == 1 ? x : x.unsqueeze(2).expand(B, shape.KeyHeads, times, T, D).reshape(B, shape.Heads, T, D);
    }
}
