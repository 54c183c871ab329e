using Permafrost.Formats.Safetensors;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>
/// The Frozen Pretrained Transformer around <see cref="PeerGpt2"/>: a new input layer, the body, a new output layer (kzl/universal-computation, fpt.py), and one
/// training step, in plain TorchSharp.
/// </summary>
internal sealed class PeerFpt : Module
{
    private readonly Linear input, output;
    private readonly PeerShape shape;
    private readonly int last;

    /// <param name="shape">The body's sizes and types.</param>
    /// <param name="inputs">Numbers in a vector.</param>
    /// <param name="classes">Logits of a position that is read.</param>
    /// <param name="last">How many final positions are read.</param>
    /// <param name="everything">Train the body's matrices too, not only norms and positions.</param>
    public PeerFpt(PeerShape shape, int inputs, int classes, int last = 1, bool everything = false) : base("fpt")
    {
        (this.shape, this.last) = (shape, last);
        (input, Body, output) = (Linear(inputs, shape.Width), new PeerGpt2(shape, everything), Linear(shape.Width, classes));
        register_module("in_net", input);
        register_module("sequence_model", Body);
        register_module("out_net", output);
    }

    public PeerGpt2 Body { get; }

    /// <summary>What trains: what the policy's body leaves trainable, and both new layers.</summary>
    public IReadOnlyList<Parameter> Trained => [.. parameters().Where(parameter => parameter.requires_grad)];

    public long Elements => parameters().Sum(parameter => parameter.NumberOfElements);

    public long TrainedElements => Trained.Sum(parameter => parameter.NumberOfElements);

    /// <summary>GPT-2's own start values; those of norms and new layers are TorchSharp's.</summary>
    public void Draw()
    {
        using IDisposable noGrad = no_grad();
        foreach ((string name, Parameter parameter) in Body.named_parameters())
        {
            if (name.Contains("ln_", StringComparison.Ordinal)) continue;
            if (name.EndsWith("bias", StringComparison.Ordinal)) parameter.zero_();
            else parameter.normal_(0, 0.02);
        }
    }

    /// <summary>The body's weights from a folder in Hugging Face's layout.</summary>
    public void Load(string folder)
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

    /// <summary>The new layers, as <c>input_layer.weight</c> and so on.</summary>
    public void SetLayers(Func<string, Tensor> value)
    {
        foreach ((string name, Linear layer) in new[] { ("input_layer", input), ("output_layer", output) })
        {
            Set(layer.weight!, value($"{name}.weight"));
            Set(layer.bias!, value($"{name}.bias"));
        }
    }

    /// <summary>(B, P, classes) logits.</summary>
    public Tensor Logits(Tensor x)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor vectors = functional.dropout(input.forward(x), shape.Dropout, training);
        return output.forward(Body.Run(vectors, last)).MoveToOuterDisposeScope();
    }

    /// <summary>Mean cross entropy; a sample's logits are shared out evenly among its targets.</summary>
    public Tensor Loss(Tensor x, Tensor y) => functional.cross_entropy(Logits(x).reshape(y.NumberOfElements, -1), y.reshape(-1));

    /// <summary>One update; returns the loss and the gradients' norm before clipping.</summary>
    public (double Loss, double Norm) Step(optim.Optimizer optimizer, IReadOnlyList<Parameter> trained, Tensor x, Tensor y, double maxNorm)
    {
        using DisposeScope scope = NewDisposeScope();
        optimizer.zero_grad();
        Tensor loss = Loss(x, y);
        loss.backward();
        double norm = nn.utils.clip_grad_norm_(trained, maxNorm);
        optimizer.step();
        return (loss.item<float>(), norm);
    }

    private static void Set(Parameter parameter, Tensor value)
    {
        using IDisposable noGrad = no_grad();
        parameter.copy_(value);
    }
}
