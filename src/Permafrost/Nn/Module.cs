using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>
/// A layer or model: parameters and inner modules under the names of Hugging Face's state dictionary. To TorchSharp it is a module whose parameters are the trained ones: those
/// are what <c>parameters()</c> gives an optimiser and <c>state_dict()</c> saves. Frozen weights belong to whoever loaded them, and are only read here.
/// </summary>
public abstract class Module : torch.nn.Module
{
    private const int PlacesPerModule = 8;

    private readonly List<Parameter> own = [];
    private readonly List<(string Name, Module Module)> inner = [];

    private DropoutKeys dropoutKeys = new();
    private int dropoutPlace;
    private bool isTraining;
    private bool released;

    /// <summary>An empty module.</summary>
    protected Module() : base("permafrost") { }

    /// <summary>Whether dropout is on; off at first.</summary>
    public override bool training => isTraining;

    /// <summary>The element type of what layers pass on to each other: bfloat16 where frozen weights are; sums, norms and the residual stream are always float32.</summary>
    public ScalarType ActivationType { get; private set; } = ScalarType.Float32;

    /// <summary>Every parameter with its full name (<c>h.0.attn.c_attn.weight</c>), trained or not, in the order of declaration.</summary>
    public IEnumerable<(string Name, Parameter Parameter)> NamedParameters()
    {
        foreach (Parameter parameter in own) yield return (parameter.Name, parameter);
        foreach ((string name, Module module) in inner)
            foreach ((string rest, Parameter parameter) in module.NamedParameters())
                yield return (Join(name, rest), parameter);
    }

    /// <summary>Sets <see cref="ActivationType"/>, here and in every inner module.</summary>
    public void UseActivationType(ScalarType type)
    {
        ActivationType = type;
        foreach ((_, Module module) in inner) module.UseActivationType(type);
    }

    /// <summary>Switches dropout on or off, here and in every inner module.</summary>
    public override void train(bool train = true)
    {
        isTraining = train;
        foreach ((_, Module module) in inner) module.train(train);
    }

    /// <summary>Switches dropout off.</summary>
    public override void eval() => train(false);

    /// <summary>The trained parameters with their full names.</summary>
    public override IEnumerable<(string name, TorchSharp.Modules.Parameter parameter)> named_parameters(bool recurse = true)
    {
        foreach ((string name, Parameter parameter) in recurse ? NamedParameters() : own.Select(parameter => (parameter.Name, parameter)))
            if (parameter.Trained is { } trained) yield return (name, trained);
    }

    /// <summary>The trained parameters.</summary>
    public override IEnumerable<TorchSharp.Modules.Parameter> parameters(bool recurse = true) => named_parameters(recurse).Select(pair => pair.parameter);

    /// <summary>The trained parameters by name.</summary>
    public override Dictionary<string, Tensor> state_dict(Dictionary<string, Tensor>? destination = null, string? prefix = null)
    {
        destination ??= [];
        foreach ((string name, TorchSharp.Modules.Parameter parameter) in named_parameters()) destination.Add(Join(prefix ?? "", name), parameter);
        return destination;
    }

    /// <summary>The inner modules with their names.</summary>
    public override IEnumerable<(string name, torch.nn.Module module)> named_children() => released ? [] : inner.Select(pair => (pair.Name, (torch.nn.Module)pair.Module));

    /// <summary>This module and every module in it, with their full names.</summary>
    public override IEnumerable<(string name, torch.nn.Module module)> named_modules()
    {
        if (released) yield break;
        yield return ("", this);
        foreach ((string name, Module child) in inner)
            foreach ((string rest, torch.nn.Module module) in child.named_modules()) yield return (rest.Length == 0 ? name : Join(name, rest), module);
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
        foreach ((_, Module module) in inner) module.UseDropoutKeys(keys, ref place);
    }

    /// <summary>One of this module's dropouts; it drops nothing unless the module is being trained.</summary>
    /// <param name="probability">The probability with which an element is dropped.</param>
    /// <param name="number">Tells the module's own dropouts apart: 0 to 7.</param>
    protected DropoutDraw Dropout(double probability, int number = 0) => isTraining && probability > 0 ? dropoutKeys.Draw(probability, dropoutPlace + number) : DropoutDraw.None;

    /// <summary>Declares a parameter.</summary>
    /// <param name="name">Its name within this module.</param>
    /// <param name="shape">Sizes along the dimensions.</param>
    /// <param name="initializer">The architecture's published distribution.</param>
    /// <param name="layout">How it enters a matrix product.</param>
    protected Parameter Declare(string name, long[] shape, Initializer initializer, MatrixLayout layout = MatrixLayout.None)
    {
        var parameter = new Parameter(name, shape, initializer, layout);
        own.Add(parameter);
        return parameter;
    }

    /// <summary>Declares a constant that is stored with the weights; where a checkpoint lacks it, <paramref name="initializer"/> gives it.</summary>
    /// <param name="name">Its name within this module.</param>
    /// <param name="shape">Sizes along the dimensions.</param>
    /// <param name="initializer">What it is where nothing is stored.</param>
    protected Parameter DeclareBuffer(string name, long[] shape, Initializer initializer)
    {
        var buffer = new Parameter(name, shape, initializer) { IsBuffer = true };
        own.Add(buffer);
        return buffer;
    }

    /// <summary>Declares an inner module; with an empty name its parameters appear without a prefix.</summary>
    protected T Declare<T>(string name, T module) where T : Module
    {
        inner.Add((name, module));
        return module;
    }

    /// <summary>Frees the trained parameters, and this module's hold on the frozen ones, which others may share.</summary>
    protected override void Dispose(bool disposing)
    {
        if (released) return;
        if (disposing)
        {
            foreach (Parameter parameter in own) parameter.Free();
            foreach ((_, Module module) in inner) module.Dispose();
        }
        // The base would dispose of everything that is listed, this module among it.
        released = true;
        base.Dispose(disposing);
    }

    /// <summary>Moves every parameter to a device; frozen weights that others share stay where they are for those.</summary>
    protected override torch.nn.Module _to(DeviceType deviceType, int deviceIndex, bool non_blocking)
    {
        foreach ((_, Parameter parameter) in NamedParameters()) parameter.To(new Device(deviceType, deviceIndex));
        return this;
    }

    /// <summary>Moves every parameter to a device; the type must be float32, since which weights are of which type is decided when the model is made.</summary>
    /// <exception cref="PermafrostException">Another type was asked for.</exception>
    protected override torch.nn.Module _to(Device device, ScalarType dtype, bool non_blocking)
    {
        _to(dtype, non_blocking);
        return _to(device.type, device.index, non_blocking);
    }

    /// <summary>Refuses every type but float32, since which weights are of which type is decided when the model is made.</summary>
    /// <exception cref="PermafrostException">Another type was asked for.</exception>
    protected override torch.nn.Module _to(ScalarType dtype, bool non_blocking) => dtype == ScalarType.Float32 ? this
        : throw new PermafrostException($"a model's trained weights are float32, not {dtype}; the type of its frozen weights is chosen when it is made");

    /// <summary>Nothing: parameters and modules are declared, not found by reflection.</summary>
    protected override void RegisterComponents() { }

    private static string Join(string prefix, string name) => prefix.Length == 0 ? name : $"{prefix}.{name}";
}
