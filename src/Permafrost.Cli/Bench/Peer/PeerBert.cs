using Permafrost.Formats.Safetensors;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>
/// The Frozen Pretrained Transformer around BERT, fed with ids through its own token table, read as the mean of all positions, as a careful user of TorchSharp writes it:
/// nothing here is Permafrost's. As in <see cref="PeerGpt2"/>, frozen matrices lie in the type they are multiplied in, attention is libtorch's fused one, and norms and the stream
/// stay in float32. Norms and positions train, and the new output layer.
/// </summary>
internal sealed class PeerBertFpt : PeerModel
{
    private readonly PeerBert body;
    private readonly Linear output;

    public PeerBertFpt(PeerShape shape, int classes) : base("fpt")
    {
        (body, output) = (new PeerBert(shape), Linear(shape.Width, classes));
        register_module("sequence_model", body);
        register_module("out_net", output);
    }

    public override void Draw() => DrawBody(body, "LayerNorm");

    public override void Load(string folder)
    {
        using var file = new SafetensorsFile(Path.Combine(folder, "model.safetensors"));
        foreach ((string name, Parameter parameter) in body.named_parameters())
        {
            using Tensor value = file.View(name);
            Set(parameter, value);
        }
    }

    public override void SetLayers(Func<string, Tensor> value)
    {
        Set(output.weight!, value("output_layer.weight"));
        Set(output.bias!, value("output_layer.bias"));
    }

    public override Tensor Logits(Tensor x)
    {
        using DisposeScope scope = NewDisposeScope();
        return output.forward(body.forward(x).mean([1])).unsqueeze(1).MoveToOuterDisposeScope();
    }
}

/// <summary>BERT without its pooler, under Hugging Face's names.</summary>
internal sealed class PeerBert : Module<Tensor, Tensor>
{
    private readonly PeerShape shape;
    private readonly Embedding words, positions, types;
    private readonly LayerNorm norm;
    private readonly ModuleList<PeerBertLayer> layers;

    public PeerBert(PeerShape shape) : base("bert")
    {
        this.shape = shape;
        (words, positions, types) = (Embedding(shape.Vocabulary, shape.Width), Embedding(shape.Positions, shape.Width), Embedding(2, shape.Width));
        norm = LayerNorm(shape.Width, shape.Epsilon);
        (words.weight!.requires_grad, types.weight!.requires_grad) = (false, false);
        layers = ModuleList([.. Enumerable.Range(0, shape.Layers).Select(_ => new PeerBertLayer(shape))]);
        register_module("embeddings", new PeerGroup(("word_embeddings", words), ("position_embeddings", positions), ("token_type_embeddings", types), ("LayerNorm", norm)));
        register_module("encoder", new PeerGroup(("layer", layers)));
    }

    public override Tensor forward(Tensor ids)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor sum = words.forward(ids) + positions.weight!.narrow(0, 0, ids.size(1)) + types.weight!.narrow(0, 0, 1);
        Tensor stream = functional.dropout(norm.forward(sum), shape.Dropout, training);
        foreach (PeerBertLayer layer in layers) stream = layer.forward(stream);
        return stream.MoveToOuterDisposeScope();
    }
}

/// <summary>One post-norm layer.</summary>
internal sealed class PeerBertLayer : Module<Tensor, Tensor>
{
    private readonly PeerShape shape;
    private readonly PeerLinear query, key, value, projection, expand, contract;
    private readonly LayerNorm norm1, norm2;

    public PeerBertLayer(PeerShape shape) : base("layer")
    {
        this.shape = shape;
        PeerLinear Map(int inputs, int outputs) => new(inputs, outputs, trains: false, shape.Type);
        (query, key, value, projection) = (Map(shape.Width, shape.Width), Map(shape.Width, shape.Width), Map(shape.Width, shape.Width), Map(shape.Width, shape.Width));
        (expand, contract) = (Map(shape.Width, shape.Inner), Map(shape.Inner, shape.Width));
        (norm1, norm2) = (LayerNorm(shape.Width, shape.Epsilon), LayerNorm(shape.Width, shape.Epsilon));
        register_module("attention", new PeerGroup(
            ("self", new PeerGroup(("query", query), ("key", key), ("value", value))), ("output", new PeerGroup(("dense", projection), ("LayerNorm", norm1)))));
        register_module("intermediate", new PeerGroup(("dense", expand)));
        register_module("output", new PeerGroup(("dense", contract), ("LayerNorm", norm2)));
    }

    public override Tensor forward(Tensor stream)
    {
        // What autograd keeps stays alive without the handles that are freed here.
        using DisposeScope scope = NewDisposeScope();
        (long B, long T, long C) = (stream.size(0), stream.size(1), stream.size(2));
        Tensor x = stream.to(shape.Type);
        Tensor Heads(PeerLinear map) => map.forward(x).view(B, T, shape.Heads, C / shape.Heads).transpose(1, 2);
        Tensor context = functional.scaled_dot_product_attention(Heads(query), Heads(key), Heads(value), null, training ? shape.Dropout : 0, false);
        Tensor attended = projection.forward(context.transpose(1, 2).reshape(B, T, C));
        Tensor middle = norm1.forward(stream + functional.dropout(attended, shape.Dropout, training));
        Tensor inner = functional.gelu(expand.forward(middle.to(shape.Type)));
        return norm2.forward(middle + functional.dropout(contract.forward(inner), shape.Dropout, training)).MoveToOuterDisposeScope();
    }
}

/// <summary>Modules under names, as Hugging Face groups them.</summary>
internal sealed class PeerGroup : Module
{
    public PeerGroup(params (string Name, Module Module)[] members) : base("group")
    {
        foreach ((string name, Module module) in members) register_module(name, module);
    }
}
