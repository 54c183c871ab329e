using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>
/// RoBERTa and DistilBERT, of which the fixtures hold no numbers, against <see cref="EncoderOracle"/>: every output and every gradient, within the fixtures' tolerances.
/// </summary>
public class EncoderOracleTests
{
    private const int B = 3, T = 7;

    private static readonly Dictionary<string, string> Configs = new()
    {
        ["roberta, masked tokens"] = """
            {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"], "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
             "vocab_size": 37, "max_position_embeddings": 20, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
            """,
        ["roberta, own head"] = """
            {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"], "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 20,
             "vocab_size": 19, "max_position_embeddings": 12, "type_vocab_size": 2, "pad_token_id": 3, "hidden_act": "relu", "tie_word_embeddings": false}
            """,
        ["roberta, pooler"] = """
            {"model_type": "roberta", "architectures": ["RobertaModel"], "hidden_size": 18, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 30,
             "vocab_size": 23, "max_position_embeddings": 9, "type_vocab_size": 2, "pad_token_id": 0}
            """,
        ["distilbert, masked tokens"] = """
            {"model_type": "distilbert", "architectures": ["DistilBertForMaskedLM"], "dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40, "vocab_size": 37,
             "max_position_embeddings": 20, "pad_token_id": 0}
            """,
        ["distilbert, own head"] = """
            {"model_type": "distilbert", "architectures": ["DistilBertForMaskedLM"], "dim": 16, "n_layers": 3, "n_heads": 4, "hidden_dim": 20, "vocab_size": 19,
             "max_position_embeddings": 7, "pad_token_id": 2, "activation": "relu", "tie_word_embeddings": false, "sinusoidal_pos_embds": true}
            """,
        ["distilbert, no head"] = """
            {"model_type": "distilbert", "architectures": ["DistilBertModel"], "dim": 18, "n_layers": 1, "n_heads": 2, "hidden_dim": 30, "vocab_size": 23,
             "max_position_embeddings": 9}
            """,
    };

