using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Formats.PyTorchPickle;

/// <summary>One tensor of a file.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">safetensors' name of the element type.</param>
/// <param name="Shape">Sizes along the dimensions.</param>
/// <param name="Strides">Elements from one index to the next along each dimension.</param>
/// <param name="At">Its first byte in the file.</param>
/// <param name="Bytes">Bytes from the first element to the last, both included; of the tensor itself where it is contiguous.</param>
internal sealed record PyTorchEntry(string Name, string Type, long[] Shape, long[] Strides, long At, long Bytes)
{
    /// <summary>The element type; null where no tensor here can hold it.</summary>
    public ScalarType? ElementType => new SafetensorsEntry(Name, Type, Shape, 0, 0).ElementType;

    /// <summary>Whether its elements lie row by row, one behind another.</summary>
    public bool IsContiguous
    {
        get
        {
            long step = 1;
            for (int i = Shape.Length - 1; i >= 0; i--)
            {
                if (Shape[i] == 0) return true;
                if (Shape[i] != 1 && Strides[i] != step) return false;
                step *= Shape[i];
            }
            return true;
        }
    }
}

/// <summary>
/// The tensors of a file that <c>torch.save</c> wrote since PyTorch 1.6: a zip file whose <c>data.pkl</c> says which tensors there are, and whose records <c>data/KEY</c> hold
/// their bytes. Memory-mapped, treated as hostile, and never executed. A dictionary of tensors, or one that holds such a dictionary as <c>state_dict</c>; what is no tensor is left
/// out.
/// </summary>
internal sealed class PyTorchFile : IDisposable
{
    private const string Pickle = "data.pkl";

    // Where training programs keep the tensors beside other things.
    private static readonly string[] StateKeys = ["state_dict", "model_state_dict", "model"];

    // The first two values of the format before zip: a magic number of ten bytes, pickled (torch/serialization.py, MAGIC_NUMBER).
    private static readonly byte[] OldMagic = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

    private readonly MappedFile file;
    private readonly Dictionary<string, PyTorchEntry> entries = [];

