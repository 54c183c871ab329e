using Permafrost.Formats;
using Permafrost.Formats.Onnx;
using Permafrost.Kernels;

namespace Permafrost.Models;

/// <summary>The weights of a folder whose model is <c>model.onnx</c>, under Hugging Face's names.</summary>
internal sealed class OnnxWeights : IWeightFolder
{
    private static readonly string[] Places = ["model.onnx", Path.Combine("onnx", "model.onnx")];

    private readonly IReadOnlyDictionary<string, OnnxWeight> weights;

    /// <summary>Reads a model's graph.</summary>
    /// <exception cref="PermafrostException">It is damaged, quantised or no BERT encoder.</exception>
    public OnnxWeights(string path, HfConfig config) => weights = OnnxEncoder.Map(OnnxFile.Load(path), config);

    /// <summary>The model of a folder; null where there is none.</summary>
    public static string? Find(string folder) => Places.Select(place => Path.Combine(folder, place)).FirstOrDefault(File.Exists);

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => (IReadOnlyCollection<string>)weights.Keys;

    /// <inheritdoc/>
    public IReadOnlyList<FileStamp> Stamps => [];

    /// <inheritdoc/>
    public WeightDescription Describe(string name)
    {
        OnnxWeight weight = weights[name];
        return new WeightDescription(weight.Constant.Tensor.Type.SafetensorsName(), weight.Shape, TypeOf(weight));
    }

    /// <inheritdoc/>
    public Tensor View(string name)
    {
        OnnxWeight weight = weights[name];
        OnnxConstant constant = weight.Constant;
        // A list may be stored with dimensions of 1 beside it.
        bool matrix = weight.Shape.Length == 2;
        Tensor tensor = Tensors.FromBytes(constant.Tensor.ReadBytes(), matrix ? constant.Tensor.Dims : weight.Shape, TypeOf(weight));
        return matrix && constant.Transposed ? tensor.t().contiguous() : tensor;
    }

    /// <inheritdoc/>
    public Tensor Read(string name) => View(name);

    /// <inheritdoc/>
    public MatrixRows? OpenRows(string name) => null;

    /// <inheritdoc/>
    public void Release(string name) { }

    /// <inheritdoc/>
    public bool Holds(Tensor tensor) => false;

    /// <inheritdoc/>
    public void Dispose() { }

    private static ScalarType TypeOf(OnnxWeight weight) => weight.Constant.Tensor.Type switch
    {
        OnnxType.Float16 => ScalarType.Float16,
        OnnxType.BFloat16 => ScalarType.BFloat16,
        OnnxType.Double => ScalarType.Float64,
        _ => ScalarType.Float32,
    };
}
