using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>How a parameter enters a matrix product, which decides whether a frozen one can be packed.</summary>
public enum MatrixLayout
{
    /// <summary>Not as a matrix: norms, biases, tables.</summary>
    None,
    /// <summary>As (inputs, outputs).</summary>
    InputsFirst,
    /// <summary>As (outputs, inputs), where the dimensions behind the first together are the inputs.</summary>
    OutputsFirst,
}

/// <summary>
/// A weight of a model: a name, a shape, a way to draw its start value, and, once there, its tensor. A trained one is the model's own; a frozen one is a view of memory that other
/// models may share, and only the layer that declared it uses it.
/// </summary>
/// <param name="name">The name within its module, as in Hugging Face's state dictionary.</param>
/// <param name="shape">Sizes along the dimensions.</param>
/// <param name="initializer">The architecture's published distribution.</param>
/// <param name="layout">How it enters a matrix product.</param>
public sealed class Parameter(string name, long[] shape, Initializer initializer, MatrixLayout layout = MatrixLayout.None)
{
    private Tensor? value;
    private Tensor? packed;

    /// <summary>The name within its module.</summary>
    public string Name { get; } = name;

    /// <summary>Sizes along the dimensions.</summary>
    public long[] Shape { get; } = shape;

    /// <summary>The architecture's published distribution.</summary>
    public Initializer Initializer { get; } = initializer;

    /// <summary>How it enters a matrix product.</summary>
    public MatrixLayout Layout { get; } = layout;

    /// <summary>Whether it is a constant that is stored with the weights: it never trains, and may be missing from a checkpoint.</summary>
    public bool IsBuffer { get; init; }

    /// <summary>The number of elements, the product of <see cref="Shape"/>.</summary>
    public long Elements => Shape.Aggregate(1L, (product, size) => product * size);

    /// <summary>The tensor. It belongs to the parameter, not to any scope.</summary>
    /// <exception cref="InvalidOperationException">Nothing was loaded or drawn yet, or it is packed, or the new tensor has another shape.</exception>
    public Tensor Value
    {
        get => value ?? throw new InvalidOperationException(
            $"the parameter {Name}{TensorExtensions.FormatShape(Shape)} " +
            (packed is null ? "was neither loaded nor drawn, or its model was disposed of" : "is frozen and packed, so only its layer can use it"));
        set
        {
            if (!value.HasShape(Shape))
                throw new InvalidOperationException($"the parameter {Name} has the shape {TensorExtensions.FormatShape(Shape)}, not {TensorExtensions.FormatShape(value.shape)}");
            if (!ReferenceEquals(this.value, value)) this.value?.Dispose();
            this.value = value.DetachFromDisposeScope();
        }
    }

    /// <summary>Whether a value is there, packed or not.</summary>
    public bool HasValue => value is not null || packed is not null;

    /// <summary>Whether it requires a gradient.</summary>
    public bool IsTrained => value is { requires_grad: true };

    /// <summary>The tensor as TorchSharp's optimisers take it; null where it does not train.</summary>
    public TorchSharp.Modules.Parameter? Trained => value as TorchSharp.Modules.Parameter;

    /// <summary>Whether it is held in packed form only.</summary>
    public bool IsPacked => packed is not null;

    /// <summary>What is held in memory: the tensor, or its packed form.</summary>
    public Tensor Stored => packed ?? Value;

    /// <summary><see cref="Stored"/> as a product reads it: a convolution's kernels (outputs, channels, height, width) are the rows of a matrix.</summary>
    internal Tensor Matrix => packed ?? (Shape.Length <= 2 ? Value : Value.Reshaped(Shape[0], Elements / Shape[0]));

    /// <summary>Makes it a trained parameter; nobody else may hold its memory.</summary>
    public void Train()
    {
        if (value is TorchSharp.Modules.Parameter) return;
        value = Tensors.AsParameter(Value);
    }

    /// <summary>Takes a frozen value that others share: its handle is this parameter's, its memory is not.</summary>
    /// <param name="tensor">A plain tensor of the parameter's shape, or a matrix in packed form.</param>
    /// <param name="isPacked">Whether <paramref name="tensor"/> is in packed form.</param>
    public void Share(Tensor tensor, bool isPacked)
    {
        if (!isPacked)
        {
            Value = tensor;
            return;
        }
        Free();
        packed = tensor.DetachFromDisposeScope();
    }

    /// <summary>Moves it to a device.</summary>
    /// <exception cref="PermafrostException">It is packed for the processor.</exception>
    public void To(Device device)
    {
        if (packed is not null && !device.IsCpu()) throw new PermafrostException("weights that are packed for the processor cannot be moved; make the model on the device");
        if (value is null || (value.device_type == device.type && (device.index < 0 || value.device_index == device.index))) return;
        bool trained = value.requires_grad;
        using (torch.no_grad()) Value = value.detach().to(device);
        if (trained) Train();
    }

    /// <summary>Draws the start value.</summary>
    public void Initialize(Generator random, Initializer? other = null)
    {
        Tensor tensor = Workspace.Empty(Shape);
        (other ?? Initializer)(tensor, random);
        Value = tensor;
    }

    /// <summary>Frees the value; the parameter is as before it was loaded.</summary>
    public void Free()
    {
        value?.Dispose();
        packed?.Dispose();
        (value, packed) = (null, null);
    }
}
