using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tasks;
using Permafrost.Training;

namespace Permafrost.Tests.Models;

/// <summary>The convolutional encoder-decoder: its sizes, its decoder, and that with attention for a mixer it is T5.</summary>
public sealed class ConvSeq2SeqTests : IDisposable
{
    private const string Trunk = """
        "model_type": "conv-seq2seq", "architectures": ["ConvSeq2SeqForConditionalGeneration"], "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 3,
        "num_heads": 2, "vocab_size": 11, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0
        """;

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string> Mixers =>
    [
        "\"mixer\": \"lightweight\", \"kernel_size\": 3, \"conv_heads\": 4", "\"mixer\": \"depthwise\", \"kernel_size\": 4, \"norm\": \"post-layernorm\"",
        "\"mixer\": \"dynamic\", \"kernel_size\": 3, \"conv_heads\": 8, \"norm\": \"branch-layernorm\", \"max_position_embeddings\": 16",
        "\"mixer\": \"dilated\", \"kernel_size\": 3, \"dilation\": 2, \"pointwise\": true, \"conv_bias\": true",
        "\"mixer\": \"lightweight\", \"kernel_size\": 3, \"encoder_attention_layer\": 1", "\"mixer\": \"attention\", \"norm\": \"post-layernorm\"",
    ];

    public void Dispose() => scope.Dispose();

    // reference/pretrained-conv.md, section 2, in exact numbers: four maps of d x d with biases, two tables of 512 positions, 32,128 tokens.
    [Theory]
    [InlineData("conv-seq2seq-small@released", 61_116_416)]
    [InlineData("conv-seq2seq-base@released", 223_947_264)]
    [InlineData("conv-seq2seq-large@released", 739_403_776)]
    [InlineData("conv-seq2seq-small-dynamic@released", 89_427_968)]
    [InlineData("conv-seq2seq-base-dynamic@released", 351_349_248)]
    [InlineData("conv-seq2seq-large-dynamic@released", 1_192_388_608)]
    [InlineData("conv-seq2seq-base-attention", 222_903_552)]
    public void Presets_have_the_sizes_of_the_released_code(string name, long elements) => Assert.Equal(elements, Elements(Preset(name)));

    // The other readings of "2 depth filters" and of the window: 83.1, 323.0 and 1091.6 million with 7 taps; 75.2, 287.6 and 965.7 with half as many rows of 9.
    [Theory]
    [InlineData("small", 7, 1, 83.1)]
    [InlineData("base", 7, 1, 323.0)]
    [InlineData("large", 7, 1, 1091.6)]
    [InlineData("small", 9, 2, 75.2)]
    [InlineData("base", 9, 2, 287.6)]
    [InlineData("large", 9, 2, 965.7)]
    public void Other_readings_have_theirs(string size, int window, int sharing, double millions)
    {
        JsonObject json = JsonNode.Parse(Preset($"conv-seq2seq-{size}-dynamic@released").ToJson())!.AsObject();
        json["kernel_size"] = window;
        json["conv_heads"] = (int)json["d_model"]! / sharing;
        Assert.Equal(millions, Math.Round(Elements(new HfConfig(json, size)) / 1e6, 1));
    }

    [Fact]
    public void The_transformer_in_this_trunk_is_as_large_as_T5() =>
        Assert.Equal(Elements(ModelRegistry.Presets.Single(preset => preset.Name == "t5-base").Config), Elements(Preset("conv-seq2seq-base-attention")));

