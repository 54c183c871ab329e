namespace Permafrost.Formats.PyTorchPickle;

/// <summary>
/// What the names in a checkpoint's pickle stand for: the few functions of PyTorch that make tensors, understood here, never called (torch/_utils.py, torch/serialization.py).
/// </summary>
internal static class PickleCalls
{
    private const int MostDimensions = 16;

    private static readonly Dictionary<string, string> Storages = new()
    {
        ["torch.BoolStorage"] = "BOOL",
        ["torch.ByteStorage"] = "U8",
        ["torch.CharStorage"] = "I8",
        ["torch.ShortStorage"] = "I16",
        ["torch.IntStorage"] = "I32",
        ["torch.LongStorage"] = "I64",
        ["torch.HalfStorage"] = "F16",
        ["torch.BFloat16Storage"] = "BF16",
        ["torch.FloatStorage"] = "F32",
        ["torch.DoubleStorage"] = "F64",
    };

    private static readonly HashSet<string> Functions =
    [
        "collections.OrderedDict", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state", "torch.Size", "torch.device", "_codecs.encode", "builtins.set", "__builtin__.set",
    ];

    /// <summary>A name that a pickle mentions.</summary>
    /// <exception cref="PermafrostException">It is none that tensors need.</exception>
    public static PickleName Name(string path, string name)
    {
        // A hostile name may be as long as the file.
        string shown = name.Length <= 80 ? name : name[..80] + "...";
        bool known = Functions.Contains(name) || Storages.ContainsKey(name) || IsElementType(name);
        if (!known && IsStorage(name)) throw Malformed(path, $"a storage has the type {shown}, which cannot be read; convert it to float32");
        return known ? new PickleName(name)
            : throw new PermafrostException(
                $"{path} asks for {shown}, which is no tensor and could run code, so it is not read; save the tensors alone: torch.save(model.state_dict(), ...), or safetensors");
    }

    /// <summary>The storage that a persistent id means: <c>('storage', type, key, device, count)</c>.</summary>
    /// <exception cref="PermafrostException">It is none.</exception>
    public static PickleStorage Storage(string path, object? id)
    {
        if (id is not PickleTuple { Items: ["storage", PickleName { Name: var name }, string key, _, long count, ..] } || count < 0)
            throw Malformed(path, "a storage is described otherwise than torch.save does");
        if (!Storages.TryGetValue(name, out string? type)) throw Malformed(path, $"a storage has the type {name}, which cannot be read; convert it to float32");
        return new PickleStorage(type, key, count);
    }

    /// <summary>What a call gives.</summary>
    /// <exception cref="PermafrostException">It is none that PyTorch writes.</exception>
    public static object Call(string path, object? function, object? arguments)
    {
        if (function is not PickleName { Name: var name } || arguments is not PickleTuple { Items: var items }) throw Malformed(path, "something is called that is no function");
        return name switch
        {
            "collections.OrderedDict" when items is [] or [PickleOther] => new PickleDictionary(),
            "torch._utils._rebuild_tensor" or "torch._utils._rebuild_tensor_v2" when items is [PickleStorage storage, long offset, PickleTuple shape, PickleTuple strides, ..] =>
                Tensor(path, storage, offset, Numbers(path, shape), Numbers(path, strides)),
            "torch._utils._rebuild_parameter" or "torch._utils._rebuild_parameter_with_state" when items is [PickleTensor tensor, ..] => tensor,
            "torch.Size" when items is [PickleTuple sizes] => sizes,
            "torch.device" or "_codecs.encode" or "builtins.set" or "__builtin__.set" => PickleOther.Value,
            _ => throw Malformed(path, $"{name} is called otherwise than PyTorch does"),
        };
    }

    private static PickleTensor Tensor(string path, PickleStorage storage, long offset, long[] shape, long[] strides)
    {
        if (shape.Length != strides.Length || shape.Length > MostDimensions) throw Malformed(path, $"a tensor has {shape.Length} dimensions and {strides.Length} strides");
        try
        {
            long count = 1, last = offset, widest = 8;
            for (int i = 0; i < shape.Length; i++)
            {
                // Sizes beside a 0 are multiplied too, by whoever computes the strides.
                widest = checked(widest * Math.Max(1, shape[i]));
                count *= shape[i];
                if (shape[i] > 0) last = checked(last + (shape[i] - 1) * strides[i]);
            }
            // A view may show elements twice, but no more of them than there are: a small file must not become a huge tensor.
            if (offset < 0 || (count > 0 && last >= storage.Count) || count > storage.Count)
                throw Malformed(path, $"a tensor reaches beyond its storage '{storage.Key}' of {storage.Count:N0} elements");
            return new PickleTensor(storage, offset, shape, strides);
        }
        catch (OverflowException)
        {
            throw Malformed(path, "the shape of a tensor is too large");
        }
    }

    private static long[] Numbers(string path, PickleTuple tuple)
    {
        var numbers = new long[tuple.Items.Length];
        for (int i = 0; i < numbers.Length; i++)
            numbers[i] = tuple.Items[i] is long number and >= 0 ? number : throw Malformed(path, "a tensor has a size or stride that is no whole number");
        return numbers;
    }

    // torch.float32 and its like are values, in checkpoints that also hold a configuration.
    private static bool IsElementType(string name) =>
        name is "torch.float32" or "torch.float16" or "torch.bfloat16" or "torch.float64"
            or "torch.int64" or "torch.int32" or "torch.int16" or "torch.int8" or "torch.uint8" or "torch.bool";

    // Of complex and quantised numbers, and whatever PyTorch may add.
    private static bool IsStorage(string name) => name.Split('.') is ["torch", var type] && type.EndsWith("Storage", StringComparison.Ordinal);

    private static PermafrostException Malformed(string path, string what) => new($"{path}: its pickle cannot be read: {what}");
}
