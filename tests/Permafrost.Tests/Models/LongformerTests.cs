using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>What is Longformer's alone: windows, global tokens, positions, padding.</summary>
public class LongformerTests
{
    private const string Small = """
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64, "type_vocab_size": 1, "vocab_size": 50
        """;

    [Theory]
    [InlineData("\"attention_window\": 5", "attention_window holds 5")]
    [InlineData("\"attention_window\": 0", "\"attention_window\" is 0")]
    [InlineData("\"attention_window\": [4, -2]", "\"attention_window\" is [4,-2]")]
    [InlineData("\"attention_window\": [4, 3]", "attention_window holds 3")]
    [InlineData("\"attention_window\": [4]", "a list of 2 whole numbers")]
    [InlineData("\"attention_window\": [4, 4, 4]", "a list of 2 whole numbers")]
    [InlineData("\"pad_token_id\": 50", "pad_token_id is 50")]
    [InlineData("\"pad_token_id\": 63", "pad_token_id 63")]
    public void A_configuration_that_cannot_be_is_refused_with_its_key(string key, string expected) => Refusal.Of(expected, () => ModelRegistry.CreateWithHead(Config(key)));

    [Theory]
    [InlineData("\"attention_window\": 2")]
    [InlineData("\"attention_window\": [6, 2]")]
    [InlineData("\"attention_window\": 512")]
    public void Positions_that_are_read_are_those_of_the_whole_with_global_tokens_among_them(string windows)
    {
        using var scope = torch.NewDisposeScope();
        using Backbone model = Drawn(Config(windows));
        using var random = new Generator(5);
        Tensor vectors = torch.empty([3, 11, 16]).normal_(0, 1, random), read = Tensors.From([0L, 4, 10, 2, 1, 2], 3, 2);
        ModelInputs input = new(InputsEmbeds: vectors, AttentionMask: Mask(3, 11, (1, 9), (1, 10))) { GlobalAttentionMask = torch.zeros([3, 11], ScalarType.Int64) };
        foreach ((int row, int token) in new[] { (0, 0), (0, 7), (1, 2), (1, 10) }) input.GlobalAttentionMask![row, token] = 1;
        Tensor whole = model.Forward(input).LastHiddenState, part = model.Forward(input with { ReadPositions = read }).LastHiddenState;
        Golden.Close("what is read", part, whole.gather(1, read.unsqueeze(2).expand(3, 2, 16)), 5e-6 * Golden.Largest(whole));
        // A row's numbers are its own, however many global tokens the others have.
        Tensor alone = model.Forward(new ModelInputs(InputsEmbeds: vectors[1].unsqueeze(0), AttentionMask: input.AttentionMask![1].unsqueeze(0))
        { GlobalAttentionMask = input.GlobalAttentionMask![1].unsqueeze(0) }).LastHiddenState;
        Golden.Close("the row alone", whole[1].unsqueeze(0), alone, 5e-6 * Golden.Largest(whole));
    }

