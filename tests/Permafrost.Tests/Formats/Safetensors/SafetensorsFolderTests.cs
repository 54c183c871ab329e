using Permafrost.Formats.PyTorchPickle;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Tests.Formats.Safetensors;

/// <summary>A model's weights in one file or in shards.</summary>
public class SafetensorsFolderTests : IDisposable
{
    private const string Index = "model.safetensors.index.json";
    private const string Single = "model.safetensors";

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void One_file_is_read()
    {
        Shard(Single, ("a", 1));
        using var weights = new SafetensorsFolder(folder.Path);
        Assert.Equal(["a"], weights.Names);
        Assert.Equal(1, weights.Read("a").Number());
        Assert.Equal("F32[1]", weights.Entry("a").ToString());
    }

    [Fact]
    public void Shards_are_found_through_the_index()
    {
        Shard("model-00001-of-00002.safetensors", ("a", 1), ("b", 2));
        Shard("model-00002-of-00002.safetensors", ("c", 3));
        folder.Write(Index, """{"metadata": {"total_size": 12}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}}""");
        using var weights = new SafetensorsFolder(folder.Path);
        Assert.Equal(["a", "b", "c"], weights.Names.Order(StringComparer.Ordinal));
        Assert.Equal([1.0, 2, 3], new[] { "a", "b", "c" }.Select(name => weights.Read(name).Number()));
        Assert.Contains("it has a, b, c", Refusal.Of(folder.Path, () => weights.Read("d")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_weights_says_which_files_it_wants()
    {
        string message = Refusal.Of(folder.Path, () => new SafetensorsFolder(folder.Path));
        Assert.Contains(Single, message, StringComparison.Ordinal);
        Assert.Contains("pytorch_model.bin", message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_adapter_beside_a_config_is_called_that()
    {
        folder.Write("config.json", """{"model_type": "gpt2"}""");
        folder.Write("adapter_config.json", """{"peft_type": "LORA"}""");
        Refusal.Of("holds a PEFT adapter (adapter_config.json), not a model's weights", () => new SafetensorsFolder(folder.Path));
    }

    [Theory]
    [InlineData("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer")]
    [InlineData("<html></html>", "web page")]
    public void What_stands_in_an_indexs_place_is_called_that(string content, string mention)
    {
        folder.Write(Index, content);
        Refusal.Of(mention, () => new SafetensorsFolder(folder.Path));
    }

    [Theory]
    [InlineData("<?xml version=\"1.0\"?><Error/>")]
    [InlineData("<!-- moved -->")]
    [InlineData("{\"error\": \"Invalid credentials\"}")]
    [InlineData("Entry not found")]
    public void Text_in_the_place_of_weights_is_called_that(string content)
    {
        Refusal.Of("model.safetensors is text under a weight file's name", () => new SafetensorsFile(folder.Write(Single, content)));
        Refusal.Of("model.bin is text under a weight file's name", () => new PyTorchFile(folder.Write("model.bin", content)));
    }

    [Theory]
    [InlineData("../outside.safetensors")]
    [InlineData("../../etc/passwd")]
    [InlineData("/etc/passwd")]
    [InlineData("sub/shard.safetensors")]
    [InlineData("")]
    [InlineData("..")]
    [InlineData(".")]
    [InlineData("a\\u0000b")]
    [InlineData("a\\nb")]
    public void An_index_does_not_reach_out_of_its_folder(string shard)
    {
        SafetensorsWriter.Write(folder["outside.safetensors"], [KeyValuePair.Create("a", Tensors.From([1f]))]);
        Directory.CreateDirectory(folder["model", "sub"]);
        File.Copy(folder["outside.safetensors"], folder["model", "sub", "shard.safetensors"]);
        folder.Write(Path.Combine("model", Index), $$$"""{"weight_map": {"a": "{{{shard}}}"}}""");
        Refusal.Of(folder["model"], () => new SafetensorsFolder(folder["model"]));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("5")]
    [InlineData("{}")]
    [InlineData("{\"weight_map\": []}")]
    [InlineData("{\"weight_map\": null}")]
    [InlineData("{\"weight_map\": {\"a\": 5}}")]
    [InlineData("{\"weight_map\": {\"a\": null}}")]
    [InlineData("{\"weight_map\": {\"a\": [\"shard\"]}}")]
    [InlineData("{\"weight_map\": {\"a\": \"\\ud800\"}}")]
    [InlineData("{\"weight_map\": {\"\\ud800\": \"shard\"}}")]
    public void A_malformed_index_is_refused(string content)
    {
        folder.Write(Index, content);
        Refusal.Of(folder[Index], () => new SafetensorsFolder(folder.Path));
    }

    [Fact]
    public void A_missing_shard_and_a_shard_without_the_tensor_are_told()
    {
        folder.Write(Index, """{"weight_map": {"a": "shard.safetensors"}}""");
        Assert.Contains("does not exist", Refusal.Of(folder["shard.safetensors"], () => new SafetensorsFolder(folder.Path)), StringComparison.Ordinal);
        Shard("shard.safetensors", ("b", 1));
        Assert.Contains("no tensor 'a'", Refusal.Of(folder["shard.safetensors"], () => new SafetensorsFolder(folder.Path)), StringComparison.Ordinal);
        folder.Write("shard.safetensors", "broken");
        Refusal.Of(folder["shard.safetensors"], () => new SafetensorsFolder(folder.Path));
    }

    private void Shard(string name, params (string Name, float Value)[] tensors) =>
        SafetensorsWriter.Write(folder[name], tensors.Select(one => KeyValuePair.Create(one.Name, Tensors.From([one.Value]))));
}