    [Theory]
    [InlineData("t5_a", "labels")]
    [InlineData("t5_a", "padded")]
    [InlineData("t5_a", "decoder_ids")]
    [InlineData("t5_b", "labels")]
    [InlineData("t5_b", "padded")]
    public void With_attention_for_a_mixer_outputs_and_gradients_are_those_of_T5(string fixture, string name)
    {
        string path = Repository.Fixture(fixture);
        JsonObject json = JsonNode.Parse(File.ReadAllText(Path.Combine(path, "config.json")))!.AsObject();
        (json["model_type"], json["mixer"], json["architectures"]) = ("conv-seq2seq", "attention", new JsonArray("ConvSeq2SeqForConditionalGeneration"));
        using PretrainedModel model = ModelRegistry.CreateWithHead(new HfConfig(json, fixture));
        using var checkpoint = new SafetensorsFolder(path);
        foreach ((string parameter, Parameter value) in model.NamedParameters()) value.Value = checkpoint.Read(parameter).requires_grad_(true);
        using var expected = new SafetensorsFile(Path.Combine(path, "expected.safetensors"));
        IReadOnlyDictionary<string, Tensor> outputs = model.Forward(Golden.Case(expected, $"{name}/in."));
        foreach ((string output, Tensor reference) in Golden.Case(expected, $"{name}/out.")) Golden.Forward($"{fixture}/{name}/{output}", outputs[output], reference);
        outputs["loss"].backward();
        Dictionary<string, Tensor> gradients = Golden.Case(expected, $"{name}/grad.");
        double largest = gradients.Values.Max(Golden.Largest);
        Dictionary<string, Parameter> parameters = model.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
        foreach ((string parameter, Tensor reference) in gradients.Where(pair => !pair.Key.StartsWith("in.", StringComparison.Ordinal)))
            Golden.Gradient($"{fixture}/{name}/grad.{parameter}", parameters[parameter].Value.grad!, reference, largest);
    }

    [Theory]
    [MemberData(nameof(Mixers))]
    public void A_decoder_trains_where_it_is_read_and_takes_no_memory_where_not(string mixer)
    {
        using FrozenWeights weights = Weights(mixer);
        var spec = new TaskSpec(new VectorInput(3, 6), new ClassOutput(4));
        using AdaptedModel encoder = Bodies.Adapt(weights, spec), decoder = Bodies.Adapt(weights, spec with { Readout = "decoder" }, "*");
        Assert.All(encoder.Parameters.Where(parameter => parameter.Name.StartsWith("decoder.", StringComparison.Ordinal)),
            parameter => Assert.True(parameter.Unused && !parameter.Trained && !parameter.Parameter.HasValue, parameter.Name));
        Assert.DoesNotContain(decoder.Parameters, parameter => parameter.Unused);
        TrainStep.AddGradients(decoder, [new Batch(Normal(3, 6, 3), Tensors.From([0L, 1, 2], 3, 1))]);
        Assert.All(decoder.Trained, parameter => Assert.True(parameter.Parameter.Value.grad is { } gradient && Golden.Largest(gradient) > 0, parameter.Name));
        Assert.Equal(decoder.Backbone.ConstantParameters(decoder.Use), decoder.Parameters.Where(parameter => !parameter.Trained).Select(parameter => parameter.Name));
    }

    [Theory]
    [MemberData(nameof(Mixers))]
    public void Tokens_one_by_one_are_the_tokens_at_once(string mixer)
    {
        using FrozenWeights weights = Weights(mixer);
        using var model = (EncoderDecoder)weights.CreateBackbone();
        Tensor mask = Tensors.From([1L, 1, 1, 1, 0, 0, 0, 1, 1, 1], 2, 5), ids = Tensors.From([3L, 4, 5, 6, 0, 0, 7, 8, 9, 10], 2, 5);
        Tensor decoderIds = Tensors.From([0L, 4, 9, 3, 2, 6, 5, 8, 8, 3, 2, 0], 2, 6);
        Tensor encoded = model.Encode(new ModelInputs(ids, AttentionMask: mask)).LastHiddenState;
        Tensor whole = model.Decode(new ModelInputs(AttentionMask: mask) { DecoderInputIds = decoderIds }, encoded).LastHiddenState;
        using var cache = new KeyValueCache();
        var steps = new List<Tensor>();
        foreach ((int first, int count) in new[] { (0, 2), (2, 1), (3, 1), (4, 1), (5, 1) })
        {
            steps.Add(model.Decode(new ModelInputs(AttentionMask: mask) { DecoderInputIds = decoderIds.narrow(1, first, count), Cache = cache }, encoded).LastHiddenState);
            cache.Length += count;
        }
        Golden.Close("the states", torch.cat(steps, 1), whole, 2e-5 * Golden.Largest(whole));
        // What comes later changes nothing before it.
        Tensor other = decoderIds.clone();
        other.narrow(1, 5, 1).fill_(7);
        Tensor changed = model.Decode(new ModelInputs(AttentionMask: mask) { DecoderInputIds = other }, encoded).LastHiddenState;
        Assert.True(whole.narrow(1, 0, 5).contiguous().ValuesEqual(changed.narrow(1, 0, 5).contiguous()));
    }

