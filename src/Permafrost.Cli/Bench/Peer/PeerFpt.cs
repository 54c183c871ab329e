using Permafrost.Formats.Safetensors;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>
/// The Frozen Pretrained Transformer around <see cref="PeerGpt2"/>: a new input layer, the body, a new output layer (kzl/universal-computation, fpt.py), and one
/// training step, in plain TorchSharp.
/// </summary>
internal sealed class PeerFpt : PeerModel
{
    private readonly Linear input, output;
    private readonly PeerShape shape;
    private readonly int last;

    /// <param name="shape">The body's sizes and types.</param>
    /// <param name="inputs">The number of numbers in a vector.</param>
    /// <param name="classes">The number of logits for each position that is read.</param>
    /// <param name="last">The number of positions at the end that are read.</param>
    /// <param name="everything">Whether the body's matrices train too, and not only norms and positions.</param>
    public PeerFpt(PeerShape shape, int inputs, int classes, int last = 1, bool everything = false) : base("fpt")
    {
        (this.shape, this.last) = (shape, last);
        (input, Body, output) = (Linear(inputs, shape.Width), new PeerGpt2(shape, everything), Linear(shape.Width, classes));
        register_module("in_net", input);
        register_module("sequence_model", Body);
        register_module("out_net", output);
    }

    public PeerGpt2 Body { get; }

    public override void Draw() => DrawBody(Body, "ln_");

    public override void Load(string folder)
    {
        using var file = new SafetensorsFile(Path.Combine(folder, "model.safetensors"));
        string prefix = file.Entries.ContainsKey("transformer.wpe.weight") ? "transformer." : "";
        foreach ((string name, Parameter parameter) in Body.named_parameters())
        {
            using Tensor value = file.View(prefix + name);
            // GPT-2's files hold matrices as (inputs, outputs); norms and the position table are as they are.
            Set(parameter, name.Contains(".c_", StringComparison.Ordinal) && value.dim() == 2 ? value.t() : value);
        }
    }

    public override void SetLayers(Func<string, Tensor> value) => SetAll(value, ("input_layer", input), ("output_layer", output));

    public override Tensor Logits(Tensor x)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor vectors = functional.dropout(input.forward(x), shape.Dropout, training);
        return output.forward(Body.Run(vectors, last)).MoveToOuterDisposeScope();
    }
}
