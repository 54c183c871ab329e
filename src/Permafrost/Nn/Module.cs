using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>A layer or model: parameters and inner modules under the names of Hugging Face's state dictionary.</summary>
public abstract class Module : IDisposable
{
    private const int PlacesPerModule = 8;

    private readonly List<Parameter> parameters = [];
    private readonly List<(string Name, Module Module)> modules = [];

    private DropoutKeys dropoutKeys = new();
    private int dropoutPlace;

    /// <summary>Whether dropout is on.</summary>
    public bool Training { get; private set; }

    /// <summary>Every parameter with its full name (<c>h.0.attn.c_attn.weight</c>), in the order of declaration.</summary>
    public IEnumerable<(string Name, Parameter Parameter)> NamedParameters()
    {
        foreach (Parameter parameter in parameters) yield return (parameter.Name, parameter);
        foreach ((string name, Module module) in modules)
            foreach ((string inner, Parameter parameter) in module.NamedParameters())
                yield return (name.Length == 0 ? inner : $"{name}.{inner}", parameter);
    }

    /// <summary>Type of what flows between its layers: bfloat16 where frozen weights are; sums, norms and the residual stream are float32 always.</summary>
    public ScalarType ActivationType { get; private set; } = ScalarType.Float32;

    /// <summary>Sets <see cref="ActivationType"/>, here and in every inner module.</summary>
    public void UseActivationType(ScalarType type)
    {
        ActivationType = type;
        foreach ((_, Module module) in modules) module.UseActivationType(type);
    }

    /// <summary>Switches dropout on or off, here and in every inner module.</summary>
    public void Train(bool training)
    {
        Training = training;
        foreach ((_, Module module) in modules) module.Train(training);
    }

    /// <summary>Where the dropouts here and in every inner module take their keys from; each place in the model gets a number of its own.</summary>
    public void UseDropoutKeys(DropoutKeys keys)
    {
        int place = 0;
        UseDropoutKeys(keys, ref place);
    }

    private void UseDropoutKeys(DropoutKeys keys, ref int place)
    {
        dropoutKeys = keys;
        dropoutPlace = place;
        place += PlacesPerModule;
        foreach ((_, Module module) in modules) module.UseDropoutKeys(keys, ref place);
    }

    /// <summary>One of this module's dropouts; it drops nothing unless the module is being trained.</summary>
    /// <param name="probability">With which an element is dropped.</param>
    /// <param name="number">Tells the module's own dropouts apart: 0 to 7.</param>
    protected DropoutDraw Dropout(double probability, int number = 0) => Training && probability > 0 ? dropoutKeys.Draw(probability, dropoutPlace + number) : DropoutDraw.None;

    /// <summary>Frees every parameter.</summary>
    public void Dispose()
    {
        foreach ((_, Parameter parameter) in NamedParameters()) parameter.Free();
        GC.SuppressFinalize(this);
    }

    /// <summary>Declares a parameter.</summary>
    protected Parameter Declare(string name, long[] shape, Initializer initializer, MatrixLayout layout = MatrixLayout.None)
    {
        var parameter = new Parameter(name, shape, initializer, layout);
        parameters.Add(parameter);
        return parameter;
    }

    /// <summary>Declares an inner module; with an empty name its parameters appear without a prefix.</summary>
    protected T Declare<T>(string name, T module) where T : Module
    {
        modules.Add((name, module));
        return module;
    }
}
