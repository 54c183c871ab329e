using Permafrost.Kernels;

namespace Permafrost.Training.Optimizers;

/// <summary>
/// Updates parameters from their gradients. A parameter without a gradient is left alone, as in PyTorch. State is made at the first gradient
/// and lives as long as the optimiser.
/// </summary>
public abstract class Optimizer : IDisposable
{
    // Elements updated by one set of list operators: enough to make the calls cheap, little enough that temporaries stay small.
    private const long BatchElements = 4 << 20;

    private readonly Dictionary<string, Dictionary<string, Tensor>> state = [];
    private readonly Dictionary<string, long> steps = [];

    /// <summary>An optimiser of the given groups.</summary>
    /// <exception cref="ArgumentException">There is no parameter, or a name appears twice.</exception>
    protected Optimizer(IReadOnlyList<ParameterGroup> groups)
    {
        Groups = groups;
        var names = new HashSet<string>();
        foreach (ParameterGroup group in groups)
            foreach ((string name, _) in group.Parameters)
                if (!names.Add(name)) throw new ArgumentException($"the parameter '{name}' is given twice", nameof(groups));
        if (names.Count == 0) throw new ArgumentException("there is nothing to train: no parameter was given", nameof(groups));
    }

    /// <summary>What is updated.</summary>
    public IReadOnlyList<ParameterGroup> Groups { get; }

    /// <summary>Every parameter with its name.</summary>
    public IEnumerable<(string Name, Tensor Tensor)> Parameters => Groups.SelectMany(group => group.Parameters);

    /// <summary>Applies one update with the given learning rate.</summary>
    public void Step(double learningRate)
    {
        using var noGrad = torch.no_grad();
        foreach (ParameterGroup group in Groups)
        {
            double rate = learningRate * group.LearningRateScale;
            var batch = new List<Entry>();
            long elements = 0;
            long batchStep = -1;
            using var gradients = torch.NewDisposeScope();
            foreach ((string name, Tensor tensor) in group.Parameters)
            {
                if (tensor.grad is not { } gradient) continue;
                long step = steps[name] = steps.GetValueOrDefault(name) + 1;
                // One batch shares its step count, and so its bias corrections.
                if (batch.Count > 0 && (elements + tensor.NumberOfElements > BatchElements || step != batchStep)) { Flush(batch, rate, group); elements = 0; }
                batchStep = step;
                elements += tensor.NumberOfElements;
                batch.Add(new Entry(name, tensor, gradient, step));
            }
            if (batch.Count > 0) Flush(batch, rate, group);
        }
    }

    /// <summary>Drops all gradients.</summary>
    public void ZeroGrad()
    {
        foreach ((_, Tensor tensor) in Parameters) tensor.grad = null;
    }

    /// <summary>The state as named tensors (<c>parameter.exp_avg</c>, ...) and step counts, to be saved.</summary>
    public (IReadOnlyDictionary<string, Tensor> Tensors, IReadOnlyDictionary<string, long> Steps) State()
    {
        var tensors = new Dictionary<string, Tensor>();
        foreach ((string name, Dictionary<string, Tensor> slots) in state)
            foreach ((string slot, Tensor tensor) in slots)
                tensors[$"{name}.{slot}"] = tensor;
        return (tensors, new Dictionary<string, long>(steps));
    }

    /// <summary>Restores a state taken by <see cref="State"/>.</summary>
    /// <exception cref="ArgumentException">A tensor belongs to no parameter or has another shape.</exception>
    public void Restore(IReadOnlyDictionary<string, Tensor> tensors, IReadOnlyDictionary<string, long> savedSteps)
    {
        var parameters = Parameters.ToDictionary(p => p.Name, p => p.Tensor);
        foreach ((string key, Tensor tensor) in tensors)
        {
            int dot = key.LastIndexOf('.');
            if (dot < 0 || !parameters.TryGetValue(key[..dot], out Tensor? parameter))
                throw new ArgumentException($"the optimiser state '{key}' belongs to no trained parameter", nameof(tensors));
            if (!tensor.HasShape(SlotShape(key[(dot + 1)..], parameter.shape)))
                throw new ArgumentException($"the optimiser state '{key}' is {tensor.Describe()}, its parameter {parameter.Describe()}", nameof(tensors));
            Slots(key[..dot])[key[(dot + 1)..]] = tensor.to(parameter.device, copy: true).DetachFromDisposeScope();
        }
        foreach ((string name, long step) in savedSteps)
        {
            if (!parameters.ContainsKey(name)) throw new ArgumentException($"the optimiser's step count for '{name}' belongs to no trained parameter", nameof(savedSteps));
            steps[name] = step;
        }
    }

    /// <summary>Frees the state.</summary>
    public void Dispose()
    {
        foreach (Dictionary<string, Tensor> slots in state.Values)
            foreach (Tensor tensor in slots.Values) tensor.Dispose();
        state.Clear();
        GC.SuppressFinalize(this);
    }

    /// <summary>Updates parameters that share settings and step count (1 for the first), gradients off.</summary>
    private protected abstract void Update(Batch batch, double learningRate, double? weightDecay, long step);

    /// <summary>A parameter's state tensor, zeros at first.</summary>
    private protected Tensor Slot(string parameter, string slot, Tensor like)
    {
        Dictionary<string, Tensor> slots = Slots(parameter);
        if (!slots.TryGetValue(slot, out Tensor? tensor)) slots[slot] = tensor = torch.zeros_like(like.detach()).DetachFromDisposeScope();
        return tensor;
    }

    /// <summary>A parameter's state tensor of a shape of its own, zeros at first.</summary>
    private protected Tensor Slot(string parameter, string slot, long[] shape)
    {
        Dictionary<string, Tensor> slots = Slots(parameter);
        if (!slots.TryGetValue(slot, out Tensor? tensor)) slots[slot] = tensor = torch.zeros(shape).DetachFromDisposeScope();
        return tensor;
    }

    /// <summary>The shape of a state tensor.</summary>
    private protected virtual long[] SlotShape(string slot, long[] parameter) => parameter;

    private Dictionary<string, Tensor> Slots(string parameter)
    {
        if (!state.TryGetValue(parameter, out Dictionary<string, Tensor>? slots)) state[parameter] = slots = [];
        return slots;
    }

    private void Flush(List<Entry> entries, double rate, ParameterGroup group)
    {
        using var scope = torch.NewDisposeScope();
        var batch = new Batch([.. entries.Select(e => e.Name)], [.. entries.Select(e => e.Parameter)], [.. entries.Select(e => e.Gradient)]);
        Update(batch, rate, group.WeightDecay, entries[0].Step);
        entries.Clear();
    }

    private readonly record struct Entry(string Name, Tensor Parameter, Tensor Gradient, long Step);

    /// <summary>Parameters updated together.</summary>
    private protected sealed record Batch(string[] Names, Tensor[] Parameters, Tensor[] Gradients);
}
