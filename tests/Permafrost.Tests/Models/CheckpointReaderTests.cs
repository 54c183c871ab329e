using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>Weights from a folder: nothing missing, nothing unknown, everything as float32.</summary>
public class CheckpointReaderTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose()
    {
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Weights_are_loaded_name_by_name()
    {
        using Backbone backbone = Load(TinyGpt2.Save(folder, TinyGpt2.Json()));
        using var scope = torch.NewDisposeScope();
        Dictionary<string, Tensor> saved = TinyGpt2.Weights(backbone.Config);
        Assert.All(backbone.NamedParameters(), pair => Assert.True(saved[pair.Name].ValuesEqual(pair.Parameter.Value), pair.Name));
    }

    [Fact]
    public void Weights_belong_to_the_model_when_the_file_is_written_over()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json());
        var seen = new Dictionary<string, byte[]>();
        using Backbone backbone = Load(path);
        foreach ((string name, Parameter parameter) in backbone.NamedParameters()) seen[name] = parameter.Value.ToBytes();
        using (var file = new FileStream(Path.Combine(path, "model.safetensors"), FileMode.Open)) file.Write(new byte[file.Length]);
        Assert.All(backbone.NamedParameters(), pair => Assert.Equal(seen[pair.Name], pair.Parameter.Value.ToBytes()));
        Assert.All(backbone.NamedParameters(), pair => pair.Parameter.Value.fill_(1));
    }

    [Fact]
    public void Prefixes_buffers_and_heads_of_checkpoints_are_understood()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(), weights =>
        {
            foreach (string name in weights.Keys.ToArray())
            {
                weights[$"transformer.{name}"] = weights[name];
                weights.Remove(name);
            }
            weights["transformer.h.0.attn.bias"] = torch.ones([1, 1, 16, 16], ScalarType.Byte);
            weights["transformer.h.0.attn.masked_bias"] = Tensors.Scalar(-1e4f);
            weights["lm_head.weight"] = torch.ones([11, 8]);
        });
        using Backbone backbone = Load(path);
        Assert.All(backbone.NamedParameters(), pair => Assert.True(pair.Parameter.HasValue));
    }

    [Theory]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float64)]
    public void Other_floating_point_types_become_float32(ScalarType dtype)
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(), weights =>
        {
            foreach (string name in weights.Keys.ToArray()) weights[name] = weights[name].to(dtype);
        });
        using Backbone backbone = Load(path);
        using var scope = torch.NewDisposeScope();
        Dictionary<string, Tensor> saved = TinyGpt2.Weights(backbone.Config);
        foreach ((string name, Parameter parameter) in backbone.NamedParameters())
            Assert.True(saved[name].to(dtype).to(ScalarType.Float32).ValuesEqual(parameter.Value), name);
    }

    [Fact]
    public void A_model_with_its_head_is_cut_to_its_first_layers_too()
    {
        string path = SmallBody.Write(folder["body"], "gpt2", withWeights: true);
        using TextGenerator whole = TextGenerator.Load(BackboneSource.Resolve(path)), first = TextGenerator.Load(BackboneSource.Resolve($"{path}:1"));
        Assert.NotEqual(whole.Generate("the", whole.Greedy(8)).Ids, first.Generate("the", first.Greedy(8)).Ids);
        Refusal.OfUsage("`skip_weights` q.*", () => TextGenerator.Load(BackboneSource.Resolve($"{path}:1"), "q.*"));
    }

    [Fact]
    public void A_missing_tensor_is_named_with_its_shape()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(), weights => weights.Remove("h.0.mlp.c_fc.bias"));
        Assert.Contains("'h.0.mlp.c_fc.bias' [32] is missing", Refusal.Of(path, () => Load(path)), StringComparison.Ordinal);
    }

    [Fact]
    public void An_unknown_tensor_is_named_and_counted()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(), weights => (weights["h.1.ln_1.weight"], weights["h.1.ln_1.bias"]) = (torch.ones([8]), torch.ones([8])));
        Assert.Contains("2 tensor(s) that gpt2 does not have, the first is 'h.1.ln_1.bias'", Refusal.Of(path, () => Load(path)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("v_head.*", 2)]
    [InlineData("v_head.summary.weight,v_head.summary.bias", 2)]
    [InlineData("v_head.summary.?eight, v_*.bias,lm_head.weight", 3)]
    public void Weights_of_another_head_are_left_out_where_that_is_asked_for(string patterns, int count)
    {
        string path = SaveWithHeads();
        Assert.Contains("`skip_weights`", Refusal.Of("'v_head.summary.bias'", () => Load(path)), StringComparison.Ordinal);
        using FrozenWeights weights = FrozenWeights.Load(path, skipWeights: patterns);
        using Backbone backbone = weights.CreateBackbone();
        Assert.Equal(count, weights.SkippedWeights);
        using FrozenWeights plain = FrozenWeights.Load(TinyGpt2.Save(folder, TinyGpt2.Json()));
        Assert.Equal(plain.Sha256, weights.Sha256);
    }

    [Theory]
    [InlineData("v_head.*,q_head.*", "`skip_weights` q_head.*")]
    [InlineData("V_HEAD.*", "`skip_weights` V_HEAD.*")]
    [InlineData("*", "`skip_weights` *: the model needs the tensor 'h.0.attn.c_attn.bias'")]
    [InlineData("v_head.*,wte.weight", "'wte.weight'")]
    [InlineData("v_head.*,", "`skip_weights` 'v_head.*,'")]
    [InlineData("", "`skip_weights` ''")]
    public void Patterns_that_mean_nothing_or_what_is_needed_are_refused(string patterns, string mention)
    {
        string path = SaveWithHeads();
        Refusal.OfUsage(mention, () => LoadSkipping(path, patterns));
        Refusal.OfUsage("`skip_weights`", () => FrozenWeights.Load(path, "random", skipWeights: "v_head.*"));
    }

    private string SaveWithHeads() => TinyGpt2.Save(folder, TinyGpt2.Json(), weights =>
    {
        (weights["v_head.summary.weight"], weights["v_head.summary.bias"]) = (torch.ones([1, 8]), torch.ones([1]));
        weights["lm_head.weight"] = torch.ones([11, 8]);
    });

    private static void LoadSkipping(string path, string patterns)
    {
        using FrozenWeights weights = FrozenWeights.Load(path, skipWeights: patterns);
        weights.CreateBackbone().Dispose();
    }

    [Fact]
    public void A_wrong_shape_is_told_with_both_shapes()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(), weights => weights["wpe.weight"] = torch.ones([8, 16]));
        Assert.Contains("'wpe.weight' has the shape [8, 16], config.json asks for [16, 8]", Refusal.Of(path, () => Load(path)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ScalarType.Int64)]
    [InlineData(ScalarType.Bool)]
    [InlineData(ScalarType.Byte)]
    public void Integers_are_no_weights(ScalarType dtype)
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(), weights => weights["ln_f.bias"] = torch.zeros([8], dtype));
        Assert.Contains("'ln_f.bias' has the type", Refusal.Of(path, () => Load(path)), StringComparison.Ordinal);
    }

    [Fact]
    public void Weights_of_another_size_are_refused()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(width: 8));
        folder.Write(Path.Combine("body", "config.json"), TinyGpt2.Json(width: 16));
        Refusal.Of(path, () => Load(path));
    }

    [Fact]
    public void An_untied_head_must_be_there_and_a_tied_one_need_not()
    {
        string json = TinyGpt2.Json().Replace("GPT2Model", "GPT2LMHeadModel", StringComparison.Ordinal);
        string path = TinyGpt2.Save(folder, json);
        using (PretrainedModel tied = LoadWithHead(path)) Assert.All(tied.NamedParameters(), pair => Assert.True(pair.Parameter.HasValue));
        TinyGpt2.Save(folder, json.Replace("}", ", \"tie_word_embeddings\": false}", StringComparison.Ordinal));
        Assert.Contains("'lm_head.weight' [11, 8] is missing", Refusal.Of(path, () => LoadWithHead(path)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_tied_table_may_be_stored_under_the_heads_name()
    {
        static void Rename(Dictionary<string, Tensor> weights)
        {
            weights["lm_head.weight"] = weights["wte.weight"];
            weights.Remove("wte.weight");
        }
        using var scope = torch.NewDisposeScope();
        foreach (string head in new[] { "GPT2Model", "GPT2LMHeadModel" })
        {
            string path = TinyGpt2.Save(folder, TinyGpt2.Json().Replace("GPT2Model", head, StringComparison.Ordinal), Rename);
            using PretrainedModel model = LoadWithHead(path);
            Assert.True(TinyGpt2.Weights(model.Backbone.Config)["wte.weight"].ValuesEqual(((Gpt2Model)model.Backbone).Tokens.Weight.Value));
        }
        // Not where they are two tables.
        string untied = TinyGpt2.Save(folder, TinyGpt2.Json(more: """, "tie_word_embeddings": false""").Replace("GPT2Model", "GPT2LMHeadModel", StringComparison.Ordinal), Rename);
        Assert.Contains("'transformer.wte.weight' [11, 8] is missing", Refusal.Of(untied, () => LoadWithHead(untied)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_weights_is_told() => Refusal.Of(folder["body"], () => Load(TinyGpt2.Configure(folder, TinyGpt2.Json())));

    private static Backbone Load(string path) => Bodies.Load(path, "pretrained");

    private static PretrainedModel LoadWithHead(string path)
    {
        HfConfig config = HfConfig.Load(path);
        PretrainedModel model = ModelRegistry.CreateWithHead(config);
        CheckpointReader.Load(model, ModelRegistry.Find(config), model.Prefix, path);
        return model;
    }
}