    [Theory]
    [MemberData(nameof(Mixers))]
    public void Beams_are_at_least_as_probable_as_the_greedy_sequence_and_one_beam_is_greedy(string mixer)
    {
        using PretrainedModel model = Pretrained(mixer);
        var inputs = new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From([3L, 4, 5, 6, 7, 8], 2, 3) };
        var options = new GenerationOptions { MaxNewTokens = 6, EndId = null, PadId = 0, LengthPenalty = 0 };
        Tensor greedy = model.Generate(inputs, options), beams = model.Generate(inputs, options with { Beams = 4 });
        double[] LogProbabilities(Tensor sequences)
        {
            using var noGrad = torch.no_grad();
            Tensor logits = model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = inputs["input_ids"], ["decoder_input_ids"] = sequences.narrow(1, 0, 6) })["logits"];
            return [.. logits.log_softmax(-1).gather(2, sequences.narrow(1, 1, 6).unsqueeze(2)).sum([1L, 2]).ToArray<float>().Select(x => (double)x)];
        }
        foreach ((double best, double plain) in LogProbabilities(beams).Zip(LogProbabilities(greedy))) Assert.True(best >= plain - 1e-4, $"{best} below {plain}");
        // Greedy: each token is the most probable one behind those before it, computed anew.
        Tensor again = model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = inputs["input_ids"], ["decoder_input_ids"] = greedy.narrow(1, 0, 6) })["logits"];
        Assert.Equal(again.argmax(-1).ToArray<long>(), greedy.narrow(1, 1, 6).contiguous().ToArray<long>());
    }

    [Fact]
    public void The_one_attending_layer_of_an_encoder_is_its_own_group_and_gives_its_probabilities()
    {
        using FrozenWeights weights = Weights("\"mixer\": \"lightweight\", \"kernel_size\": 3, \"encoder_attention_layer\": 1");
        using var model = (EncoderDecoder)weights.CreateBackbone();
        Assert.Equal((GroupName.Conv, 0), model.GroupOf("encoder.block.0.layer.0.ConvMixer.conv.weight"));
        Assert.Equal((GroupName.Attn, 1), model.GroupOf("encoder.block.1.layer.0.SelfAttention.q.weight"));
        Assert.Equal((GroupName.Pos, 1), model.GroupOf("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"));
        Assert.Equal((GroupName.Conv, 4), model.GroupOf("decoder.block.2.layer.0.ConvMixer.wo.weight"));
        Assert.Equal((GroupName.Cross, 2), model.GroupOf("decoder.block.0.layer.1.EncDecAttention.q.weight"));
        ModelOutputs outputs = model.Forward(new ModelInputs(Tensors.From([3L, 4, 5], 1, 3), OutputAttentions: true) { DecoderInputIds = Tensors.From([0L, 2], 1, 2) });
        Assert.Equal([1, 2, 3, 3], Assert.Single(outputs.Encoder!.Attentions).shape);
        Assert.Empty(outputs.Attentions);
        Assert.Equal(3, outputs.CrossAttentions.Count);
        // Far tokens meet in that layer alone.
        Tensor ids = Tensors.From([.. Enumerable.Range(0, 40).Select(i => 2L + i % 9)], 1, 40), other = ids.clone();
        other.narrow(1, 39, 1).fill_(0);
        using FrozenWeights plain = Weights("\"mixer\": \"lightweight\", \"kernel_size\": 3");
        using var local = (EncoderDecoder)plain.CreateBackbone();
        bool Same(EncoderDecoder body) => body.Encode(new ModelInputs(ids)).LastHiddenState.narrow(1, 0, 1).ValuesEqual(body.Encode(new ModelInputs(other)).LastHiddenState.narrow(1, 0, 1));
        Assert.True(Same(local));
        Assert.False(Same(model));
    }

    [Theory]
    [InlineData("\"mixer\": \"recurrent\"", "lightweight, depthwise, dynamic, dilated, attention")]
    [InlineData("\"norm\": \"none\"", "pre-rmsnorm, post-layernorm and branch-layernorm")]
    [InlineData("\"kernel_size\": [3]", "kernel_size")]
    [InlineData("\"kernel_size\": [3, 3]", "a list of 3")]
    [InlineData("\"kernel_size\": 0", "kernel_size")]
    [InlineData("\"mixer\": \"dilated\", \"dilation\": -1", "dilation")]
    [InlineData("\"dilation\": 2", "only the mixer dilated")]
    [InlineData("\"conv_heads\": 3", "conv_heads (3)")]
    [InlineData("\"mixer\": \"depthwise\", \"conv_heads\": 4", "a row of taps for each")]
    [InlineData("\"conv_head_order\": \"any\"", "alternating")]
    [InlineData("\"encoder_attention_layer\": 2", "layers are 0 to 1")]
    [InlineData("\"weight_dropout\": 1", "weight_dropout is 1")]
    [InlineData("\"max_position_embeddings\": 0", "max_position_embeddings")]
    public void A_configuration_that_cannot_be_is_refused_with_its_key(string key, string expected) => Refusal.Of(expected, () => ModelRegistry.CreateWithHead(Config(key)));

    [Fact]
    public void Start_values_are_those_of_the_families_that_they_come_from()
    {
        using Backbone model = Bodies.Load("conv-seq2seq-mini@released");
        Dictionary<string, Tensor> values = model.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter.Value);
        const string Mixer = "encoder.block.1.layer.0.ConvMixer";
        Assert.InRange(values[$"{Mixer}.wi.weight"].std().Number(), 0.97 / 16, 1.03 / 16);
        Assert.Equal(0, Golden.Largest(values[$"{Mixer}.ws.bias"]) + Golden.Largest(values[$"{Mixer}.conv.bias"]));
        double bound = Math.Sqrt(6.0 / (9 + 256 * 9));  // Xavier, as fairseq counts (256, 1, 9)
        Assert.InRange(Golden.Largest(values[$"{Mixer}.conv.weight"]), 0.95 * bound, bound);
        Assert.InRange(values["decoder.embed_positions.weight"].std().Number(), 0.98, 1.02);
    }

    private static HfConfig Preset(string name) => ModelRegistry.Presets.Single(preset => preset.Name == name).Config;

    private static long Elements(HfConfig config)
    {
        using Backbone backbone = ModelRegistry.Find(config).Backbone(config);
        return backbone.NamedParameters().Sum(pair => pair.Parameter.Elements);
    }

    private static HfConfig Config(string keys) => HfConfig.Parse($"{{{Trunk}, {keys}}}", "config");

    private static FrozenWeights Weights(string keys) => FrozenWeights.Draw(ConvSeq2SeqModel.Architecture, Config(keys), 5);

    // Weights large enough that tokens differ in probability.
    private static PretrainedModel Pretrained(string keys)
    {
        PretrainedModel model = ModelRegistry.CreateWithHead(Config(keys));
        using var noGrad = torch.no_grad();
        foreach ((string name, Parameter parameter) in model.NamedParameters())
        {
            using Generator random = Initializers.GeneratorFor(3, name);
            parameter.Initialize(random, name.Contains("norm", StringComparison.Ordinal) ? null : Initializers.Normal(0.4));
        }
        return model;
    }

    private static Tensor Normal(params long[] shape)
    {
        using var random = new Generator(1);
        return torch.empty(shape).normal_(0, 1, random);
    }
}