    [Theory]
    [InlineData(512, 5)]
    [InlineData(10, 6)]
    [InlineData(4, 3)]
    public void Windows_wider_than_the_sequence_make_it_bert(int window, int tokens)
    {
        using var scope = torch.NewDisposeScope();
        using Backbone model = Drawn(Config($"\"attention_window\": {window}"));
        using Backbone bert = BertModel.Architecture.Backbone(HfConfig.Parse($$"""{"model_type": "bert", {{Small}}}""", "test"));
        Dictionary<string, Tensor> weights = model.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter.Value);
        foreach ((string name, Parameter parameter) in bert.NamedParameters()) parameter.Value = weights[name].clone();
        using var random = new Generator(5);
        Tensor positions = torch.arange(2, 2 + tokens, ScalarType.Int64).unsqueeze(0), mask = Mask(2, tokens, (1, 0));
        var input = new ModelInputs(InputsEmbeds: torch.empty([2, tokens, 16]).normal_(0, 1, random), AttentionMask: mask, OutputHiddenStates: true, OutputAttentions: true);
        ModelOutputs actual = model.Forward(input), expected = bert.Forward(input with { PositionIds = positions });
        // Padding sees nothing here, and something there.
        Tensor rows = mask.to(ScalarType.Float32);
        foreach ((Tensor one, Tensor other) in actual.HiddenStates.Zip(expected.HiddenStates)) Golden.Forward("hidden state", one * rows.unsqueeze(2), other * rows.unsqueeze(2));
        foreach ((Tensor one, Tensor other) in actual.Attentions.Zip(expected.Attentions))
        {
            Assert.Equal([2, 2, tokens, window + 1], one.shape);
            // Token t's column for key s is s - t + half.
            Tensor columns = (torch.arange(tokens).unsqueeze(0) - torch.arange(tokens).unsqueeze(1) + window / 2).expand(2, 2, tokens, tokens);
            Golden.Forward("probabilities", one.gather(3, columns), other * rows.view(2, 1, tokens, 1));
            Golden.Forward("their sums", one.sum(3), rows.view(2, 1, tokens).expand(2, 2, tokens));
        }
    }

    [Fact]
    public void Layers_that_are_computed_again_give_the_same_gradients_with_global_tokens()
    {
        using var scope = torch.NewDisposeScope();
        Tensor[] Gradients(bool again)
        {
            using Backbone model = Drawn(Config("\"attention_window\": 4"));
            model.UseDropoutKeys(new DropoutKeys { Seed = 1, Step = 2 });
            model.train();
            model.GradientCheckpointing = again;
            foreach ((_, Parameter parameter) in model.NamedParameters()) parameter.Value.requires_grad = true;
            using var random = new Generator(5);
            Tensor global = torch.zeros([2, 9], ScalarType.Int64);
            global[0, 3] = 1;
            Tensor hidden = model.Forward(new ModelInputs(InputsEmbeds: torch.empty([2, 9, 16]).normal_(0, 1, random)) { GlobalAttentionMask = global }).LastHiddenState;
            Segment.Backward(hidden.pow(3).sum());
            return [.. model.NamedParameters().Select(pair => pair.Parameter.Value.grad).OfType<Tensor>().Select(gradient => gradient.clone())];
        }
        (Tensor[] kept, Tensor[] computed) = (Gradients(false), Gradients(true));
        // All but the token table's.
        using Backbone some = Drawn(Config("\"attention_window\": 4"));
        Assert.Equal(some.NamedParameters().Count() - 1, kept.Length);
        Assert.All(kept.Zip(computed), pair => Assert.True(pair.First.ValuesEqual(pair.Second)));
    }

    [Fact]
    public void Paddings_rows_get_no_gradient_and_its_positions_do_not_count()
    {
        using var scope = torch.NewDisposeScope();
        using PretrainedModel model = ModelRegistry.CreateWithHead(Config("\"attention_window\": 4"));
        Draw(model);
        foreach ((_, Parameter parameter) in model.NamedParameters()) parameter.Value.requires_grad = true;
        // Padding that no mask hides, in front: then the tokens' positions are those that they have without it.
        Tensor ids = Tensors.From([1L, 1, 7, 8, 1, 9], 1, 6), positions = Tensors.From([1L, 1, 2, 3, 1, 4], 1, 6);
        IReadOnlyDictionary<string, Tensor> counted = model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = ids, ["loss_weight"] = torch.ones([1, 6, 16]).cumsum(1) });
        IReadOnlyDictionary<string, Tensor> given = model.Forward(new Dictionary<string, Tensor> { ["input_ids"] = ids, ["position_ids"] = positions });
        Assert.True(counted["last_hidden_state"].ValuesEqual(given["last_hidden_state"]));
        (counted["loss"] + counted["last_hidden_state"].pow(2).sum()).backward();
        foreach (string table in new[] { "word", "position" })
        {
            Tensor gradient = model.NamedParameters().Single(pair => pair.Name == $"embeddings.{table}_embeddings.weight").Parameter.Value.grad!;
            Assert.Equal(0, Golden.Largest(gradient[1]));
            Assert.All(table == "word" ? [7, 8, 9] : new[] { 2, 3, 4 }, row => Assert.True(Golden.Largest(gradient[row]) > 0));
        }
    }

    [Fact]
    public void Two_in_the_attention_mask_is_a_global_token()
    {
        using var scope = torch.NewDisposeScope();
        using PretrainedModel model = ModelRegistry.CreateWithHead(Config("\"attention_window\": 2"));
        Draw(model);
        Dictionary<string, Tensor> Inputs(long[] mask, long[]? global)
        {
            var inputs = new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From([5L, 6, 7, 8, 9, 1], 1, 6), ["attention_mask"] = Tensors.From(mask, 1, 6) };
            if (global is not null) inputs["global_attention_mask"] = Tensors.From(global, 1, 6);
            return inputs;
        }
        // Padding is no global token.
        IReadOnlyDictionary<string, Tensor> older = model.Forward(Inputs([2, 1, 1, 1, 1, 0], null)), newer = model.Forward(Inputs([1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 1]));
        Assert.Equal([1, 2, 6, 1], newer["global_attentions.0"].shape);
        Assert.All(newer, pair => Assert.True(pair.Value.ValuesEqual(older[pair.Key]), pair.Key));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_head_for_masked_tokens_is_the_token_table_unless_it_is_untied(bool tied)
    {
        using var scope = torch.NewDisposeScope();
        using var folder = new TemporaryFolder();
        string ties = tied ? "true" : "false";
        string json = $$"""{"model_type": "longformer", "architectures": ["LongformerForMaskedLM"], "attention_window": 4, "tie_word_embeddings": {{ties}}, {{Small}}}""";
        folder.Write("config.json", json);
        HfConfig config = HfConfig.Parse(json, "test");
        using PretrainedModel drawn = ModelRegistry.CreateWithHead(config), loaded = ModelRegistry.CreateWithHead(config);
        Draw(drawn);
        Dictionary<string, Tensor> weights = drawn.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter.Value);
        Assert.Equal(!tied, weights.ContainsKey("lm_head.decoder.weight"));
        // As the published files have them.
        if (tied) weights["lm_head.decoder.weight"] = weights["longformer.embeddings.word_embeddings.weight"];
        weights["lm_head.decoder.bias"] = weights["lm_head.bias"];
        SafetensorsWriter.Write(folder["model.safetensors"], weights);
        CheckpointReader.Load(loaded, ModelRegistry.Find(config), loaded.Prefix, folder[""]);
        var inputs = new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From([5L, 6, 7], 1, 3), ["labels"] = Tensors.From([-100L, 3, 4], 1, 3) };
        (IReadOnlyDictionary<string, Tensor> one, IReadOnlyDictionary<string, Tensor> two) = (drawn.Forward(inputs), loaded.Forward(inputs));
        Assert.Equal([1, 3, 50], one["logits"].shape);
        Assert.All(one, pair => Assert.True(pair.Value.ValuesEqual(two[pair.Key]), pair.Key));
        Tensor hidden = one["last_hidden_state"], normed = torch.nn.functional.layer_norm(
            torch.nn.functional.gelu(torch.nn.functional.linear(hidden, weights["lm_head.dense.weight"], weights["lm_head.dense.bias"])), [16],
            weights["lm_head.layer_norm.weight"], weights["lm_head.layer_norm.bias"], 1e-12);
        Tensor logits = torch.nn.functional.linear(normed, weights["lm_head.decoder.weight"], weights["lm_head.bias"]);
        Golden.Forward("the logits", one["logits"], logits);
        Golden.Loss("the loss", one["loss"].Number(), torch.nn.functional.cross_entropy(logits[0, 1..], Tensors.From([3L, 4])).Number());
    }

    [Fact]
    public void Start_values_are_those_of_Hugging_Face()
    {
        using Backbone model = Drawn(Config("\"attention_window\": 4, \"initializer_range\": 0.1"), published: true);
        foreach ((string name, Parameter parameter) in model.NamedParameters())
        {
            Tensor value = parameter.Value;
            bool norm = name.Contains("LayerNorm.weight", StringComparison.Ordinal), bias = name.EndsWith("bias", StringComparison.Ordinal);
            if (norm || bias) Assert.True(value.eq(norm ? 1 : 0).all().Integer() != 0, name);
            else if (value.NumberOfElements > 100) Assert.InRange(value.std().Number(), 0.08, 0.12);
        }
        foreach (string table in new[] { "word", "position" })
            Assert.Equal(0, Golden.Largest(model.NamedParameters().Single(pair => pair.Name == $"embeddings.{table}_embeddings.weight").Parameter.Value[1]));
    }

    private static HfConfig Config(string key) => HfConfig.Parse($$"""{"model_type": "longformer", {{key}}, {{Small}}}""", "test");

    private static Backbone Drawn(HfConfig config, bool published = false)
    {
        Backbone model = LongformerModel.Architecture.Backbone(config);
        if (!published) Draw(model);
        else foreach ((string name, Parameter parameter) in model.NamedParameters()) parameter.Initialize(Initializers.GeneratorFor(0, name));
        return model;
    }

    // Larger than published start values, so that what is wrong shows.
    private static void Draw(Module model)
    {
        foreach ((string name, Parameter parameter) in model.NamedParameters()) parameter.Initialize(Initializers.GeneratorFor(0, name), Initializers.Normal(0.4));
    }

    private static Tensor Mask(long rows, long tokens, params (int Row, int Token)[] padding)
    {
        Tensor mask = torch.ones([rows, tokens], ScalarType.Int64);
        foreach ((int row, int token) in padding) mask[row, token] = 0;
        return mask;
    }
}
