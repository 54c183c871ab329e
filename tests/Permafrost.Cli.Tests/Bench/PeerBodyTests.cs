using System.Text.Json.Nodes;
using Permafrost.Cli.Bench;
using Permafrost.Cli.Bench.Peer;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using static TorchSharp.torch;

namespace Permafrost.Cli.Tests.Bench;

/// <summary>The peers of every family compute what the references do: they meet the fixtures themselves, in float32, and our own models on small bodies.</summary>
public sealed class PeerBodyTests
{
    // Where a head is nowhere C / H, where a table is longer than the sequence, and where Longformer's sequences are short, a square, and blocks.
    private static readonly Dictionary<string, string> Small = new()
    {
        ["bert"] = """
            {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 50, "max_position_embeddings": 30, "pad_token_id": 0}
            """,
        ["t5"] = """
            {"d_model": 24, "d_kv": 5, "d_ff": 40, "num_layers": 3, "num_heads": 4, "vocab_size": 50, "feed_forward_proj": "relu",
             "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12}
            """,
        ["bart"] = """
            {"d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 3, "decoder_attention_heads": 3, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40,
             "vocab_size": 50, "max_position_embeddings": 40}
            """,
        ["vit"] = """{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "image_size": 24, "patch_size": 4}""",
        ["longformer"] = """
            {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "attention_window": [4, 8], "max_position_embeddings": 40,
             "type_vocab_size": 1, "vocab_size": 50, "pad_token_id": 1}
            """,
        ["qwen2"] = """
            {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 40, "vocab_size": 50,
             "max_position_embeddings": 40, "rope_theta": 1000.0}
            """,
    };

    [Theory]
    [InlineData("bert", 2, 9)]
    [InlineData("t5", 2, 17)]
    [InlineData("bart", 2, 9)]
    [InlineData("vit", 2, 9)]
    [InlineData("longformer", 2, 3)]
    [InlineData("longformer", 2, 11)]
    [InlineData("longformer", 3, 27)]
    [InlineData("qwen2", 2, 9)]
    public void The_peer_agrees_with_our_model(string family, int batch, int tokens)
    {
        using var scratch = new Scratch();
        string described = Directory.CreateDirectory(scratch["described"]).FullName, folder = scratch["drawn"], file = scratch["answer.safetensors"];
        JsonObject config = JsonNode.Parse(Small[family])!.AsObject();
        config["model_type"] = family;
        // Start values as small as published ones would hide half of what is computed behind the residual stream.
        config[family == "bart" ? "init_std" : "initializer_range"] = 0.2;
        File.WriteAllText(Path.Combine(described, "config.json"), config.ToJsonString());
        using var own = new BenchWorker();
        var peer = new PeerWorker();
        Done(own.Answer(new JsonObject { ["cmd"] = "save", ["backbone"] = described, ["folder"] = folder }));
        foreach (string dtype in new[] { "float32", "bfloat16" })
        {
            var setup = new JsonObject { ["cmd"] = "setup", ["case"] = $"fpt-step-{family}", ["folder"] = folder, ["batch"] = batch, ["tokens"] = tokens, ["threads"] = 1 };
            JsonObject facts = Done(own.Answer(With(setup, ("frozen_dtype", dtype))));
            Done(own.Answer(new JsonObject { ["cmd"] = "answer", ["file"] = file }));
            JsonObject theirs = Done(peer.Answer(With(setup, [("dtype", dtype), .. facts["model"]!.AsObject().Select(pair => (pair.Key, pair.Value!))])));
            Assert.Equal((long)facts["trained"]!, (long)theirs["trained"]!);
            double difference = (double)Done(peer.Answer(new JsonObject { ["cmd"] = "agree", ["file"] = file }))["difference"]!;
            Assert.InRange(difference, 0, dtype == "float32" ? 1e-4 : 0.05);
            // Every trained parameter has a gradient, or the optimiser would leave it alone: the loss of a second step is another one.
            JsonNode first = Done(peer.Answer(Run))["loss"]!, second = Done(peer.Answer(Run))["loss"]!;
            Assert.NotEqual((double)first, (double)second);
        }
        var forward = new JsonObject { ["cmd"] = "setup", ["case"] = $"forward-{family}", ["folder"] = folder, ["batch"] = 1, ["tokens"] = 3, ["threads"] = 1 };
        Done(peer.Answer(With(forward, [("dtype", "float32"), .. BenchBody.Sizes(HfConfig.Load(folder)).Select(pair => (pair.Key, pair.Value!))])));
        Assert.Equal((double)Done(peer.Answer(Run))["loss"]!, (double)Done(peer.Answer(Run))["loss"]!);  // nothing trains, nothing is dropped
    }

