namespace Permafrost.Formats.Safetensors;

/// <summary>The weights of a Hugging Face model folder: <c>model.safetensors</c>, or its shards through <c>model.safetensors.index.json</c>.</summary>
public sealed class SafetensorsFolder : IWeightFolder
{
    private const string Single = "model.safetensors";
    private const string Index = "model.safetensors.index.json";

    private readonly Dictionary<string, SafetensorsFile> files = [];
    private readonly Dictionary<string, SafetensorsFile> owners = [];

    /// <summary>Opens the weights of a folder.</summary>
    /// <exception cref="PermafrostException">There are none, a shard is missing, or a file is malformed.</exception>
    public SafetensorsFolder(string folder)
    {
        Path = folder;
        try
        {
            string index = System.IO.Path.Combine(folder, Index);
            if (File.Exists(System.IO.Path.Combine(folder, Single))) Add(Single, null);
            else if (File.Exists(index)) AddShards(index);
            else throw Missing(folder);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private static PermafrostException Missing(string folder)
    {
        if (File.Exists(System.IO.Path.Combine(folder, PeftAdapter.ConfigName)))
            return new PermafrostException($"{folder} holds a PEFT adapter ({PeftAdapter.ConfigName}), not a model's weights; give the model that the adapter was trained on");
        string hint = HubCache.FetchHintIn(folder);
        return new PermafrostException($"{folder} has no {Single}, no pytorch_model.bin and no model.onnx{(hint.Length > 0 ? hint : "; `save_pretrained` writes the first")}");
    }

    /// <summary>Whether a folder has weights in this format.</summary>
    internal static bool IsIn(string folder) => File.Exists(System.IO.Path.Combine(folder, Single)) || File.Exists(System.IO.Path.Combine(folder, Index));

    /// <summary>The folder's path, as it was given.</summary>
    public string Path { get; }

    /// <summary>The tensors' names.</summary>
    public IReadOnlyCollection<string> Names => owners.Keys;

    /// <summary>A tensor's type, shape and place, from its file's header.</summary>
    public SafetensorsEntry Entry(string name) => owners[name].Entries[name];

    WeightDescription IWeightFolder.Describe(string name)
    {
        SafetensorsEntry entry = Entry(name);
        return new WeightDescription(entry.Type, entry.Shape, entry.ElementType);
    }

    /// <summary>A copy of one tensor, on the CPU.</summary>
    /// <exception cref="PermafrostException">There is no such tensor, or its type cannot be read.</exception>
    public Tensor Read(string name) => Owner(name).Read(name);

    /// <summary>One tensor over its mapped file, as <see cref="SafetensorsFile.View"/> gives it.</summary>
    /// <exception cref="PermafrostException">There is no such tensor, or its type cannot be read.</exception>
    public Tensor View(string name) => Owner(name).View(name);

    IReadOnlyList<FileStamp> IWeightFolder.Stamps => [.. files.Values.Select(file => file.Stamp)];

    MatrixRows? IWeightFolder.OpenRows(string name) => Owner(name).OpenRows(name);

    void IWeightFolder.Release(string name) => Owner(name).Release(name);

    /// <summary>Whether a tensor's memory is a mapped file's.</summary>
    public bool Holds(Tensor tensor) => files.Values.Any(file => file.Holds(tensor));

    /// <summary>Unmaps the files.</summary>
    public void Dispose()
    {
        foreach (SafetensorsFile file in files.Values) file.Dispose();
    }

    private SafetensorsFile Owner(string name) =>
        owners.GetValueOrDefault(name) ?? throw new PermafrostException($"{Path} has no tensor '{name}'; it has {SafetensorsFile.Some(owners.Keys)}");

    private void AddShards(string index)
    {
        foreach ((string tensor, string shard) in ShardIndex.Read(index)) Add(shard, tensor);
    }

    private void Add(string fileName, string? tensor)
    {
        if (!files.TryGetValue(fileName, out SafetensorsFile? file)) files[fileName] = file = new SafetensorsFile(System.IO.Path.Combine(Path, fileName));
        if (tensor is null) foreach (string name in file.Entries.Keys) owners[name] = file;
        else if (file.Entries.ContainsKey(tensor)) owners[tensor] = file;
        else throw new PermafrostException($"{file.Path} has no tensor '{tensor}', although {Index} says so");
    }
}
