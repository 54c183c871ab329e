using Permafrost.Formats;
using Permafrost.Formats.Onnx;
using Permafrost.Kernels;
using Permafrost.Models;

namespace Permafrost.Tests.Models.Onnx;

/// <summary>ONNX models of a BERT, as exporters of many kinds write them: every weight is found, and the body computes what ONNX Runtime does.</summary>
public class OnnxEncoderTests
{
    private const int Batches = 100;

    public static TheoryData<string> Dialects() => [.. OnnxDialect.All.Select(dialect => dialect.Name)];

    [Theory]
    [MemberData(nameof(Dialects))]
    public void Every_weight_is_found(string name)
    {
        using var folder = new TemporaryFolder();
        OnnxDialect dialect = OnnxDialect.All.Single(dialect => dialect.Name == name);
        var bert = new ToyBert(dialect);
        using var weights = new OnnxWeights(bert.Save(folder.Path), HfConfig.Load(folder.Path));
        using var scope = torch.NewDisposeScope();
        // A classifier is another class's head, and the masked-token head's matrix the token table once more.
        string[] wanted = [.. bert.Weights.Keys.Where(key => !key.StartsWith("classifier.", StringComparison.Ordinal))];
        string[] found = [.. weights.Names.Where(key => key != "cls.predictions.decoder.weight")];
        Assert.Equal(wanted.Order(StringComparer.Ordinal), found.Order(StringComparer.Ordinal));
        foreach (string key in wanted)
        {
            (long[] shape, float[] numbers) = bert.Weights[key];
            Assert.Equal(shape, weights.Describe(key).Shape);
            Assert.Equal(numbers.Select(number => Rounded(number, dialect.Type)), weights.View(key).to(ScalarType.Float32).ToArray<float>());
        }
    }

    private static float Rounded(float number, OnnxType type) => type switch
    {
        OnnxType.Float16 => (float)(Half)number,
        OnnxType.BFloat16 => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(number) & 0xFFFF0000),
        _ => number,
    };

    // In half precision ONNX Runtime's own rounding is all that could be compared; there the weights are.
    public static TheoryData<string> Float32Dialects() => [.. OnnxDialect.All.Where(dialect => dialect.Type == OnnxType.Float).Select(dialect => dialect.Name)];

    [Theory]
    [MemberData(nameof(Float32Dialects))]
    public void The_body_computes_what_ONNX_Runtime_does(string name)
    {
        using var folder = new TemporaryFolder();
        OnnxDialect dialect = OnnxDialect.All.Single(dialect => dialect.Name == name);
        var bert = new ToyBert(dialect);
        using var oracle = new OnnxOracle(bert.Save(folder.Path));
        var random = new Random(11);
        using var body = FrozenWeights.Load(folder.Path);
        using Backbone backbone = body.CreateBackbone();
        for (int batch = 0; batch < Batches; batch++)
        {
            using var scope = torch.NewDisposeScope();
            using var noGrad = torch.no_grad();
            (long[] ids, long[] mask, long[] types, int rows, int length) = OnnxOracle.Batch(random, bert.Words, dialect.OneSegment ? 1 : bert.Types, bert.Positions);
            Tensor hidden = backbone.Forward(new ModelInputs(
                InputIds: Tensors.From(ids, rows, length), AttentionMask: Tensors.From(mask, rows, length), TokenTypeIds: Tensors.From(types, rows, length))).LastHiddenState;
            Golden.Forward($"{name}, batch {batch}", hidden, oracle.Run("last_hidden_state", ids, mask, types, rows, length));
        }
    }

    [Theory]
    [InlineData("torch 1.10", "pooler_output")]
    [InlineData("constants", "pooler_output")]
    [InlineData("functions", "pooler_output")]
    [InlineData("masked tokens", "logits")]
    public void The_classes_heads_compute_what_ONNX_Runtime_does(string name, string output)
    {
        using var folder = new TemporaryFolder();
        using var scope = torch.NewDisposeScope();
        var bert = new ToyBert(OnnxDialect.All.Single(dialect => dialect.Name == name));
        using var oracle = new OnnxOracle(bert.Save(folder.Path));
        var config = HfConfig.Load(folder.Path);
        using PretrainedModel model = ModelRegistry.CreateWithHead(config);
        CheckpointReader.Load(model, ModelRegistry.Find(config), model.Prefix, folder.Path);
        (long[] ids, long[] mask, long[] types, int rows, int length) = OnnxOracle.Batch(new Random(3), bert.Words, bert.Types, bert.Positions);
        IReadOnlyDictionary<string, Tensor> outputs = model.Forward(new Dictionary<string, Tensor>
        {
            ["input_ids"] = Tensors.From(ids, rows, length),
            ["attention_mask"] = Tensors.From(mask, rows, length),
            ["token_type_ids"] = Tensors.From(types, rows, length),
        });
        Golden.Forward(name, outputs[output], oracle.Run(output, ids, mask, types, rows, length));
    }
}
