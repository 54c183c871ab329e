namespace Permafrost.Formats.PyTorchPickle;

/// <summary>A dictionary of a pickle; entries whose keys are no texts are left out, since no tensor of a checkpoint has such a name.</summary>
internal sealed class PickleDictionary
{
    /// <summary>Its entries, in no order.</summary>
    public Dictionary<string, object?> Entries { get; } = [];
}

/// <summary>Several values in a row.</summary>
/// <param name="Items">Texts, numbers (long, double), Booleans, nulls, and the types of this file.</param>
internal sealed record PickleTuple(object?[] Items);

/// <summary>A name that a pickle asks Python for; it is never looked up.</summary>
/// <param name="Name">Module and name, such as <c>torch.FloatStorage</c>.</param>
internal sealed record PickleName(string Name);

/// <summary>The memory of one or more tensors: a record of the archive.</summary>
/// <param name="Type">The element type, as safetensors names it.</param>
/// <param name="Key">The record's name below <c>data/</c>.</param>
/// <param name="Count">Its elements.</param>
internal sealed record PickleStorage(string Type, string Key, long Count);

/// <summary>A tensor: a view of a storage.</summary>
/// <param name="Storage">Where its elements are.</param>
/// <param name="Offset">Its first element in the storage.</param>
/// <param name="Shape">Sizes along the dimensions.</param>
/// <param name="Strides">Elements from one index to the next along each dimension.</param>
internal sealed record PickleTensor(PickleStorage Storage, long Offset, long[] Shape, long[] Strides);

/// <summary>A value that tensors do not need: a list, a set, bytes, a device.</summary>
internal sealed class PickleOther
{
    /// <summary>The only one: what it holds was dropped.</summary>
    public static PickleOther Value { get; } = new();
}
