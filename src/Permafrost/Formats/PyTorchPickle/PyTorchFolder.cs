using Permafrost.Formats.Safetensors;

namespace Permafrost.Formats.PyTorchPickle;

/// <summary>The weights of a Hugging Face model folder in PyTorch's own format: <c>pytorch_model.bin</c>, or its shards through <c>pytorch_model.bin.index.json</c>.</summary>
internal sealed class PyTorchFolder : IWeightFolder
{
    private const string Single = "pytorch_model.bin";
    private const string Index = "pytorch_model.bin.index.json";

    private readonly string folder;
    private readonly Dictionary<string, PyTorchFile> files = [];
    private readonly Dictionary<string, PyTorchFile> owners = [];

    /// <summary>Opens the weights of a folder.</summary>
    /// <exception cref="PermafrostException">A file is missing, malformed, or asks for more than tensors.</exception>
    public PyTorchFolder(string folder)
    {
        this.folder = folder;
        try
        {
            if (File.Exists(Path.Combine(folder, Single))) foreach (string name in Open(Single).Entries.Keys) owners[name] = files[Single];
            else foreach ((string tensor, string shard) in ShardIndex.Read(Path.Combine(folder, Index))) Add(tensor, Open(shard));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Whether a folder has weights in this format.</summary>
    public static bool IsIn(string folder) => File.Exists(Path.Combine(folder, Single)) || File.Exists(Path.Combine(folder, Index));

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => owners.Keys;

    /// <inheritdoc/>
    public IReadOnlyList<FileStamp> Stamps => [.. files.Values.Select(file => file.Stamp)];

    /// <inheritdoc/>
    public WeightDescription Describe(string name)
    {
        PyTorchEntry entry = Owner(name).Entries[name];
        return new WeightDescription(entry.Type, entry.Shape, entry.ElementType);
    }

    /// <inheritdoc/>
    public Tensor View(string name) => Owner(name).View(name);

    /// <inheritdoc/>
    public Tensor Read(string name) => Owner(name).Read(name);

    /// <inheritdoc/>
    public MatrixRows? OpenRows(string name) => Owner(name).OpenRows(name);

    /// <inheritdoc/>
    public void Release(string name) => Owner(name).Release(name);

    /// <inheritdoc/>
    public bool Holds(Tensor tensor) => files.Values.Any(file => file.Holds(tensor));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PyTorchFile file in files.Values) file.Dispose();
    }

    private PyTorchFile Owner(string name) =>
        owners.GetValueOrDefault(name) ?? throw new PermafrostException($"{folder} has no tensor '{name}'; it has {SafetensorsFile.Some(owners.Keys)}");

    private PyTorchFile Open(string name)
    {
        if (!files.TryGetValue(name, out PyTorchFile? file)) files[name] = file = new PyTorchFile(Path.Combine(folder, name));
        return file;
    }

    private void Add(string tensor, PyTorchFile file) =>
        owners[tensor] = file.Entries.ContainsKey(tensor) ? file : throw new PermafrostException($"{file.Path} has no tensor '{tensor}', although {Index} says so");
}