    [Theory]
    [InlineData("t5_a", "labels")]
    [InlineData("t5_a", "long")]
    [InlineData("t5_b", "labels")]
    [InlineData("t5_b", "long")]
    [InlineData("bart_a", "labels")]
    [InlineData("bart_a", "full_length")]
    [InlineData("bart_b", "labels")]
    [InlineData("vit_a", "b1")]
    [InlineData("vit_a", "b3")]
    [InlineData("vit_b", "b3")]
    [InlineData("longformer_a", "local_only")]
    [InlineData("longformer_b", "local_only")]
    [InlineData("qwen2_a", "ids")]
    [InlineData("qwen2_a", "full_length")]
    [InlineData("qwen2_a", "embeds")]
    [InlineData("qwen2_a", "one_token")]
    public void Hidden_states_of_the_peer_are_the_references(string fixture, string name)
    {
        string folder = Repository.Fixture(fixture);
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        using var file = new SafetensorsFile(Repository.Fixture(fixture, "model.safetensors"));
        Dictionary<string, Tensor> values = Golden.Case(expected, name + "/");
        Assert.DoesNotContain("in.attention_mask", values.Keys);  // nobody pads in a benchmark
        var config = HfConfig.Load(folder);
        PeerShape shape = PeerShape.Parse(BenchBody.Sizes(config), dropout: 0, ScalarType.Float32);
        // The reference's pictures come with a class token, which stands in the first row.
        if (config.ModelType == "vit") shape = shape with { FirstPosition = 0 };
        PeerBody peer = PeerBody.Make(shape);
        peer.Load(folder);
        peer.eval();
        using IDisposable noGrad = no_grad();
        var states = new List<Tensor>();
        Tensor hidden = peer.Run(Vectors(config, values, file), states: states);
        Compare(name, states, values, config.ModelType is "t5" or "bart" ? "out.encoder_hidden_states" : "out.hidden_states");
        foreach (string last in new[] { "out.last_hidden_state", "out.encoder_last_hidden_state" })
            if (values.TryGetValue(last, out Tensor? whole)) Golden.Forward($"{name} {last}", hidden, whole);
        Golden.Forward($"{name}, the last one", peer.Run(Vectors(config, values, file), last: 1), hidden.narrow(1, hidden.size(1) - 1, 1));
    }

    [Theory]
    [InlineData("full_length")]
    [InlineData("one_token")]
    public void Hidden_states_of_the_bert_are_the_references(string name)
    {
        string folder = Repository.Fixture("bert_a");
        using var expected = new SafetensorsFile(Repository.Fixture("bert_a", "expected.safetensors"));
        Dictionary<string, Tensor> values = Golden.Case(expected, name + "/");
        var peer = new PeerBertFpt(PeerShape.Parse(BenchBody.Sizes(HfConfig.Load(folder)), dropout: 0, ScalarType.Float32), classes: 2);
        peer.Load(folder);
        peer.eval();
        using IDisposable noGrad = no_grad();
        var states = new List<Tensor>();
        peer.Body.Run(values["in.input_ids"], states);
        Compare(name, states, values, "out.hidden_states");
    }

    private static readonly JsonObject Run = new() { ["cmd"] = "run", ["steps"] = 1 };

    private static JsonObject Done(JsonObject answer)
    {
        Assert.Null(answer["error"]);
        return answer;
    }

    private static JsonObject With(JsonObject command, params (string Key, JsonNode Value)[] more)
    {
        var made = (JsonObject)command.DeepClone();
        foreach ((string key, JsonNode value) in more) made[key] = value.DeepClone();
        return made;
    }

    private static void Compare(string name, List<Tensor> states, Dictionary<string, Tensor> values, string prefix)
    {
        Assert.Equal(values.Keys.Count(key => key.StartsWith(prefix + ".", StringComparison.Ordinal)), states.Count);
        for (int i = 0; i < states.Count; i++) Golden.Forward($"{name} {prefix}.{i}", states[i], values[$"{prefix}.{i}"]);
    }

    // What a model makes of its inputs before positions are added.
    private static Tensor Vectors(HfConfig config, Dictionary<string, Tensor> values, SafetensorsFile file)
    {
        if (values.TryGetValue("in.inputs_embeds", out Tensor? given)) return given;
        Tensor Weight(string name) => file.Read(file.Entries.Keys.Single(key => key == name || key.EndsWith("." + name, StringComparison.Ordinal)));
        if (config.ModelType == "vit")
        {
            Tensor weight = Weight("embeddings.patch_embeddings.projection.weight"), pixels = values["in.pixel_values"];
            Tensor patches = nn.functional.conv2d(pixels, weight, Weight("embeddings.patch_embeddings.projection.bias"), strides: [weight.size(2), weight.size(3)]);
            return cat([Weight("embeddings.cls_token").expand(pixels.size(0), 1, -1), patches.flatten(2).transpose(1, 2)], 1);
        }
        string table = config.ModelType switch { "longformer" => "word_embeddings.weight", "qwen2" => "embed_tokens.weight", _ => "shared.weight" };
        double scale = config.Flag("scale_embedding", false) ? Math.Sqrt(config.Int("d_model", 1)) : 1;
        return Weight(table)[TensorIndex.Tensor(values["in.input_ids"])] * scale;
    }
}
