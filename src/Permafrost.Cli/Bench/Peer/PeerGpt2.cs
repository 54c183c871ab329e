using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>
/// GPT-2 as a careful user of TorchSharp writes it, to measure against: nothing here is Permafrost's. Frozen weights lie in the type they are multiplied in, as
/// (outputs, inputs), and go through libtorch's fused linear; attention is libtorch's scaled_dot_product_attention; norms and the residual stream stay in
/// float32. Names are Hugging Face's, so that its files load by name. There is no token table: vectors are fed.
/// </summary>
internal sealed class PeerGpt2 : Module
{
    private readonly Embedding positions;
    private readonly ModuleList<PeerBlock> blocks;
    private readonly LayerNorm finalNorm;
    private readonly PeerShape shape;

    /// <param name="shape">Sizes and types.</param>
    /// <param name="everything">Whether its matrices train too, which are then held in float32.</param>
    public PeerGpt2(PeerShape shape, bool everything) : base("gpt2")
    {
        this.shape = shape;
        positions = Embedding(shape.Positions, shape.Width);
        blocks = ModuleList([.. Enumerable.Range(0, shape.Layers).Select(_ => new PeerBlock(shape, everything))]);
        finalNorm = LayerNorm(shape.Width, shape.Epsilon);
        register_module("wpe", positions);
        register_module("h", blocks);
        register_module("ln_f", finalNorm);
    }

    /// <summary>The hidden states at the last positions, or at all of them.</summary>
    /// <param name="vectors">(B, T, width) float32.</param>
    /// <param name="last">How many positions are read; 0: all.</param>
    /// <param name="states">Receives the states after the embeddings and after each layer.</param>
    public Tensor Run(Tensor vectors, int last = 0, List<Tensor>? states = null)
    {
        long tokens = vectors.size(1);
        Tensor stream = functional.dropout(vectors + positions.weight!.narrow(0, 0, tokens), shape.Dropout, training);
        foreach (PeerBlock block in blocks)
        {
            states?.Add(stream);
            stream = block.forward(stream);
        }
        // The norm works on each position by itself, so positions that nobody reads can be left out.
        return finalNorm.forward(last == 0 ? stream : stream.narrow(1, tokens - last, last));
    }
}

/// <summary>One pre-norm layer: attention, then feed-forward, each added to the residual stream.</summary>
internal sealed class PeerBlock : Module<Tensor, Tensor>
{
    private readonly PeerShape shape;
    private readonly LayerNorm norm1, norm2;
    private readonly PeerLinear attention, projection, expand, contract;

    public PeerBlock(PeerShape shape, bool everything) : base("block")
    {
        this.shape = shape;
        (norm1, norm2) = (LayerNorm(shape.Width, shape.Epsilon), LayerNorm(shape.Width, shape.Epsilon));
        attention = new PeerLinear(shape.Width, 3 * shape.Width, everything, shape.Type);
        projection = new PeerLinear(shape.Width, shape.Width, everything, shape.Type);
        expand = new PeerLinear(shape.Width, shape.Inner, everything, shape.Type);
        contract = new PeerLinear(shape.Inner, shape.Width, everything, shape.Type);
        register_module("ln_1", norm1);
        register_module("attn", new PeerPair("c_attn", attention, "c_proj", projection));
        register_module("ln_2", norm2);
        register_module("mlp", new PeerPair("c_fc", expand, "c_proj", contract));
    }

    public override Tensor forward(Tensor stream)
    {
        // What autograd keeps stays alive without the handles that are freed here.
        using DisposeScope scope = NewDisposeScope();
        (long B, long T, long C) = (stream.size(0), stream.size(1), stream.size(2));
        Tensor[] heads = attention.forward(norm1.forward(stream).to(shape.Type)).view(B, T, 3, shape.Heads, C / shape.Heads).permute(2, 0, 3, 1, 4).unbind(0);
        Tensor context = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], null, training ? shape.Dropout : 0, true);
        Tensor attended = projection.forward(context.transpose(1, 2).reshape(B, T, C));
        Tensor middle = stream + functional.dropout(attended, shape.Dropout, training);
        Tensor inner = functional.gelu(expand.forward(norm2.forward(middle).to(shape.Type)), TorchSharp.Modules.GELU.Approximate.tanh);
        return (middle + functional.dropout(contract.forward(inner), shape.Dropout, training)).MoveToOuterDisposeScope();
    }
}

/// <summary>Two linear maps under a name, as Hugging Face groups them.</summary>
internal sealed class PeerPair : Module
{
    public PeerPair(string firstName, PeerLinear first, string secondName, PeerLinear second) : base("pair")
    {
        register_module(firstName, first);
        register_module(secondName, second);
    }
}

/// <summary>A linear map. One that trains is held in float32, as an optimiser needs it, and multiplied in the computing type.</summary>
internal sealed class PeerLinear : Module<Tensor, Tensor>
{
    private readonly Parameter weight;
    private readonly Parameter? bias;
    private readonly ScalarType type;

    public PeerLinear(long inputs, long outputs, bool trains, ScalarType type, bool bias = true) : base("linear")
    {
        this.type = type;
        ScalarType stored = trains ? ScalarType.Float32 : type;
        weight = Parameter(empty([outputs, inputs], stored), trains);
        register_parameter("weight", weight);
        if (!bias) return;
        this.bias = Parameter(empty([outputs], stored), trains);
        register_parameter("bias", this.bias);
    }

    public override Tensor forward(Tensor x) => functional.linear(x, weight.to(type), bias?.to(type));
}
