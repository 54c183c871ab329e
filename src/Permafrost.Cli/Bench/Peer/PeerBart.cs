using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>BART's encoder: learnt positions from row 2 on, a norm behind the embeddings, post-norm layers.</summary>
internal sealed class PeerBart : PeerBody
{
    // Rows 0 and 1 of the table stand for nothing.
    private const int FirstPosition = 2;

    private readonly Embedding positions;
    private readonly LayerNorm norm;
    private readonly ModuleList<PeerBartLayer> layers;

    public PeerBart(PeerShape shape) : base(shape, "bart")
    {
        (positions, norm) = (Embedding(shape.Positions + FirstPosition, shape.Width), LayerNorm(shape.Width, shape.Epsilon));
        layers = ModuleList([.. Enumerable.Range(0, shape.Layers).Select(_ => new PeerBartLayer(shape))]);
        PeerGroup.Register(
            [("encoder.embed_positions", positions), ("encoder.layers", layers), ("encoder.layernorm_embedding", norm)], (name, module) => register_module(name, module));
    }

    public override Tensor Run(Tensor vectors, int last = 0, List<Tensor>? states = null)
    {
        long tokens = vectors.size(1);
        Tensor stream = Drop(norm.forward(vectors + positions.weight!.narrow(0, FirstPosition, tokens)));
        foreach (PeerBartLayer layer in layers)
        {
            states?.Add(stream);
            stream = layer.forward(stream);
        }
        states?.Add(stream);
        return last == 0 ? stream : stream.narrow(1, tokens - last, last);
    }
}

/// <summary>One post-norm layer, with dropout inside the feed-forward part too.</summary>
internal sealed class PeerBartLayer : Module<Tensor, Tensor>
{
    private readonly PeerShape shape;
    private readonly PeerLinear query, key, value, projection, expand, contract;
    private readonly LayerNorm norm1, norm2;

    public PeerBartLayer(PeerShape shape) : base("layer")
    {
        this.shape = shape;
        PeerLinear Map(int inputs, int outputs) => new(inputs, outputs, trains: false, shape.Type);
        (query, key, value, projection) = (Map(shape.Width, shape.Width), Map(shape.Width, shape.Width), Map(shape.Width, shape.Width), Map(shape.Width, shape.Width));
        (expand, contract) = (Map(shape.Width, shape.Inner), Map(shape.Inner, shape.Width));
        (norm1, norm2) = (LayerNorm(shape.Width, shape.Epsilon), LayerNorm(shape.Width, shape.Epsilon));
        PeerGroup.Register(
            [("self_attn.q_proj", query), ("self_attn.k_proj", key), ("self_attn.v_proj", value), ("self_attn.out_proj", projection), ("self_attn_layer_norm", norm1),
                ("fc1", expand), ("fc2", contract), ("final_layer_norm", norm2)],
            (name, module) => register_module(name, module));
    }

    public override Tensor forward(Tensor stream)
    {
        // What autograd keeps stays alive without the handles that are freed here.
        using DisposeScope scope = NewDisposeScope();
        Tensor x = stream.to(shape.Type);
        Tensor Heads(PeerLinear map) => PeerHeads.Split(map.forward(x), shape.Heads);
        Tensor context = functional.scaled_dot_product_attention(Heads(query), Heads(key), Heads(value), null, training ? shape.Dropout : 0, false);
        Tensor attended = projection.forward(PeerHeads.Join(context));
        Tensor middle = norm1.forward(stream + functional.dropout(attended, shape.Dropout, training));
        Tensor inner = functional.dropout(functional.gelu(expand.forward(middle.to(shape.Type))), shape.Dropout, training);
        return norm2.forward(middle + functional.dropout(contract.forward(inner), shape.Dropout, training)).MoveToOuterDisposeScope();
    }
}
