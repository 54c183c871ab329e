using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>T5's encoder: relative biases from the first block, shared by all, added to scores that are not scaled.</summary>
internal sealed class PeerT5 : PeerBody
{
    private readonly ModuleList<PeerT5Block> blocks;
    private readonly PeerRmsNorm finalNorm;
    private readonly Embedding biases;
    private Tensor? buckets;

    public PeerT5(PeerShape shape) : base(shape, "t5")
    {
        biases = Embedding(shape.Distances.Buckets, shape.Heads);
        blocks = ModuleList([.. Enumerable.Range(0, shape.Layers).Select(layer => new PeerT5Block(shape, layer == 0 ? biases : null))]);
        finalNorm = new PeerRmsNorm(shape.Width, shape.Epsilon);
        PeerGroup.Register([("encoder.block", blocks), ("encoder.final_layer_norm", finalNorm)], (name, module) => register_module(name, module));
    }

    public override Tensor Run(Tensor vectors, int last = 0, List<Tensor>? states = null)
    {
        long tokens = vectors.size(1);
        if (buckets is null || buckets.size(0) != tokens) buckets = Buckets(tokens, vectors.device);
        Tensor bias = biases.forward(buckets).permute(2, 0, 1).unsqueeze(0).to(Shape.Type);  // (1, H, T, T)
        Tensor stream = Drop(vectors);
        foreach (PeerT5Block block in blocks)
        {
            states?.Add(stream);
            stream = block.forward(stream, bias);
        }
        Tensor hidden = Drop(finalNorm.forward(last == 0 ? stream : stream.narrow(1, tokens - last, last)));
        states?.Add(hidden);
        return hidden;
    }

    // T5Attention._relative_position_bucket of Hugging Face: exact for near keys, logarithmic for far ones, half of the buckets for keys behind the query.
    private Tensor Buckets(long tokens, Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor places = arange(tokens, int64, device), away = places.unsqueeze(0) - places.unsqueeze(1);
        (int half, int exact) = (Shape.Distances.Buckets / 2, Shape.Distances.Buckets / 4);
        Tensor side = away.gt(0).to(int64) * half, distance = away.abs();
        Tensor far = exact + (log(distance.to(float32) / exact) / Math.Log(Shape.Distances.MaxDistance / (double)exact) * (half - exact)).to(int64);
        return (side + where(distance.lt(exact), distance, far.clamp_max(half - 1))).DetachFromDisposeScope();
    }
}

/// <summary>One pre-norm layer: attention, then feed-forward, with a gate in version 1.1.</summary>
internal sealed class PeerT5Block : Module<Tensor, Tensor, Tensor>
{
    private readonly PeerShape shape;
    private readonly PeerLinear query, key, value, projection, expand, contract;
    private readonly PeerLinear? gated;
    private readonly PeerRmsNorm norm1, norm2;

    public PeerT5Block(PeerShape shape, Embedding? biases) : base("block")
    {
        this.shape = shape;
        PeerLinear Map(int inputs, int outputs) => new(inputs, outputs, trains: false, shape.Type, bias: false);
        int inner = shape.Heads * shape.HeadSize;
        (query, key, value, projection) = (Map(shape.Width, inner), Map(shape.Width, inner), Map(shape.Width, inner), Map(inner, shape.Width));
        (expand, contract) = (Map(shape.Width, shape.Inner), Map(shape.Inner, shape.Width));
        if (shape.IsGated) gated = Map(shape.Width, shape.Inner);
        (norm1, norm2) = (new PeerRmsNorm(shape.Width, shape.Epsilon), new PeerRmsNorm(shape.Width, shape.Epsilon));
        const string Attention = "layer.0.SelfAttention.", FeedForward = "layer.1.DenseReluDense.";
        List<(string, Module)> members =
        [
            (Attention + "q", query), (Attention + "k", key), (Attention + "v", value), (Attention + "o", projection), ("layer.0.layer_norm", norm1),
            (FeedForward + (gated is null ? "wi" : "wi_0"), expand), (FeedForward + "wo", contract), ("layer.1.layer_norm", norm2),
        ];
        if (gated is not null) members.Add((FeedForward + "wi_1", gated));
        if (biases is not null) members.Add((Attention + "relative_attention_bias", biases));
        PeerGroup.Register(members, (name, module) => register_module(name, module));
    }

    public override Tensor forward(Tensor stream, Tensor bias)
    {
        // What autograd keeps stays alive without the handles that are freed here.
        using DisposeScope scope = NewDisposeScope();
        Tensor x = norm1.forward(stream).to(shape.Type);
        // libtorch divides by the root of the head's size, T5 does not.
        Tensor q = PeerHeads.Split(query.forward(x) * Math.Sqrt(shape.HeadSize), shape.Heads);
        Tensor k = PeerHeads.Split(key.forward(x), shape.Heads), v = PeerHeads.Split(value.forward(x), shape.Heads);
        Tensor context = functional.scaled_dot_product_attention(q, k, v, bias, training ? shape.Dropout : 0, false);
        Tensor middle = stream + functional.dropout(projection.forward(PeerHeads.Join(context)), shape.Dropout, training);
        x = norm2.forward(middle).to(shape.Type);
        Tensor inner = gated is null
            ? functional.relu(expand.forward(x))
            : functional.gelu(expand.forward(x), TorchSharp.Modules.GELU.Approximate.tanh) * gated.forward(x);
        Tensor update = contract.forward(functional.dropout(inner, shape.Dropout, training));
        return (middle + functional.dropout(update, shape.Dropout, training)).MoveToOuterDisposeScope();
    }
}
