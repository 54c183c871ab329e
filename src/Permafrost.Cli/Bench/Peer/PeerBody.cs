using Permafrost.Formats.Safetensors;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>
/// A body that is fed vectors, as a careful user of TorchSharp writes it: nothing here is Permafrost's. Frozen matrices lie in the type they are multiplied in and go
/// through libtorch's fused linear, attention through its scaled_dot_product_attention; norms and the residual stream stay in float32. Norms and positions train. Names are
/// Hugging Face's.
/// </summary>
internal abstract class PeerBody(PeerShape shape, string name) : Module(name)
{
    protected PeerShape Shape => shape;

    /// <summary>The body of a family.</summary>
    public static PeerBody Make(PeerShape shape) => shape.Family switch
    {
        "t5" => new PeerT5(shape),
        "bart" => new PeerBart(shape),
        "vit" => new PeerVit(shape),
        "longformer" => new PeerLongformer(shape),
        "qwen2" => new PeerQwen2(shape),
        var other => throw new FormatException($"family is '{other}', which has no peer"),
    };

    /// <summary>The hidden states at the last positions, or at all of them.</summary>
    /// <param name="vectors">(B, T, width) float32.</param>
    /// <param name="last">How many positions are read; 0: all.</param>
    /// <param name="states">Receives the states after the embeddings and after each layer, as Hugging Face gives them.</param>
    public abstract Tensor Run(Tensor vectors, int last = 0, List<Tensor>? states = null);

    /// <summary>The weights of a folder in Hugging Face's layout, of the class with a head or the one without.</summary>
    public void Load(string folder)
    {
        using var file = new SafetensorsFile(Path.Combine(folder, "model.safetensors"));
        (string Name, Parameter Parameter)[] all = [.. named_parameters()];
        string prefix = new[] { "model.", "vit.", "longformer." }.FirstOrDefault(prefix => file.Entries.ContainsKey(prefix + all[0].Name)) ?? "";
        using IDisposable noGrad = no_grad();
        foreach ((string name, Parameter parameter) in all)
        {
            using Tensor value = file.View(prefix + name);
            parameter.copy_(value);
        }
    }

    protected Tensor Drop(Tensor x) => functional.dropout(x, shape.Dropout, training);
}

/// <summary>The Frozen Pretrained Transformer around a body that is fed vectors: a new input layer, the body, the last position or the mean of all, a new output layer.</summary>
internal sealed class PeerAdapted : PeerModel
{
    private readonly Linear input, output;
    private readonly PeerBody body;
    private readonly PeerShape shape;
    private readonly bool mean;

    public PeerAdapted(PeerShape shape, int inputs, int classes, bool mean) : base("fpt")
    {
        (this.shape, this.mean) = (shape, mean);
        (input, body, output) = (Linear(inputs, shape.Width), PeerBody.Make(shape), Linear(shape.Width, classes));
        register_module("in_net", input);
        register_module("sequence_model", body);
        register_module("out_net", output);
    }

    public override void Draw() => DrawBody(body, "norm");

    public override void Load(string folder) => body.Load(folder);

    public override void SetLayers(Func<string, Tensor> value) => SetAll(value, ("input_layer", input), ("output_layer", output));

    public override Tensor Logits(Tensor x)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor vectors = functional.dropout(input.forward(x), shape.Dropout, training);
        Tensor read = mean ? body.Run(vectors).mean([1], keepdim: true) : body.Run(vectors, last: 1);
        return output.forward(read).MoveToOuterDisposeScope();
    }
}

/// <summary>Modules under paths, as Hugging Face names them.</summary>
internal sealed class PeerGroup : Module
{
    private PeerGroup(IEnumerable<(string Path, Module Module)> members) : base("group") => Register(members, (name, module) => register_module(name, module));

    /// <summary>Registers modules under paths such as <c>attention.self.query</c>: the first part of each becomes a module of its own that holds the rest.</summary>
    public static void Register(IEnumerable<(string Path, Module Module)> members, Action<string, Module> register)
    {
        foreach (IGrouping<string, (string Path, Module Module)> group in members.GroupBy(member => member.Path.Split('.')[0]))
        {
            (string path, Module module) = group.First();
            register(group.Key, path == group.Key ? module : new PeerGroup(group.Select(member => (member.Path[(group.Key.Length + 1)..], member.Module))));
        }
    }
}

/// <summary>Attention's heads.</summary>
internal static class PeerHeads
{
    /// <summary>(B, heads, T, D) of (B, T, heads D).</summary>
    public static Tensor Split(Tensor x, int heads) => x.view(x.size(0), x.size(1), heads, x.size(2) / heads).transpose(1, 2);

    /// <summary>(B, T, heads D) of (B, heads, T, D).</summary>
    public static Tensor Join(Tensor x) => x.transpose(1, 2).reshape(x.size(0), x.size(2), x.size(1) * x.size(3));
}

/// <summary>Division by the root of the mean square, in float32; libtorch's rms_norm cannot be called from TorchSharp.</summary>
internal sealed class PeerRmsNorm : Module<Tensor, Tensor>
{
    private readonly Parameter weight;
    private readonly double epsilon;

    public PeerRmsNorm(int width, double epsilon) : base("norm")
    {
        this.epsilon = epsilon;
        weight = Parameter(ones(width));
        register_parameter("weight", weight);
    }

    public override Tensor forward(Tensor x)
    {
        using DisposeScope scope = NewDisposeScope();
        return (x * (x.square().mean([-1], keepdim: true) + epsilon).rsqrt() * weight).MoveToOuterDisposeScope();
    }
}