    /// <summary>Opens a file and reads what it holds.</summary>
    /// <exception cref="PermafrostException">It is missing, unreadable, truncated, malformed, of an older format, or asks for more than tensors.</exception>
    public PyTorchFile(string path)
    {
        file = new MappedFile(path);
        try
        {
            CheckFormat();
            IReadOnlyDictionary<string, StoredRecord> records = StoredZip.Read(file);
            string folder = Folder(records);
            CheckByteOrder(records, folder);
            StoredRecord pickle = records[folder + Pickle];
            if (pickle.Bytes > PickleReader.MostBytes) throw Malformed($"its pickle has {pickle.Bytes:N0} bytes, more than the {PickleReader.MostBytes:N0} allowed");
            foreach ((string name, PickleTensor tensor) in Tensors(PickleReader.Read(file.Span(pickle.At, (int)pickle.Bytes), path)))
                entries[name] = Entry(name, tensor, records, folder);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The file's path, as it was given.</summary>
    public string Path => file.Path;

    /// <summary>Length and time of the file that was opened.</summary>
    public FileStamp Stamp => file.Stamp;

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, PyTorchEntry> Entries => entries;

    /// <summary>One tensor over the mapped file itself, only to be read, and only until <see cref="Dispose"/>; a copy where it is not contiguous.</summary>
    /// <exception cref="PermafrostException">Its type cannot be read.</exception>
    public Tensor View(string name) => Make(entries[name], copy: false);

    /// <summary>A copy of one tensor, on the CPU, contiguous.</summary>
    /// <exception cref="PermafrostException">Its type cannot be read.</exception>
    public Tensor Read(string name) => Make(entries[name], copy: true);

    /// <summary>The rows of a float32 matrix, to be read one by one; null where it is another kind of tensor.</summary>
    public MatrixRows? OpenRows(string name)
    {
        PyTorchEntry entry = entries[name];
        return entry.ElementType == ScalarType.Float32 && entry.Shape.Length == 2 && entry.IsContiguous ? new MatrixRows(Path, entry.At, entry.Shape[0], entry.Shape[1]) : null;
    }

    /// <summary>Lets go of the memory that a tensor of the file was read into.</summary>
    public void Release(string name) => file.Release(entries[name].At, entries[name].Bytes);

    /// <summary>Whether a tensor's memory is the mapped file's.</summary>
    public bool Holds(Tensor tensor) => file.Holds(tensor);

    /// <summary>Unmaps the file; tensors that were read stay.</summary>
    public void Dispose() => file.Dispose();

    private Tensor Make(PyTorchEntry entry, bool copy)
    {
        if (entry.ElementType is not { } type) throw new PermafrostException($"{Path}: the tensor '{entry.Name}' has the type {entry.Type}, which cannot be read");
        if (entry.Bytes == 0) return torch.empty(entry.Shape, type);
        if (entry.IsContiguous) return copy ? file.Read(entry.At, entry.Bytes, entry.Shape, type) : file.View(entry.At, entry.Bytes, entry.Shape, type);
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor span = file.View(entry.At, entry.Bytes, [entry.Bytes / type.ElementBytes()], type);
        return span.as_strided(entry.Shape, entry.Strides).contiguous().clone().MoveToOuterDisposeScope();
    }

    private void CheckFormat()
    {
        if (StoredZip.IsOne(file)) return;
        if (file.Length >= OldMagic.Length && file.Span(0, OldMagic.Length).SequenceEqual(OldMagic)) throw Old("PyTorch before 1.6");
        // A tar file names itself at byte 257; PyTorch's first format was one, of the records sys_info, pickle, tensors and storages.
        if (file.Length >= 512 && file.Span(257, 5).SequenceEqual("ustar"u8)) throw Old("PyTorch before 0.1.10, a tar file");
        if (file.Length >= 8 && WrongContent.IsText(file.Span(0, 8))) throw new PermafrostException($"{Path} is {WrongContent.TextForWeights}");
        throw Malformed("it begins with neither a zip file's bytes nor an older format's");
    }

    private PermafrostException Old(string what) =>
        new($"{Path} is in the format of {what}, which is not read; load it with torch.load and save it again with torch.save, or take the model's model.safetensors");

    // The one folder that all records are in, with its slash.
    private string Folder(IReadOnlyDictionary<string, StoredRecord> records)
    {
        string[] pickles = [.. records.Keys.Where(name => name.Split('/') is [_, Pickle])];
        if (pickles.Length == 0) throw Malformed($"it is a zip file without {Pickle}, so torch.save did not write it");
        if (pickles.Length > 1) throw Malformed($"it is a zip file with {pickles.Length} records called {Pickle}, and torch.save writes one");
        string folder = pickles[0][..^Pickle.Length];
        return records.ContainsKey(folder + "constants.pkl")
            ? throw Malformed("it is a TorchScript program, which would have to be run; save the model's state_dict instead") : folder;
    }

    private void CheckByteOrder(IReadOnlyDictionary<string, StoredRecord> records, string folder)
    {
        if (!records.TryGetValue(folder + "byteorder", out StoredRecord? order)) return;
        if (order.Bytes != "little".Length || !file.Span(order.At, (int)order.Bytes).SequenceEqual("little"u8))
            throw Malformed("its numbers are not little-endian; save it on a machine that is");
    }

    private IEnumerable<(string Name, PickleTensor Tensor)> Tensors(object? value)
    {
        if (value is not PickleDictionary top) throw Malformed("it holds no dictionary of tensors");
        var tensors = Of(top);
        if (tensors.Count == 0)
        {
            PickleDictionary[] inner = [.. StateKeys.Select(key => top.Entries.GetValueOrDefault(key)).OfType<PickleDictionary>()];
            if (inner.Length > 1) throw Malformed($"it holds tensors under several of the names {string.Join(", ", StateKeys)}; save the model's state_dict alone");
            if (inner.Length == 1) return Of(inner[0]);
        }
        else
        {
            // Each dictionary is looked at once, however many entries name it.
            var seen = new HashSet<PickleDictionary>(ReferenceEqualityComparer.Instance);
            bool Holds(object? value) => value is PickleDictionary other && seen.Add(other) && other.Entries.Values.Any(one => one is PickleTensor);
            string? nested = top.Entries.FirstOrDefault(pair => Holds(pair.Value)).Key;
            if (nested is not null) throw Malformed($"beside tensors it holds more of them within '{nested}'; save the model's state_dict alone");
        }
        return tensors;
    }

    private static List<(string Name, PickleTensor Tensor)> Of(PickleDictionary dictionary) =>
        [.. dictionary.Entries.Where(pair => pair.Value is PickleTensor).Select(pair => (pair.Key, (PickleTensor)pair.Value!))];

    private PyTorchEntry Entry(string name, PickleTensor tensor, IReadOnlyDictionary<string, StoredRecord> records, string folder)
    {
        PickleStorage storage = tensor.Storage;
        if (!records.TryGetValue($"{folder}data/{storage.Key}", out StoredRecord? record))
            throw Malformed($"the tensor '{name}' has its bytes in the record '{storage.Key}', which is missing");
        long size = SafetensorsEntry.Bits[storage.Type] / 8;
        // In this order nothing overflows: the record lies in the file, and the tensor in the storage.
        if (storage.Count > record.Bytes / size)
            throw Malformed($"the tensor '{name}' needs a storage of {storage.Count:N0} elements, but its record has {record.Bytes:N0} bytes: the file is truncated");
        bool empty = tensor.Shape.Contains(0);
        long span = empty ? 0 : 1 + tensor.Shape.Zip(tensor.Strides, (length, stride) => (length - 1) * stride).Sum();
        long offset = Math.Min(tensor.Offset, storage.Count);
        return new PyTorchEntry(name, storage.Type, tensor.Shape, tensor.Strides, record.At + offset * size, span * size);
    }

    private PermafrostException Malformed(string what) => new($"{Path} is not a valid PyTorch file: {what}");
}
