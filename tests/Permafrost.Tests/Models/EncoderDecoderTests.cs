using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tasks;
using Permafrost.Training;

namespace Permafrost.Tests.Models;

/// <summary>What encoder-decoders promise beyond <see cref="ArchitectureContract"/>: a decoder that runs where it is read, and steps that cost one token.</summary>
public sealed class EncoderDecoderTests : IDisposable
{
    private const string T5 = """
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 2,
         "vocab_size": 11, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
        """;

    private const string Bart = """
        {"model_type": "bart", "architectures": ["BartForConditionalGeneration"], "d_model": 16, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 2,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 20, "max_position_embeddings": 16, "vocab_size": 11, "pad_token_id": 1, "eos_token_id": 2,
         "decoder_start_token_id": 2, "scale_embedding": true}
        """;

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string> Families => ["t5", "bart"];

    public void Dispose() => scope.Dispose();

    [Theory]
    [MemberData(nameof(Families))]
    public void A_decoder_trains_where_it_is_read_and_takes_no_memory_where_not(string family)
    {
        using FrozenWeights weights = Weights(family);
        var spec = new TaskSpec(new VectorInput(3, 6), new ClassOutput(4));
        using AdaptedModel encoder = Bodies.Adapt(weights, spec), decoder = Bodies.Adapt(weights, spec with { Readout = "decoder" }, "*");
        Assert.All(encoder.Parameters.Where(parameter => parameter.Name.StartsWith("decoder.", StringComparison.Ordinal)),
            parameter => Assert.True(parameter.Unused && !parameter.Trained && !parameter.Parameter.HasValue, parameter.Name));
        Assert.DoesNotContain(decoder.Parameters, parameter => parameter.Unused);

        using var random = new Generator(1);
        TrainStep.AddGradients(decoder, [new Batch(torch.empty([3, 6, 3]).normal_(0, 1, random), Tensors.From([0L, 1, 2], 3, 1))]);
        Assert.All(decoder.Trained, parameter => Assert.True(parameter.Parameter.Value.grad is { } gradient && Golden.Largest(gradient) > 0, parameter.Name));
        // One decoder token sees itself alone, so what would choose among keys stays as it is.
        string[] constant = [.. decoder.Parameters.Where(parameter => !parameter.Trained).Select(parameter => parameter.Name)];
        Assert.Equal(decoder.Backbone.ConstantParameters(decoder.Use), constant);
        Assert.All(constant, name => Assert.True(name.StartsWith("decoder.", StringComparison.Ordinal) && name.Contains("elf", StringComparison.Ordinal), name));
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Layers_count_the_encoders_and_then_the_decoders(string family)
    {
        using FrozenWeights weights = Weights(family);
        var spec = new TaskSpec(new VectorInput(3, 6), new ClassOutput(4)) { Readout = "decoder" };
        using AdaptedModel last = Bodies.Adapt(weights, spec, "output,attn[-1]"), third = Bodies.Adapt(weights, spec, "output,attn[2]");
        string layers = family == "t5" ? "decoder.block" : "decoder.layers";
        Assert.All(last.Trained.Where(parameter => parameter.Group == GroupName.Attn), parameter => Assert.StartsWith($"{layers}.2.", parameter.Name));
        Assert.All(third.Trained.Where(parameter => parameter.Group == GroupName.Attn), parameter => Assert.StartsWith($"{layers}.0.", parameter.Name));
        using AdaptedModel encoder = Bodies.Adapt(weights, spec with { Readout = "mean" }, "output,attn[-1]");
        Assert.All(encoder.Trained.Where(parameter => parameter.Group == GroupName.Attn), parameter => Assert.Contains(".1.", parameter.Name));
        Refusal.OfUsage("backbone of 2 layers", () => Bodies.Adapt(weights, spec with { Readout = "mean" }, "output,attn[2]"));
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Tokens_one_by_one_are_the_tokens_at_once(string family)
    {
        using FrozenWeights weights = Weights(family);
        using var model = (EncoderDecoder)weights.CreateBackbone();
        Tensor mask = Tensors.From([1L, 1, 1, 1, 0, 0, 0, 1, 1, 1], 2, 5), ids = Tensors.From([3L, 4, 5, 6, 0, 0, 7, 8, 9, 10], 2, 5);
        Tensor decoderIds = Tensors.From([0L, 4, 9, 3, 2, 5, 8, 8], 2, 4);
        Tensor encoded = model.Encode(new ModelInputs(ids, AttentionMask: mask)).LastHiddenState;
        Tensor whole = model.Decode(new ModelInputs(AttentionMask: mask) { DecoderInputIds = decoderIds }, encoded).LastHiddenState;
        using var cache = new KeyValueCache();
        var steps = new List<Tensor>();
        foreach ((int first, int count) in new[] { (0, 2), (2, 1), (3, 1) })
        {
            steps.Add(model.Decode(new ModelInputs(AttentionMask: mask) { DecoderInputIds = decoderIds.narrow(1, first, count), Cache = cache }, encoded).LastHiddenState);
            cache.Length += count;
        }
        Golden.Close("the states", torch.cat(steps, 1), whole, 2e-5 * Golden.Largest(whole));
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Beams_find_the_most_probable_sequence_that_a_search_of_all_finds(string family)
    {
        using PretrainedModel model = Pretrained(family);
        var inputs = new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From([3L, 4, 5, 6, 7, 8], 2, 3) };
        const int V = 11, Length = 2;
        // So many beams that none is lost.
        var options = new GenerationOptions { MaxNewTokens = Length, Beams = V, EndId = 1, PadId = 0, LengthPenalty = 0 };
        Tensor found = model.Generate(inputs, options);
        for (int row = 0; row < 2; row++)
        {
            Tensor one = inputs["input_ids"].narrow(0, row, 1);
            (double best, string tokens) = Sequences([], V, Length, 1).Select(tail => (LogProbability(model, one, found.select(0, row).ToArray<long>()[0], tail), string.Join(' ', tail))).Max();
            long[] kept = found.select(0, row).ToArray<long>()[1..];
            int end = Array.IndexOf(kept, 1L);
            Assert.Equal(tokens, string.Join(' ', end < 0 ? kept : kept[..(end + 1)]));
            Assert.True(double.IsFinite(best));
        }
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void What_is_drawn_follows_from_the_seed_and_the_fewest_tokens_are_the_most_probable(string family)
    {
        using PretrainedModel model = Pretrained(family);
        var inputs = new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From([3L, 4, 5, 6, 7, 8], 2, 3) };
        long[] Drawn(GenerationOptions options) => model.Generate(inputs, options).ToArray<long>();
        long[] greedy = Drawn(new() { MaxNewTokens = 6 });
        Assert.Equal(greedy, Drawn(new() { MaxNewTokens = 6, Sample = true, TopK = 1 }));
        Assert.Equal(greedy, Drawn(new() { MaxNewTokens = 6, Sample = true, TopP = 1e-6 }));
        Assert.Equal(greedy, Drawn(new() { MaxNewTokens = 6, Sample = true, Temperature = 1e-4 }));
        long[] first = Drawn(new() { MaxNewTokens = 6, Sample = true, Temperature = 3, Seed = 1 });
        Assert.Equal(first, Drawn(new() { MaxNewTokens = 6, Sample = true, Temperature = 3, Seed = 1 }));
        Assert.NotEqual(first, Drawn(new() { MaxNewTokens = 6, Sample = true, Temperature = 3, Seed = 2 }));
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Inputs_that_cannot_be_are_refused_in_a_sentence(string family)
    {
        using PretrainedModel model = Pretrained(family);
        Tensor ids = Tensors.From([3L, 4, 5, 6], 2, 2);
        void Refused(string part, params (string Name, Tensor Tensor)[] inputs) =>
            Refusal.Of(part, () => model.Forward(inputs.ToDictionary(pair => pair.Name, pair => pair.Tensor)));
        Refused("neither input_ids nor inputs_embeds", ("labels", ids));
        Refused("which reads one of them", ("input_ids", ids));
        Refused("holds 11", ("input_ids", ids), ("labels", torch.full([2, 2], 11L)));
        Refused("the encoder's inputs have 2 rows", ("input_ids", ids), ("decoder_input_ids", Tensors.From([1L], 1, 1)));
        Refused("attention_mask is", ("input_ids", ids), ("attention_mask", torch.ones([2, 3])), ("labels", ids));
        Refused("must be (B, S)", ("input_ids", ids), ("decoder_attention_mask", torch.ones([2, 3])), ("labels", ids));
        Refused("both decoder_input_ids and decoder_inputs_embeds", ("input_ids", ids), ("decoder_input_ids", ids), ("decoder_inputs_embeds", torch.zeros([2, 2, 16])));
        Refused("(B, T, 16)", ("inputs_embeds", torch.zeros([2, 2, 8])), ("labels", ids));
        if (family == "bart") Refused("16 positions", ("input_ids", torch.zeros([1, 17], ScalarType.Int64)), ("labels", torch.zeros([1, 2], ScalarType.Int64)));
    }

    [Theory]
    [InlineData(T5, "num_heads", "0")]
    [InlineData(T5, "feed_forward_proj", "\"doubly-gated-gelu\"")]
    [InlineData(T5, "feed_forward_proj", "\"gated-nothing\"")]
    [InlineData(T5, "relative_attention_num_buckets", "7")]
    [InlineData(T5, "relative_attention_max_distance", "4")]
    [InlineData(T5, "decoder_start_token_id", "11")]
    [InlineData(Bart, "encoder_attention_heads", "3")]
    [InlineData(Bart, "decoder_attention_heads", "5")]
    [InlineData(Bart, "activation_function", "\"nothing\"")]
    [InlineData(Bart, "dropout", "1")]
    [InlineData(Bart, "d_model", "-1")]
    public void Configurations_that_cannot_be_are_refused_by_key(string json, string key, string value)
    {
        var config = (System.Text.Json.Nodes.JsonObject)System.Text.Json.Nodes.JsonNode.Parse(json)!;
        config[key] = System.Text.Json.Nodes.JsonNode.Parse(value);
        string said = Refusal.Of("config", () => ModelRegistry.CreateWithHead(new HfConfig(config, "config")));
        Assert.True(said.Contains(key, StringComparison.Ordinal) || said.Contains(value.Trim('"').Split('-')[^1], StringComparison.Ordinal), said);
    }

    [Fact]
    public void An_encoder_alone_has_no_decoder_to_read()
    {
        var config = HfConfig.Parse(T5.Replace("T5ForConditionalGeneration", "T5EncoderModel", StringComparison.Ordinal), "config");
        using var weights = FrozenWeights.Draw(ModelRegistry.Find(config), config, 5);
        Refusal.OfUsage("decoder", () => Bodies.Adapt(weights, new TaskSpec(new VectorInput(3, 6), new ClassOutput(4)) { Readout = "decoder" }));
        using AdaptedModel model = Bodies.Adapt(weights, new TaskSpec(new VectorInput(3, 6), new ClassOutput(4)) { Readout = "mean" });
        Assert.Equal(2, model.Backbone.Traits.Layers);
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void What_cannot_be_generated_is_refused_in_a_sentence(string family)
    {
        using PretrainedModel model = Pretrained(family);
        Tensor ids = Tensors.From([3L, 4, 5, 6], 2, 2);
        void Refused(string part, GenerationOptions options, params (string Name, Tensor Tensor)[] inputs) =>
            Refusal.Of(part, () => model.Generate(inputs.ToDictionary(pair => pair.Name, pair => pair.Tensor), options));
        var plain = new GenerationOptions { MaxNewTokens = 2 };
        Refused("decoder_attention_mask", plain, ("input_ids", ids), ("decoder_attention_mask", ids));
        Refused("holds 11", plain, ("input_ids", ids), ("decoder_input_ids", torch.full([2, 1], 11L)));
        Refused("encoder's inputs have 2 rows", plain, ("input_ids", ids), ("decoder_input_ids", Tensors.From([1L], 1, 1)));
        Refused("the id 11", plain with { EndId = 11 }, ("input_ids", ids));
        Refused("the id -1", plain with { PadId = -1 }, ("input_ids", ids));
        Refused("`beams`", plain with { Beams = 0 }, ("input_ids", ids));
        Refused("`temperature`", plain with { Sample = true, Temperature = 1e-320 }, ("input_ids", ids));
        Refused("`top_p`", plain with { Sample = true, TopP = 0 }, ("input_ids", ids));
        Refused("exclude each other", plain with { Sample = true, Beams = 2 }, ("input_ids", ids));
        Refused("add `sample`", plain with { TopK = 3 }, ("input_ids", ids));
        if (family == "bart") Refused("16 positions", plain with { MaxNewTokens = int.MaxValue }, ("input_ids", ids));
        // The first and the last token may be forced.
        long[] forced = model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = ids }, plain with { MaxNewTokens = 3, ForcedStartId = 7, ForcedEndId = 9 }).ToArray<long>();
        Assert.Equal([7, 7, 9, 9], new[] { forced[1], forced[5], forced[3], forced[7] });
    }

    [Fact]
    public void A_rows_draws_do_not_depend_on_the_others()
    {
        using PretrainedModel model = Pretrained("t5");
        var options = new GenerationOptions { MaxNewTokens = 5, Sample = true, Seed = 4 };
        Tensor both = model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From([3L, 4, 5, 6], 2, 2) }, options);
        Tensor first = model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From([3L, 4], 1, 2) }, options);
        Assert.Equal(both.select(0, 0).ToArray<long>(), first.select(0, 0).ToArray<long>());
    }

    private static FrozenWeights Weights(string family)
    {
        HfConfig config = HfConfig.Parse(family == "t5" ? T5 : Bart, "config");
        return FrozenWeights.Draw(ModelRegistry.Find(config), config, 5);
    }

    // Weights large enough that tokens differ in probability.
    private static PretrainedModel Pretrained(string family)
    {
        PretrainedModel model = ModelRegistry.CreateWithHead(HfConfig.Parse(family == "t5" ? T5 : Bart, "config"));
        using var noGrad = torch.no_grad();
        foreach ((string name, Parameter parameter) in model.NamedParameters())
        {
            using Generator random = Initializers.GeneratorFor(3, name);
            parameter.Initialize(random, name.Contains("norm", StringComparison.Ordinal) ? null : Initializers.Normal(0.4));
        }
        return model;
    }

    private static IEnumerable<long[]> Sequences(long[] head, int vocabulary, int length, long end)
    {
        if (head.Length == length || (head.Length > 0 && head[^1] == end)) return [head];
        return Enumerable.Range(0, vocabulary).SelectMany(token => Sequences([.. head, token], vocabulary, length, end));
    }

    private static double LogProbability(PretrainedModel model, Tensor ids, long start, long[] tail)
    {
        using var own = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        Tensor logits = model.Forward(new Dictionary<string, Tensor>
        {
            ["input_ids"] = ids,
            ["decoder_input_ids"] = Tensors.From([start, .. tail[..^1]], 1, tail.Length),
        })["logits"].log_softmax(-1);
        return Enumerable.Range(0, tail.Length).Sum(i => logits[0, i, tail[i]].Number());
    }
}
