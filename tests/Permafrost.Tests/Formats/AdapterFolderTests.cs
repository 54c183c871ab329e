using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Kernels;

namespace Permafrost.Tests.Formats;

/// <summary>Adapters on disk.</summary>
public class AdapterFolderTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    private string ConfigPath => folder["adapter", "adapter_config.json"];

    [Fact]
    public void What_was_written_is_read()
    {
        var tensors = new Dictionary<string, Tensor> { ["input_layer.weight"] = Tensors.From([1f, 2, 3, 4], 2, 2), ["h.0.ln_1.bias"] = Tensors.From([0.5f]) };
        AdapterFolder.Write(folder["adapter"], new JsonObject { ["task"] = "bit-xor", ["labels"] = new JsonArray("a", "b") }, tensors);

        JsonObject config = AdapterFolder.ReadConfig(folder["adapter"]);
        Assert.Equal("bit-xor", (string?)config["task"]);
        Assert.Equal(AdapterFolder.Version, (int?)config["adapter_version"]);
        IReadOnlyDictionary<string, Tensor> read = AdapterFolder.ReadTensors(folder["adapter"]);
        Assert.Equal(tensors.Keys.Order(StringComparer.Ordinal), read.Keys.Order(StringComparer.Ordinal));
        Assert.All(tensors, pair => Assert.True(pair.Value.ValuesEqual(read[pair.Key])));
        Assert.Equal(["adapter_config.json", "adapter_model.safetensors"], Directory.GetFiles(folder["adapter"]).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_newer_version_is_refused_and_says_to_update()
    {
        Config($$"""{"adapter_version": {{AdapterFolder.Version + 1}}}""");
        Assert.Contains("update", Refusal.Of(ConfigPath, () => AdapterFolder.ReadConfig(folder["adapter"])), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{\"adapter_version\": \"1\"}")]
    [InlineData("{\"adapter_version\": 1.5}")]
    [InlineData("{\"adapter_version\": 1, ")]
    public void A_damaged_configuration_is_refused(string content)
    {
        Config(content);
        Refusal.Of(ConfigPath, () => AdapterFolder.ReadConfig(folder["adapter"]));
    }

    [Fact]
    public void A_key_given_twice_does_not_crash()
    {
        Config("""{"adapter_version": 1, "adapter_version": 1}""");
        Exception? error = Record.Exception(() => AdapterFolder.ReadConfig(folder["adapter"]));
        Assert.True(error is null or PermafrostException, $"{error}");
    }

    [Fact]
    public void Missing_parts_are_told_with_their_path()
    {
        Refusal.Of(ConfigPath, () => AdapterFolder.ReadConfig(folder["adapter"]));
        Refusal.Of(folder["adapter", "adapter_model.safetensors"], () => AdapterFolder.ReadTensors(folder["adapter"]));
    }

    [Fact]
    public void A_file_in_the_place_of_the_folder_is_told()
    {
        folder.Write("taken", "");
        Refusal.Of(folder["taken"], () => AdapterFolder.Write(folder["taken"], [], new Dictionary<string, Tensor>()));
    }

    private void Config(string content) => folder.Write(Path.Combine("adapter", "adapter_config.json"), content);
}
