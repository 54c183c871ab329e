using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>How a parameter is multiplied with, which decides whether a frozen one can be packed.</summary>
public enum MatrixLayout
{
    /// <summary>Not as a matrix: norms, biases, tables.</summary>
    None,
    /// <summary>As (inputs, outputs).</summary>
    InputsFirst,
    /// <summary>As (outputs, inputs).</summary>
    OutputsFirst,
}

/// <summary>A weight of a model: a name, a shape, a way to draw its start value, and, once loaded or drawn, its tensor.</summary>
/// <param name="name">The name within its module, as in Hugging Face's state dictionary.</param>
/// <param name="shape">Sizes along the dimensions.</param>
/// <param name="initializer">The architecture's published distribution.</param>
/// <param name="layout">How it is multiplied with.</param>
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

    /// <summary>How it is multiplied with.</summary>
    public MatrixLayout Layout { get; } = layout;

    /// <summary>Number of elements.</summary>
    public long Elements => Shape.Aggregate(1L, (product, size) => product * size);

    /// <summary>The tensor. It belongs to the parameter, not to any scope.</summary>
    /// <exception cref="InvalidOperationException">Nothing was loaded or drawn yet, or it is packed, or the new tensor has another shape.</exception>
    public Tensor Value
    {
        get => value ?? throw new InvalidOperationException(
            $"the parameter {Name}{TensorExtensions.FormatShape(Shape)} " +
            (packed is null ? "was neither loaded nor initialised" : "is frozen and packed, so only its layer can use it"));
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

    /// <summary>Whether it trains.</summary>
    public bool IsTrained => value is { requires_grad: true };

    /// <summary>Whether it is held in packed form only.</summary>
    public bool IsPacked => packed is not null;

    /// <summary>What is held in memory: the tensor, or its packed form.</summary>
    public Tensor Stored => packed ?? Value;

    /// <summary>
    /// Rounds a weight that will never train to bfloat16, and frees the float32 one: packed where this processor multiplies bfloat16, else as it is.
    /// What is not multiplied as a matrix (norms, biases, tables) stays float32.
    /// </summary>
    public void FreezeAsBFloat16()
    {
        if (Layout == MatrixLayout.None || packed is not null) return;
        using var noGrad = torch.no_grad();
        if (Value.IsOnCpu() && KernelSet.MultipliesBFloat16)
        {
            packed = Value.Pack(transposed: Layout == MatrixLayout.OutputsFirst).DetachFromDisposeScope();
            value!.Dispose();
            value = null;
        }
        else Value = Value.to(ScalarType.BFloat16);
    }

    /// <summary>Moves it to a device.</summary>
    public void To(Device device)
    {
        if (value is not null) Value = value.to(device);
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
