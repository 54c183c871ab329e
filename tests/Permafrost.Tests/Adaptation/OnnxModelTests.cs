using Microsoft.ML.OnnxRuntime;
using Permafrost.Adaptation;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;

namespace Permafrost.Tests.Adaptation;

/// <summary>Adapted models as ONNX give, in ONNX Runtime, what they give here: with and without padding, in batches and lengths of any size.</summary>
public sealed class OnnxModelTests : IDisposable
{
    private const int Longest = 12, Words = 11;

    private static readonly Dictionary<string, string> Bodies = new()
    {
        ["gpt2"] = """{"model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 12, "vocab_size": 11, "initializer_range": 0.3}""",
        ["gpt2 scaled"] = """
            {"model_type": "gpt2", "n_layer": 3, "n_embd": 24, "n_head": 3, "n_positions": 14, "vocab_size": 11, "initializer_range": 0.3, "n_inner": 40,
             "activation_function": "relu", "scale_attn_by_inverse_layer_idx": true, "layer_norm_epsilon": 0.01}
            """,
        ["bert"] = """
            {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 12, "vocab_size": 11,
             "initializer_range": 0.3}
            """,
        ["roberta"] = """
            {"model_type": "roberta", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "max_position_embeddings": 14, "vocab_size": 11,
             "pad_token_id": 1, "type_vocab_size": 1, "hidden_act": "gelu_new", "initializer_range": 0.3}
            """,
        ["distilbert"] = """
            {"model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 12, "vocab_size": 11, "activation": "mish",
             "initializer_range": 0.3}
            """,
        ["llama"] = """
            {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 20, "vocab_size": 11,
             "max_position_embeddings": 64, "attention_bias": true, "mlp_bias": true, "initializer_range": 0.3,
             "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}}
            """,
        ["mistral"] = """
            {"model_type": "mistral", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 20, "vocab_size": 11,
             "max_position_embeddings": 16, "sliding_window": 4, "initializer_range": 0.3}
            """,
        ["qwen2"] = """
            {"model_type": "qwen2", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 20, "vocab_size": 11,
             "max_position_embeddings": 16, "initializer_range": 0.3}
            """,
        ["qwen3"] = """
            {"model_type": "qwen3", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 20,
             "vocab_size": 11, "max_position_embeddings": 16, "rope_theta": 100.0, "initializer_range": 0.3}
            """,
        ["vit"] = """
            {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 16, "patch_size": 4,
             "num_channels": 1, "qkv_bias": false, "hidden_act": "quick_gelu", "initializer_range": 0.3}
            """,
    };

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    public static TheoryData<string, string> Cases()
    {
        var cases = new TheoryData<string, string>();
        foreach (string body in Bodies.Keys)
            foreach (string readout in new[] { "last", "first", "mean", "last:3", "all" }) cases.Add(body, readout);
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Logits_are_those_of_the_model(string body, string readout)
    {
        bool ids = body != "vit" && readout != "mean";
        InputSpec input = ids ? new IdInput(Words, Longest) : new VectorInput(5, Longest);
        OutputSpec output = readout switch
        {
            "all" => new TokenClassOutput(4),
            "first" => new NumberOutput(2),
            "mean" => new MultiLabelOutput(4),
            _ => new ClassOutput(4) { Count = 3 },
        };
        using AdaptedModel model = Model(body, new TaskSpec(input, output) { Readout = readout }, ownTokens: ids && readout == "first");
        string file = folder["model.onnx"];
        Assert.Equal([file], OnnxModel.Write(model, file, new Dictionary<string, string> { ["permafrost.task"] = "none" }));
        using var session = new InferenceSession(file);
        Assert.Equal("none", session.ModelMetadata.CustomMetadataMap["permafrost.task"]);
        var random = new Random(5);
        for (int round = 0; round < 6; round++)
        {
            (int B, int T) = (random.Next(1, 5), random.Next(4, Longest + 1));
            long[] mask = Mask(random, B, T, padded: round % 2 == 1);
            long[] tokens = [.. Enumerable.Range(0, B * T).Select(_ => (long)random.Next(Words))];
            float[] vectors = [.. Enumerable.Range(0, B * T * 5).Select(_ => random.NextSingle() - 0.5f)];
            Tensor expected = model.Forward(ids ? Tensors.From(tokens, B, T) : Tensors.From(vectors, B, T, 5), Tensors.From(mask, B, T));
            float[] given = Run(session, ids ? ("input_ids", Value(tokens, B, T)) : ("inputs", Value(vectors, B, T, 5)), ("attention_mask", Value(mask, B, T)));
            // What is at padding's places is nobody's.
            if (readout == "all") expected = expected.masked_fill(Tensors.From(mask, B, T, 1).eq(0.Hold()), 0.Hold());
            Near(expected.ToArray<float>(), readout == "all" ? [.. given.Select((value, i) => mask[i / 4] == 0 ? 0 : value)] : given);
        }
    }

    [Fact]
    public void Pixels_are_cut_as_the_model_cuts_them()
    {
        using AdaptedModel model = Model("vit", new TaskSpec(new PixelInput(3, 9, 13, 3), new ClassOutput(4)) { Readout = "mean" }, ownTokens: false);
        string file = folder["pixels", "model.onnx"];
        Directory.CreateDirectory(folder["pixels"]);
        OnnxModel.Write(model, file, new Dictionary<string, string>());
        using var session = new InferenceSession(file);
        var random = new Random(6);
        float[] pixels = [.. Enumerable.Range(0, 2 * 3 * 9 * 13).Select(_ => random.NextSingle())];
        Near(model.Forward(Tensors.From(pixels, 2, 3, 9, 13), null).ToArray<float>(), Run(session, ("pixel_values", Value(pixels, 2, 3, 9, 13))));
    }

    [Fact]
    public void Weights_that_one_file_cannot_hold_lie_beside_it()
    {
        using AdaptedModel model = Model("gpt2", new TaskSpec(new IdInput(Words, Longest), new ClassOutput(4)), ownTokens: false);
        string whole = folder["whole.onnx"], parted = folder["parted.onnx"];
        OnnxModel.Write(model, whole, new Dictionary<string, string>());
        Assert.Equal([parted, parted + ".data"], OnnxModel.Write(model, parted, new Dictionary<string, string>(), largest: 1000));
        Assert.InRange(new FileInfo(parted).Length + 12_000, 12_000, new FileInfo(whole).Length);
        using InferenceSession one = new(whole), two = new(parted);
        long[] tokens = [3, 1, 4, 1, 5], mask = [1, 1, 1, 1, 1];
        float[] Answer(InferenceSession session) => Run(session, ("input_ids", Value(tokens, 1, 5)), ("attention_mask", Value(mask, 1, 5)));
        Assert.Equal(Answer(one), Answer(two));
    }

    [Fact]
    public void A_family_that_cannot_be_written_is_refused_and_leaves_nothing()
    {
        using var weights = FrozenWeights.Load("lstm-tiny", "random");
        using var model = new AdaptedModel(weights, new TaskSpec(new VectorInput(5, Longest), new ClassOutput(2)), new AdaptationOptions { Policy = Policy.Parse("*") });
        Refusal.Of("cannot be written as ONNX", () => OnnxModel.Write(model, folder["model.onnx"], new Dictionary<string, string>()));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    // Every weight moved, norms and biases too, so that none can be left out unseen.
    private static AdaptedModel Model(string body, TaskSpec spec, bool ownTokens)
    {
        var config = HfConfig.Parse(Bodies[body], "test");
        using var weights = FrozenWeights.Draw(ModelRegistry.Find(config), config);
        var model = new AdaptedModel(
            weights, spec, new AdaptationOptions { Policy = Policy.Parse("*"), Dropout = 0, FrozenType = ScalarType.Float32, PretrainedEmbedding = ownTokens });
        using var random = new Generator(7);
        using (torch.no_grad())
            foreach (AdaptedParameter parameter in model.Trained) parameter.Parameter.Value.add_(torch.empty(parameter.Parameter.Shape).normal_(0, 0.1, random));
        model.eval();
        return model;
    }

    // Padding behind, before and between.
    private static long[] Mask(Random random, int rows, int length, bool padded)
    {
        long[] mask = [.. Enumerable.Repeat(1L, rows * length)];
        if (!padded) return mask;
        for (int row = 0; row < rows; row++)
            foreach (int place in Enumerable.Range(0, length).OrderBy(_ => random.Next()).Take(random.Next(length - 2))) mask[row * length + place] = 0;
        return mask;
    }

    private static OrtValue Value<T>(T[] values, params long[] shape) where T : unmanaged => OrtValue.CreateTensorValueFromMemory(values, shape);

    private static float[] Run(InferenceSession session, params (string Name, OrtValue Value)[] inputs)
    {
        using var options = new RunOptions();
        using IDisposableReadOnlyCollection<OrtValue> results = session.Run(options, inputs.ToDictionary(input => input.Name, input => input.Value), session.OutputNames);
        foreach ((_, OrtValue value) in inputs) value.Dispose();
        return results[0].GetTensorDataAsSpan<float>().ToArray();
    }

    private static void Near(float[] expected, float[] given)
    {
        Assert.Equal(expected.Length, given.Length);
        for (int i = 0; i < expected.Length; i++) Assert.InRange(given[i], expected[i] - 1e-4f * (1 + Math.Abs(expected[i])), expected[i] + 1e-4f * (1 + Math.Abs(expected[i])));
    }
}
