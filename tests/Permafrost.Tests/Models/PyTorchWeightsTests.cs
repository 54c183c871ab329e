using Permafrost.Formats;
using Permafrost.Formats.PyTorchPickle;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>Checkpoints as pytorch_model.bin, whole and in shards, and the names of old ones: the same bodies as from safetensors.</summary>
public class PyTorchWeightsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose()
    {
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData("gpt2_a")]
    [InlineData("t5_a")]
    public void What_PyTorch_wrote_is_what_safetensors_hold(string fixture)
    {
        using var scope = torch.NewDisposeScope();
        string source = Repository.Fixture(fixture);
        using (var file = new PyTorchFile(Path.Combine(source, "pytorch_model.bin")))
        using (var safetensors = new SafetensorsFolder(source))
        {
            Assert.All(safetensors.Names, name => Assert.True(safetensors.Read(name).ValuesEqual(file.Read(name)), name));
            // Tied tensors stand under all their names, over one storage.
            Assert.True(file.Entries.Count > safetensors.Names.Count, $"{file.Entries.Count} tensors");
        }
        folder.Write(Path.Combine("body", "config.json"), File.ReadAllBytes(Path.Combine(source, "config.json")));
        folder.Write(Path.Combine("body", "pytorch_model.bin"), File.ReadAllBytes(Path.Combine(source, "pytorch_model.bin")));
        AssertSame(source, folder["body"]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void A_folder_of_one_file_or_of_shards_is_the_same_body(int shards)
    {
        string body = TinyGpt2.Save(folder, TinyGpt2.Json(layers: 2)), other = Path.GetDirectoryName(folder.Write(Path.Combine("bin", "config.json"), TinyGpt2.Json(layers: 2)))!;
        using (torch.NewDisposeScope()) Shard(other, TinyGpt2.Weights(HfConfig.Load(body)), shards);
        AssertSame(body, other);
        // safetensors go first where both are there.
        File.WriteAllText(Path.Combine(body, "pytorch_model.bin"), "nothing");
        AssertSame(body, other);
    }

    [Fact]
    public void A_missing_shard_and_an_index_that_reaches_out_are_refused()
    {
        string body = TinyGpt2.Configure(folder, TinyGpt2.Json());
        using (torch.NewDisposeScope()) Shard(body, TinyGpt2.Weights(HfConfig.Load(body)), 3);
        File.Delete(Path.Combine(body, "pytorch_model-00002-of-00003.bin"));
        Refusal.Of("pytorch_model-00002-of-00003.bin does not exist", () => Bodies.Load(body, "pretrained"));
        File.WriteAllText(Path.Combine(body, "pytorch_model.bin.index.json"), """{"weight_map": {"wte.weight": "../pytorch_model.bin"}}""");
        Refusal.Of("'../pytorch_model.bin'", () => Bodies.Load(body, "pretrained"));
        File.WriteAllText(Path.Combine(body, "pytorch_model.bin.index.json"), """{"weight_map": {"nothing.weight": "pytorch_model-00001-of-00003.bin"}}""");
        Refusal.Of("no tensor 'nothing.weight'", () => Bodies.Load(body, "pretrained"));
        File.WriteAllText(Path.Combine(body, "pytorch_model.bin.index.json"), "[]");
        Refusal.Of("pytorch_model.bin.index.json", () => Bodies.Load(body, "pretrained"));
    }

    [Fact]
    public void Matrices_stored_turned_round_and_tied_are_read_right()
    {
        string body = TinyGpt2.Save(folder, TinyGpt2.Json()), other = Path.GetDirectoryName(folder.Write(Path.Combine("bin", "config.json"), TinyGpt2.Json()))!;
        using (torch.NewDisposeScope())
        {
            // Each matrix as the transpose of its transpose, and the head over the token table's storage.
            TorchView[] views = [.. TinyGpt2.Weights(HfConfig.Load(body)).Select((pair, i) => pair.Value.dim() == 2
                ? TorchFile.View(pair.Key, pair.Value.t().contiguous(), $"{i}") with { Shape = pair.Value.shape, Strides = [1, pair.Value.shape[0]], IsParameter = true }
                : TorchFile.View(pair.Key, pair.Value, $"{i}"))];
            TorchView table = views.Single(view => view.Name == "wte.weight");
            File.WriteAllBytes(Path.Combine(other, "pytorch_model.bin"), TorchFile.Of([.. views, table with { Name = "lm_head.weight" }]));
        }
        AssertSame(body, other);
    }

    [Theory]
    [InlineData("bert", "bert.", """{"model_type": "bert", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 9}""")]
    [InlineData("roberta", "roberta.", """{"model_type": "roberta", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 9}""")]
    [InlineData("longformer", "longformer.", """{"model_type": "longformer", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 9, "attention_window": 4}""")]
    public void Old_names_of_norms_prefixes_and_buffers_are_understood(string family, string prefix, string json)
    {
        string old = Path.GetDirectoryName(folder.Write(Path.Combine("old", "config.json"), json))!, now = Path.GetDirectoryName(folder.Write(Path.Combine("new", "config.json"), json))!;
        using (torch.NewDisposeScope())
        {
            var weights = new Dictionary<string, Tensor>();
            foreach ((string name, Parameter parameter) in ModelRegistry.Find(HfConfig.Load(now)).Backbone(HfConfig.Load(now)).NamedParameters()) weights[name] = torch.randn(parameter.Shape);
            SafetensorsWriter.Write(Path.Combine(now, "model.safetensors"), weights);
            var renamed = weights.ToDictionary(
                pair => prefix + pair.Key.Replace("LayerNorm.weight", "LayerNorm.gamma", StringComparison.Ordinal).Replace("LayerNorm.bias", "LayerNorm.beta", StringComparison.Ordinal), pair => pair.Value);
            Assert.Contains(renamed.Keys, name => name.EndsWith("LayerNorm.gamma", StringComparison.Ordinal));
            renamed[prefix + "embeddings.position_ids"] = torch.arange(9).reshape(1, 9);
            renamed[prefix + "pooler.dense.weight"] = torch.randn(8, 8);
            renamed[family == "bert" ? "cls.predictions.bias" : "lm_head.bias"] = torch.randn(11);
            TorchFile.Write(Path.Combine(old, "pytorch_model.bin"), renamed);
        }
        AssertSame(now, old);
    }

    [Fact]
    public void What_is_no_weight_file_is_said_where_a_model_is_loaded()
    {
        string body = TinyGpt2.Configure(folder, TinyGpt2.Json());
        folder.Write(Path.Combine("body", "pytorch_model.bin"), "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n");
        Assert.Contains("git lfs pull", Refusal.Of("pytorch_model.bin", () => Bodies.Load(body, "pretrained")), StringComparison.Ordinal);
        folder.Write(Path.Combine("body", "model.safetensors"), "<!doctype html>\n<title>Sign in</title>");
        Assert.Contains("web page", Refusal.Of("model.safetensors", () => Bodies.Load(body, "pretrained")), StringComparison.Ordinal);
        File.Delete(Path.Combine(body, "config.json"));
        folder.Write(Path.Combine("body", "adapter_config.json"), "{}");
        Assert.Contains("holds an adapter", Refusal.Of(body, () => Bodies.Load(body, "pretrained")), StringComparison.Ordinal);
    }

    private static void Shard(string target, Dictionary<string, Tensor> weights, int shards)
    {
        if (shards == 1)
        {
            TorchFile.Write(Path.Combine(target, "pytorch_model.bin"), weights);
            return;
        }
        string File(int i) => $"pytorch_model-{i % shards + 1:00000}-of-{shards:00000}.bin";
        KeyValuePair<string, Tensor>[] all = [.. weights];
        for (int shard = 0; shard < shards; shard++) TorchFile.Write(Path.Combine(target, File(shard)), all.Where((_, i) => i % shards == shard).ToDictionary());
        string map = string.Join(", ", all.Select((pair, i) => $"\"{pair.Key}\": \"{File(i)}\""));
        System.IO.File.WriteAllText(Path.Combine(target, "pytorch_model.bin.index.json"), "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {" + map + "}}");
    }

    private static void AssertSame(string one, string other)
    {
        using FrozenWeights a = FrozenWeights.Load(one), b = FrozenWeights.Load(other);
        Assert.Equal(a.Sha256, b.Sha256);
        using Backbone first = a.CreateBackbone(frozenType: ScalarType.BFloat16), second = b.CreateBackbone(frozenType: ScalarType.BFloat16);
        Dictionary<string, Parameter> parameters = second.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
        foreach ((string name, Parameter parameter) in first.NamedParameters()) Assert.True(parameter.Stored.ToBytes().AsSpan().SequenceEqual(parameters[name].Stored.ToBytes()), name);
    }
}
