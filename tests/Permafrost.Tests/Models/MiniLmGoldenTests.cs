using Microsoft.Extensions.AI;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>The body in the box against Hugging Face's own numbers for all-MiniLM-L6-v2: outputs, gradients, and embeddings of sentences.</summary>
public class MiniLmGoldenTests
{
    private const string Case = "sentences";

    [Fact]
    public void Outputs_and_gradients_are_those_of_Hugging_Face()
    {
        BackboneSource source = BundledBody.Source();
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture("minilm_a", "expected.safetensors"));
        using PretrainedModel model = ModelRegistry.CreateWithHead(source.Config);
        CheckpointReader.Load(model, ModelRegistry.Find(source.Config), model.Prefix, source.Folder!);
        model.WantInputGradient = true;
        foreach ((_, Parameter parameter) in model.NamedParameters()) parameter.Value.requires_grad = true;

        IReadOnlyDictionary<string, Tensor> outputs = model.Forward(Golden.Case(expected, $"{Case}/in."));

        Dictionary<string, Tensor> references = Golden.Case(expected, $"{Case}/out.");
        Assert.Equal(["last_hidden_state", "loss", "pooler_output"], references.Keys.Order(StringComparer.Ordinal));
        Golden.Loss($"{Case}/loss", outputs["loss"].detach().Number(), references["loss"].Number());
        foreach (string output in new[] { "last_hidden_state", "pooler_output" }) Golden.Forward($"{Case}/{output}", outputs[output], references[output]);

        outputs["loss"].backward();
        Dictionary<string, Tensor> gradients = Golden.Case(expected, $"{Case}/grad.");
        Assert.Equal(27, gradients.Count);
        double largest = gradients.Values.Max(Golden.Largest);
        Dictionary<string, Parameter> parameters = model.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
        foreach ((string parameter, Tensor reference) in gradients)
        {
            Tensor? actual = parameter.StartsWith("in.", StringComparison.Ordinal) ? model.EmbeddedInputs[parameter[3..]].grad : parameters[parameter].Value.grad;
            Assert.True(actual is not null, $"no gradient of {parameter}");
            Golden.Gradient($"{Case}/grad.{parameter}", actual, reference, largest);
        }
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public async Task Embeddings_of_sentences_are_those_of_Hugging_Face(ScalarType frozen)
    {
        BackboneSource source = BundledBody.Source();
        using var expected = new SafetensorsFile(Repository.Fixture("minilm_a", "expected.safetensors"));
        using Tensor reference = expected.Read("embedding");
        using var json = System.Text.Json.JsonDocument.Parse(File.ReadAllText(Repository.Fixture("minilm_a", "expected.json")));
        string[] texts = [.. json.RootElement.GetProperty("texts").EnumerateArray().Select(text => text.GetString()!)];
        using var embedder = SentenceEmbedder.Load(source.Reference, frozen);
        GeneratedEmbeddings<Embedding<float>> embeddings = await embedder.GenerateAsync(texts, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(texts.Length, embeddings.Count);
        using Tensor actual = Tensors.From(embeddings.SelectMany(embedding => embedding.Vector.ToArray()).ToArray(), texts.Length, 384);
        if (frozen == ScalarType.Float32) Golden.Forward("embedding", actual, reference);
        using Tensor cosines = (actual * reference).sum(1);
        foreach (float cosine in cosines.ToArray<float>()) Assert.InRange(cosine, frozen == ScalarType.Float32 ? 0.999999 : 0.9998, 1.00001);
    }
}
