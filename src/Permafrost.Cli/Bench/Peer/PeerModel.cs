using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>A body between new layers, and one training step of it, in plain TorchSharp.</summary>
internal abstract class PeerModel(string name) : Module(name)
{
    /// <summary>The parameters that train: those of the body that the policy names, and the new layers.</summary>
    public IReadOnlyList<Parameter> Trained => [.. parameters().Where(parameter => parameter.requires_grad)];

    public long Elements => parameters().Sum(parameter => parameter.NumberOfElements);

    public long TrainedElements => Trained.Sum(parameter => parameter.NumberOfElements);

    /// <summary>The model that a shape describes.</summary>
    /// <param name="shape">The body's sizes and types.</param>
    /// <param name="inputs">The number of numbers in a vector, where vectors are fed.</param>
    /// <param name="classes">The number of logits.</param>
    /// <param name="everything">Whether the body's matrices train too.</param>
    public static PeerModel Make(PeerShape shape, int inputs, int classes, bool everything) =>
        shape.Family switch
        {
            "gpt2" => new PeerFpt(shape, inputs, classes, everything: everything),
            "bert" => new PeerBertFpt(shape, classes),
            _ => new PeerAdapted(shape, inputs, classes, mean: shape.Family != "qwen2"),
        };

    /// <summary>The body's own start values; those of norms and new layers are TorchSharp's.</summary>
    public abstract void Draw();

    /// <summary>The body's weights from a folder in Hugging Face's layout.</summary>
    public abstract void Load(string folder);

    /// <summary>The new layers, as <c>input_layer.weight</c> and so on.</summary>
    public abstract void SetLayers(Func<string, Tensor> value);

    /// <summary>(B, P, classes) logits.</summary>
    public abstract Tensor Logits(Tensor x);

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

    protected static void Set(Parameter parameter, Tensor value)
    {
        using IDisposable noGrad = no_grad();
        parameter.copy_(value);
    }

    protected static void SetAll(Func<string, Tensor> value, params (string Name, Linear Layer)[] layers)
    {
        foreach ((string name, Linear layer) in layers)
        {
            Set(layer.weight!, value($"{name}.weight"));
            Set(layer.bias!, value($"{name}.bias"));
        }
    }

    /// <summary>Normal start values of deviation 0.02, zero for biases, for what is no norm.</summary>
    protected static void DrawBody(Module body, string norm)
    {
        using IDisposable noGrad = no_grad();
        foreach ((string name, Parameter parameter) in body.named_parameters())
        {
            if (name.Contains(norm, StringComparison.OrdinalIgnoreCase)) continue;
            if (name.EndsWith("bias", StringComparison.Ordinal)) parameter.zero_();
            else parameter.normal_(0, 0.02);
        }
    }
}
