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
    private readonly Linear output;

    public PeerBertFpt(PeerShape shape, int classes) : base("fpt")
    {
        (Body, output) = (new PeerBert(shape), Linear(shape.Width, classes));
        register_module("sequence_model", Body);
        register_module("out_net", output);
    }

    public PeerBert Body { get; }

    public override void Draw() => DrawBody(Body, "LayerNorm");

    public override void Load(string folder)
    {
        using var file = new SafetensorsFile(Path.Combine(folder, "model.safetensors"));
        string prefix = file.Entries.ContainsKey("bert.embeddings.LayerNorm.weight") ? "bert." : "";
        foreach ((string name, Parameter parameter) in Body.named_parameters())
        {
            using Tensor value = file.View(prefix + name);
            Set(parameter, value);
        }
    }

    public override void SetLayers(Func<string, Tensor> value) => SetAll(value, ("output_layer", output));

    public override Tensor Logits(Tensor x)
    {
        using DisposeScope scope = NewDisposeScope();
        return output.forward(Body.Run(x).mean([1])).unsqueeze(1).MoveToOuterDisposeScope();
    }
}

/// <summary>BERT without its pooler, under Hugging Face's names.</summary>
internal sealed class PeerBert : Module
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
        PeerGroup.Register(
            [("embeddings.word_embeddings", words), ("embeddings.position_embeddings", positions), ("embeddings.token_type_embeddings", types),
                ("embeddings.LayerNorm", norm), ("encoder.layer", layers)],
            (name, module) => register_module(name, module));
    }

    /// <summary>The hidden states (B, T, width) of ids (B, T).</summary>
    /// <param name="ids">int64.</param>
    /// <param name="states">Receives the states after the embeddings and after each layer.</param>
    public Tensor Run(Tensor ids, List<Tensor>? states = null)
    {
        Tensor sum = words.forward(ids) + positions.weight!.narrow(0, 0, ids.size(1)) + types.weight!.narrow(0, 0, 1);
        Tensor stream = functional.dropout(norm.forward(sum), shape.Dropout, training);
        foreach (PeerBertLayer layer in layers)
        {
            states?.Add(stream);
            stream = layer.forward(stream);
        }
        states?.Add(stream);
        return stream;
    }
}

/// <summary>One post-norm layer.</summary>
internal sealed class PeerBertLayer : Module<Tensor, Tensor>
{
    private readonly PeerShape shape;
    private readonly PeerLinear query, key, value, projection, expand, contract;
    private readonly LayerNorm norm1, norm2;
    private readonly Func<Tensor, Tensor, Tensor, double, Tensor> attend;

    /// <param name="shape">Sizes and types.</param>
    /// <param name="attend">Attention of heads (B, H, T, D) with a dropout; null where every token sees every token.</param>
    public PeerBertLayer(PeerShape shape, Func<Tensor, Tensor, Tensor, double, Tensor>? attend = null) : base("layer")
    {
        this.shape = shape;
        this.attend = attend ?? ((q, k, v, dropout) => functional.scaled_dot_product_attention(q, k, v, null, dropout, false));
        PeerLinear Map(int inputs, int outputs) => new(inputs, outputs, trains: false, shape.Type);
        (query, key, value, projection) = (Map(shape.Width, shape.Width), Map(shape.Width, shape.Width), Map(shape.Width, shape.Width), Map(shape.Width, shape.Width));
        (expand, contract) = (Map(shape.Width, shape.Inner), Map(shape.Inner, shape.Width));
        (norm1, norm2) = (LayerNorm(shape.Width, shape.Epsilon), LayerNorm(shape.Width, shape.Epsilon));
        PeerGroup.Register(
            [("attention.self.query", query), ("attention.self.key", key), ("attention.self.value", value),
                ("attention.output.dense", projection), ("attention.output.LayerNorm", norm1),
                ("intermediate.dense", expand), ("output.dense", contract), ("output.LayerNorm", norm2)],
            (name, module) => register_module(name, module));
    }

    public override Tensor forward(Tensor stream)
    {
        // What autograd keeps stays alive without the handles that are freed here.
        using DisposeScope scope = NewDisposeScope();
        Tensor x = stream.to(shape.Type);
        Tensor Heads(PeerLinear map) => PeerHeads.Split(map.forward(x), shape.Heads);
        Tensor context = attend(Heads(query), Heads(key), Heads(value), training ? shape.Dropout : 0);
        Tensor attended = projection.forward(PeerHeads.Join(context));
        Tensor middle = norm1.forward(stream + functional.dropout(attended, shape.Dropout, training));
        Tensor inner = functional.gelu(expand.forward(middle.to(shape.Type)));
        return norm2.forward(middle + functional.dropout(contract.forward(inner), shape.Dropout, training)).MoveToOuterDisposeScope();
    }
}