    public static TheoryData<string, string> Cases()
    {
        var cases = new TheoryData<string, string>();
        foreach (string model in Configs.Keys)
            foreach (string feed in new[] { "ids", "padded in front", "padded behind", "padding that is no mask", "vectors", "padded vectors", "positions" })
                cases.Add(model, feed);
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Outputs_and_gradients_are_those_of_the_published_definition(string model, string feed)
    {
        using var scope = torch.NewDisposeScope();
        using var random = new Generator(7);
        var config = HfConfig.Parse(Configs[model], model);
        using PretrainedModel ours = ModelRegistry.CreateWithHead(config);
        bool distilled = config.ModelType == "distilbert", masked = config.Architecture!.EndsWith("MaskedLM", StringComparison.Ordinal);
        int padding = config.Int("pad_token_id", distilled ? 0 : 1, minimum: 0), vocabulary = config.Int("vocab_size", 0);
        Dictionary<string, Tensor> weights = Draw(ours, random);
        var oracle = new EncoderOracle(
            distilled, weights, ours.Prefix, ours.Backbone.Traits.Layers, config.Int(distilled ? "n_heads" : "num_attention_heads", 0), config.Number("layer_norm_eps", 1e-12),
            config.Text(distilled ? "activation" : "hidden_act", "gelu")!, padding);

        // What is fed.
        long[,] ids = Numbers((b, t) => (5 + b * 11 + t * 7) % vocabulary);
        ids = Numbers((b, t) => ids[b, t] == padding ? (padding + 1) % vocabulary : ids[b, t]);
        long[,]? mask = feed switch
        {
            "padded in front" => Numbers((b, t) => t >= 2 * b ? 1 : 0),
            "padded behind" or "padded vectors" => Numbers((b, t) => t < T - 2 * b ? 1 : 0),
            _ => null,
        };
        if (mask is not null) ids = Numbers((b, t) => mask[b, t] == 1 ? ids[b, t] : padding);
        if (feed == "padding that is no mask") ids[1, 2] = ids[1, 3] = ids[2, 6] = padding;
        long[,]? positions = feed == "positions" ? Numbers((b, t) => (b + 2 * t) % 7) : null;
        long[,]? types = !distilled && config.Int("type_vocab_size", 2) > 1 ? Numbers((b, t) => (b + t) % 2) : null;
        bool vectorsGiven = feed.EndsWith("vectors", StringComparison.Ordinal);
        Tensor given = torch.empty([B, T, ours.Backbone.Traits.Width]).normal_(0, 1, random);
        var inputs = new Dictionary<string, Tensor> { [vectorsGiven ? "inputs_embeds" : "input_ids"] = vectorsGiven ? given : torch.tensor(ids) };
        if (mask is not null) inputs["attention_mask"] = torch.tensor(mask);
        if (positions is not null) inputs["position_ids"] = torch.tensor(positions);
        if (types is not null) inputs["token_type_ids"] = torch.tensor(types);
        long[,] labels = Numbers((b, t) => (b + t) % 3 == 0 ? -100 : (b * 3 + t * 5) % vocabulary);
        Tensor weight = torch.empty_like(given).normal_(0, 1, random);
        if (masked) inputs["labels"] = torch.tensor(labels);
        else inputs["loss_weight"] = weight;

        // The oracle.
        Tensor vectors = vectorsGiven ? given.to(ScalarType.Float64).requires_grad_(true) : oracle.Words(ids);
        vectors.retain_grad();
        Tensor hidden = oracle.Encode(vectors, vectorsGiven ? null : ids, mask, positions, types);
        var expected = new Dictionary<string, Tensor> { ["last_hidden_state"] = hidden };
        for (int i = 0; i < oracle.HiddenStates.Count; i++) expected[$"hidden_states.{i}"] = oracle.HiddenStates[i];
        for (int i = 0; i < oracle.Attentions.Count; i++) expected[$"attentions.{i}"] = oracle.Attentions[i];
        Tensor loss;
        if (masked)
        {
            Tensor logits = expected["logits"] = oracle.Logits(hidden);
            loss = torch.nn.functional.cross_entropy(logits.view(B * T, vocabulary), torch.tensor(labels).view(-1));
        }
        else
        {
            loss = (hidden * weight).sum() / B;
            if (!distilled) loss += ((expected["pooler_output"] = oracle.Pooled(hidden)) * weight.select(1, 0)).sum() / B;
        }
        loss.backward();

        ours.WantInputGradient = true;
        IReadOnlyDictionary<string, Tensor> actual = ours.Forward(inputs);
        actual["loss"].backward();

        Assert.Equal(expected.Keys.Append("loss").Order(), actual.Keys.Order());
        foreach ((string name, Tensor tensor) in expected) Golden.Forward(name, actual[name], tensor.detach());
        Golden.Loss("loss", actual["loss"].Number(), loss.Number());
        double largest = weights.Values.Max(tensor => tensor.grad is { } gradient ? Golden.Largest(gradient) : 0);
        Golden.Gradient("inputs_embeds", ours.EmbeddedInputs["inputs_embeds"].grad!, vectors.grad!, largest);
        foreach ((string name, Parameter parameter) in ours.NamedParameters())
        {
            Tensor zeros = torch.zeros(parameter.Shape);
            Golden.Gradient(name, parameter.Value.grad ?? zeros, weights[name].grad ?? zeros, largest);
        }
    }

    [Fact]
    public void Tokens_behind_padding_may_be_as_many_as_the_positions()
    {
        using var scope = torch.NewDisposeScope();
        using PretrainedModel model = ModelRegistry.CreateWithHead(HfConfig.Parse(Configs["roberta, pooler"], "here"));
        using var random = new Generator(1);
        Draw(model, random);
        // 9 rows, the first of which is padding's: 8 tokens fit.
        Tensor eight = torch.tensor(new long[,] { { 0, 3, 4, 5, 6, 7, 8, 9, 10 } }), nine = torch.tensor(new long[,] { { 2, 3, 4, 5, 6, 7, 8, 9, 10 } });
        Assert.Equal([1, 9, 18], model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = eight })["last_hidden_state"].shape);
        Assert.Contains("8 positions", Refusal.Of("9 tokens", () => model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = nine })), StringComparison.Ordinal);
    }

    [Fact]
    public void A_checkpoint_may_hold_buffers_a_pooler_and_the_heads_bias_under_its_other_name()
    {
        using var scope = torch.NewDisposeScope();
        using var folder = new TemporaryFolder();
        using var random = new Generator(1);
        string json = Configs["roberta, masked tokens"];
        using PretrainedModel model = ModelRegistry.CreateWithHead(HfConfig.Parse(json, "here")), again = ModelRegistry.CreateWithHead(HfConfig.Parse(json, "here"));
        Draw(model, random);
        Dictionary<string, Tensor> weights = model.NamedParameters().ToDictionary(
            pair => pair.Name == "lm_head.bias" ? "lm_head.decoder.bias" : pair.Name, pair => pair.Parameter.Value.detach());
        weights["roberta.embeddings.position_ids"] = torch.zeros([1, 20], ScalarType.Int64);
        weights["roberta.pooler.dense.bias"] = torch.zeros([24]);
        folder.Write(Path.Combine("body", "config.json"), json);
        SafetensorsWriter.Write(folder["body", "model.safetensors"], weights);
        CheckpointReader.Load(again, RobertaModel.Architecture, again.Prefix, folder["body"]);
        foreach (((string name, Parameter one), (_, Parameter other)) in model.NamedParameters().Zip(again.NamedParameters()))
            Assert.True(one.Value.ValuesEqual(other.Value), name);
    }

    [Theory]
    [InlineData("roberta-base", 124_055_040)]
    [InlineData("roberta-large", 354_310_144)]
    [InlineData("distilbert-base", 66_362_880)]
    [InlineData("vit-base", 85_798_656)]
    [InlineData("vit-large", 303_301_632)]
    public void Presets_have_their_published_sizes(string name, long elements)
    {
        HfConfig config = ModelRegistry.Presets.Single(preset => preset.Name == name).Config;
        using Backbone backbone = ModelRegistry.Find(config).Backbone(config);
        Assert.Equal(elements, backbone.NamedParameters().Sum(pair => pair.Parameter.Elements));
    }

    [Theory]
    [InlineData("\"model_type\": \"roberta\", \"pad_token_id\": 511", "pad_token_id")]
    [InlineData("\"model_type\": \"roberta\", \"position_embedding_type\": \"relative_key\"", "position_embedding_type")]
    [InlineData("\"model_type\": \"roberta\", \"is_decoder\": true", "is_decoder")]
    [InlineData("\"model_type\": \"distilbert\", \"n_heads\": 5", "not a multiple of n_heads")]
    [InlineData("\"model_type\": \"distilbert\", \"hidden_dim\": 0", "hidden_dim")]
    [InlineData("\"model_type\": \"distilbert\", \"activation\": \"magic\"", "'magic'")]
    public void A_configuration_that_cannot_be_is_refused_with_its_key(string keys, string expected) =>
        Refusal.Of(expected, () => ModelRegistry.CreateWithHead(HfConfig.Parse($"{{{keys}}}", "here")));

    [Theory]
    [InlineData("\"sinusoidal_pos_embds\": true", true)]
    [InlineData("\"sinusoidal_pos_embds\": false", false)]
    public void A_random_distilbert_has_sinusoids_where_its_configuration_says_so(string key, bool sinusoids)
    {
        using var scope = torch.NewDisposeScope();
        var config = HfConfig.Parse($$"""{"model_type": "distilbert", "dim": 8, "n_heads": 2, "n_layers": 1, {{key}}}""", "here");
        using FrozenWeights weights = FrozenWeights.Draw(DistilBertModel.Architecture, config);
        Tensor table = weights.Copy(["embeddings.position_embeddings.weight"])["embeddings.position_embeddings.weight"];
        double[] expected = [.. Enumerable.Range(0, 8).Select(j => j % 2 == 0 ? Math.Sin(5 / Math.Pow(10000, j / 8.0)) : Math.Cos(5 / Math.Pow(10000, (j - 1) / 8.0)))];
        double difference = (table[5].to(ScalarType.Float64) - torch.tensor(expected)).abs().max().Number();
        Assert.Equal(sinusoids, difference < 1e-6);
    }

    // Random weights, as they are and as leaves in float64.
    private static Dictionary<string, Tensor> Draw(PretrainedModel model, Generator random)
    {
        var copies = new Dictionary<string, Tensor>();
        foreach ((string name, Parameter parameter) in model.NamedParameters())
        {
            bool gain = name.Contains("norm.weight", StringComparison.OrdinalIgnoreCase);
            parameter.Value = torch.empty(parameter.Shape).normal_(gain ? 1 : 0, 0.3, random);
            copies[name] = parameter.Value.to(ScalarType.Float64).requires_grad_(true);
            parameter.Value.requires_grad = true;
        }
        return copies;
    }

    private static long[,] Numbers(Func<int, int, long> number)
    {
        var numbers = new long[B, T];
        for (int b = 0; b < B; b++)
            for (int t = 0; t < T; t++) numbers[b, t] = number(b, t);
        return numbers;
    }
}
