using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>ViT behind its projection of patches: learnt positions, pre-norm layers, a norm at the end.</summary>
internal sealed class PeerVit : PeerBody
{
    private readonly PeerVitPositions embeddings;
    private readonly LayerNorm finalNorm;
    private readonly ModuleList<PeerVitLayer> layers;

    public PeerVit(PeerShape shape) : base(shape, "vit")
    {
        (embeddings, finalNorm) = (new PeerVitPositions(shape), LayerNorm(shape.Width, shape.Epsilon));
        layers = ModuleList([.. Enumerable.Range(0, shape.Layers).Select(_ => new PeerVitLayer(shape))]);
        PeerGroup.Register([("embeddings", embeddings), ("encoder.layer", layers), ("layernorm", finalNorm)], (name, module) => register_module(name, module));
    }

    public override Tensor Run(Tensor vectors, int last = 0, List<Tensor>? states = null)
    {
        long tokens = vectors.size(1);
        Tensor stream = Drop(vectors + embeddings.Table.narrow(1, Shape.FirstPosition, tokens));
        foreach (PeerVitLayer layer in layers)
        {
            states?.Add(stream);
            stream = layer.forward(stream);
        }
        states?.Add(stream);
        return finalNorm.forward(last == 0 ? stream : stream.narrow(1, tokens - last, last));
    }
}

/// <summary>The position table; its first row is the class token's.</summary>
internal sealed class PeerVitPositions : Module
{
    public PeerVitPositions(PeerShape shape) : base("embeddings")
    {
        Table = Parameter(empty([1, shape.Positions + 1, shape.Width]));
        register_parameter("position_embeddings", Table);
    }

    public Parameter Table { get; }
}

/// <summary>One pre-norm layer.</summary>
internal sealed class PeerVitLayer : Module<Tensor, Tensor>
{
    private readonly PeerShape shape;
    private readonly PeerLinear query, key, value, projection, expand, contract;
    private readonly LayerNorm norm1, norm2;

    public PeerVitLayer(PeerShape shape) : base("layer")
    {
        this.shape = shape;
        PeerLinear Map(int inputs, int outputs, bool bias = true) => new(inputs, outputs, trains: false, shape.Type, bias);
        PeerLinear Own() => Map(shape.Width, shape.Width, shape.QueryBias);
        (query, key, value, projection) = (Own(), Own(), Own(), Map(shape.Width, shape.Width));
        (expand, contract) = (Map(shape.Width, shape.Inner), Map(shape.Inner, shape.Width));
        (norm1, norm2) = (LayerNorm(shape.Width, shape.Epsilon), LayerNorm(shape.Width, shape.Epsilon));
        PeerGroup.Register(
            [("attention.attention.query", query), ("attention.attention.key", key), ("attention.attention.value", value), ("attention.output.dense", projection),
                ("intermediate.dense", expand), ("output.dense", contract), ("layernorm_before", norm1), ("layernorm_after", norm2)],
            (name, module) => register_module(name, module));
    }

    public override Tensor forward(Tensor stream)
    {
        // What autograd keeps stays alive without the handles that are freed here.
        using DisposeScope scope = NewDisposeScope();
        Tensor x = norm1.forward(stream).to(shape.Type);
        Tensor Heads(PeerLinear map) => PeerHeads.Split(map.forward(x), shape.Heads);
        Tensor context = functional.scaled_dot_product_attention(Heads(query), Heads(key), Heads(value), null, training ? shape.Dropout : 0, false);
        Tensor middle = stream + functional.dropout(projection.forward(PeerHeads.Join(context)), shape.Dropout, training);
        Tensor inner = functional.gelu(expand.forward(norm2.forward(middle).to(shape.Type)));
        return (middle + functional.dropout(contract.forward(inner), shape.Dropout, training)).MoveToOuterDisposeScope();
    }
}
