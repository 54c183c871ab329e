using Permafrost.Torch;

namespace Permafrost.Nn;

/// <summary>A weight of a model: a name, a shape, a way to draw its start value, and, once loaded or drawn, its tensor.</summary>
/// <param name="name">The name within its module, as in Hugging Face's state dictionary.</param>
/// <param name="shape">Sizes along the dimensions.</param>
/// <param name="initializer">The architecture's published distribution.</param>
public sealed class Parameter(string name, long[] shape, Initializer initializer)
{
    private Tensor? value;

    /// <summary>The name within its module.</summary>
    public string Name { get; } = name;

    /// <summary>Sizes along the dimensions.</summary>
    public long[] Shape { get; } = shape;

    /// <summary>The architecture's published distribution.</summary>
    public Initializer Initializer { get; } = initializer;

    /// <summary>Number of elements.</summary>
    public long Elements => Shape.Aggregate(1L, (product, size) => product * size);

    /// <summary>The tensor. It belongs to the parameter, not to any scope.</summary>
    /// <exception cref="InvalidOperationException">Nothing was loaded or drawn yet, or the new tensor has another shape.</exception>
    public Tensor Value
    {
        get => value ?? throw new InvalidOperationException($"the parameter {Name}{Tensor.FormatShape(Shape)} was neither loaded nor initialised");
        set
        {
            if (!value.Shape.AsSpan().SequenceEqual(Shape)) throw new InvalidOperationException($"the parameter {Name} has the shape {Tensor.FormatShape(Shape)}, not {Tensor.FormatShape(value.Shape)}");
            if (this.value != value) this.value?.Dispose();
            this.value = TensorScope.Detach(value);
        }
    }

    /// <summary>Whether a value is there.</summary>
    public bool HasValue => value is not null;

    /// <summary>Draws the start value.</summary>
    public void Initialize(RandomState random, Initializer? other = null)
    {
        Tensor tensor = Tensor.Empty(Shape);
        (other ?? Initializer)(tensor, random);
        Value = tensor;
    }

    internal void Free()
    {
        value?.Dispose();
        value = null;
    }
}
