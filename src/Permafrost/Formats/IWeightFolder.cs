namespace Permafrost.Formats;

/// <summary>What a weight is, before it is read.</summary>
/// <param name="Type">safetensors' name of the element type, such as <c>F32</c>.</param>
/// <param name="Shape">Sizes along the dimensions.</param>
/// <param name="ElementType">The element type; null where no tensor here can hold it.</param>
internal sealed record WeightDescription(string Type, long[] Shape, ScalarType? ElementType);

/// <summary>The weights of a model folder, in whichever format they are.</summary>
internal interface IWeightFolder : IDisposable
{
    /// <summary>The tensors' names.</summary>
    IReadOnlyCollection<string> Names { get; }

    /// <summary>The files that the tensors are in, as they were opened; none where what is computed of them is not to be remembered.</summary>
    IReadOnlyList<FileStamp> Stamps { get; }

    /// <summary>What a tensor is.</summary>
    WeightDescription Describe(string name);

    /// <summary>A tensor on the CPU, perhaps over a mapped file: only to be read, and only until the folder is closed.</summary>
    Tensor View(string name);

    /// <summary>A tensor on the CPU of its own.</summary>
    Tensor Read(string name);

    /// <summary>The rows of a float32 matrix, to be read one by one; null where they cannot be.</summary>
    MatrixRows? OpenRows(string name);

    /// <summary>Lets go of what <see cref="View"/> has put in memory, where it can be read again.</summary>
    void Release(string name);

    /// <summary>Whether a tensor's memory is a mapped file's.</summary>
    bool Holds(Tensor tensor);
}
