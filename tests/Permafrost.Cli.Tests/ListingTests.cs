using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>`ls`, `show` and `env`: what there is.</summary>
public class ListingTests
{
    [Theory]
    [InlineData("backbones", "backbone", "gpt2-tiny", "gpt2-mini", "gpt2", "gpt2-xl")]
    [InlineData("tasks", "task", "bit-xor", "mnist", "mnist@paper", "tensors")]
    [InlineData("policies", "policy", "fpt", "output", "*")]
    [InlineData("inits", "init", "pretrained", "random", "random-gpt2-2021", "statistics", "shuffled")]
    public void Ls_names_everything_once_with_a_summary(string what, string column, params string[] names)
    {
        JsonArray rows = JsonNode.Parse(InProcess.Run("ls", what, "--json").Succeeded().Output)!.AsArray();
        string?[] listed = [.. rows.Select(row => (string?)row![column])];
        foreach (string name in names) Assert.Single(listed, name);
        Assert.All(rows, row => Assert.False(string.IsNullOrWhiteSpace((string?)row!["summary"])));
        string table = Cli.Run("ls", what).Succeeded().Output;
        Assert.All(listed, name => Assert.Contains(name!, table, StringComparison.Ordinal));
        Assert.DoesNotContain('\x1b', table);
        Assert.All(table.Split('\n'), line => Assert.True(line.Length <= 120, line));
    }

    [Fact]
    public void Every_task_is_shown_in_full()
    {
        foreach (JsonNode? row in JsonNode.Parse(InProcess.Run("ls", "tasks", "--json").Succeeded().Output)!.AsArray())
        {
            string name = (string)row!["task"]!;
            string shown = InProcess.Run("show", "task", name).Succeeded().Output;
            foreach (string part in new[] { $"{name}, version ", "Input", "Output", "Splits", "Predict" }) Assert.Contains(part, shown, StringComparison.Ordinal);
            JsonObject json = InProcess.Run("show", "task", name, "--json").Succeeded().Json;
            Assert.Equal(name, (string?)json["task"]);
            Assert.True((int)json["version"]! >= 1);
            foreach (string key in new[] { "summary", "description", "input_format" }) Assert.False(string.IsNullOrWhiteSpace((string?)json[key]), $"{name}: {key}");
        }
    }

    [Fact]
    public void A_preset_is_shown_with_its_groups()
    {
        JsonObject json = InProcess.Run("show", "backbone", "gpt2-tiny", "--json").Succeeded().Json;
        Assert.Equal(("gpt2", 128, 2, 1024), ((string?)json["model_type"], (int)json["width"]!, (int)json["layers"]!, (int)json["positions"]!));
        // Two layers: attention 128x384 + 384 + 128x128 + 128, feed-forward 128x512 + 512 + 512x128 + 128, two norms of 2x128 and a last one.
        JsonObject groups = json["groups"]!.AsObject();
        Assert.Equal(
            new Dictionary<string, long> { ["attn"] = 2 * (128 * 384 + 384 + 128 * 128 + 128), ["embed"] = 50257 * 128, ["ff"] = 2 * (2 * 128 * 512 + 512 + 128), ["ln"] = 5 * 2 * 128, ["pos"] = 1024 * 128 },
            groups.ToDictionary(pair => pair.Key, pair => (long)pair.Value!));
        Assert.Equal(groups.Sum(pair => (long)pair.Value!), (long)json["parameters"]!);
        Assert.Null(json["folder"]);
        string shown = Cli.Run("show", "backbone", "gpt2-tiny").Succeeded().Output;
        // fpt: the norms and the positions.
        Assert.Equal((5 * 2 * 128) + (1024 * 128), (long)json["fpt"]!["trained"]!);
        Assert.Equal((1024, 50257 * 128), ((int)json["fpt"]!["position_rows"]!, (long)json["fpt"]!["unused"]!));
        foreach (string part in new[] { "gpt2-tiny: gpt2, 2 layers of 128, sequences of up to 1,024 tokens", "--init random", "attn", "131,072", "trains 132,352" }) Assert.Contains(part, shown, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_is_shown_with_its_weights()
    {
        string folder = Repository.Fixture("gpt2_a");
        JsonObject json = InProcess.Run("show", "backbone", folder, "--json").Succeeded().Json;
        Assert.Equal((folder, "GPT2LMHeadModel", 36, 2, 26), ((string?)json["folder"], (string?)json["architecture"], (int)json["width"]!, (int)json["layers"]!, (int)json["positions"]!));
        Assert.Equal("F32", (string?)Assert.Single(json["stored_types"]!.AsArray()));
    }

    [Fact]
    public void Models_of_the_Hugging_Face_cache_are_found_by_name()
    {
        using var scratch = new Scratch();
        string snapshot = scratch["models--lab--small", "snapshots", "0123abcd"];
        Directory.CreateDirectory(snapshot);
        Directory.CreateDirectory(scratch["models--lab--small", "refs"]);
        File.WriteAllText(scratch["models--lab--small", "refs", "main"], "0123abcd");
        foreach (string name in new[] { "config.json", "model.safetensors" }) File.CreateSymbolicLink(Path.Combine(snapshot, name), Repository.Fixture("gpt2_a", name));
        var cache = new CliSettings { Environment = new Dictionary<string, string?> { ["HF_HUB_CACHE"] = scratch.Path } };
        Assert.Contains("lab/small", Cli.Run(cache, "ls", "backbones").Succeeded().Output, StringComparison.Ordinal);
        Assert.Equal(snapshot, (string?)Cli.Run(cache, "show", "backbone", "lab/small", "--json").Succeeded().Json["folder"]);
        Assert.Contains("attn", Cli.Run(cache, "finetune", "--task", "bit-xor", "--backbone", "lab/small", "--dry-run").Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Baselines_measures_trivial_rules()
    {
        JsonObject json = InProcess.Run("baselines", "bit-xor", "--json").Succeeded().Json;
        Assert.Equal("bit-xor", (string?)json["task"]);
        Assert.Equal(["linear", "majority"], json["baselines"]!["trivial"]!.AsObject().Select(baseline => baseline.Key).Order(StringComparer.Ordinal));
        Assert.All(json["baselines"]!["trivial"]!.AsObject(), baseline => Assert.InRange((double)baseline.Value!, 0.45, 0.55));
        InProcess.Run("baselines", "bit-xro").Refused(2, "bit-xro", "bit-xor");
        InProcess.Run("baselines", "bit-xor", "--set", "length=3").Refused(2, "--set", "task_options");
        InProcess.Run("baselines", "bit-xor", "--set", "task_options.size=3").Refused(2, "task_options.size", "length");
    }

    [Fact]
    public void Env_tells_what_a_bug_report_needs()
    {
        var settings = new CliSettings { Environment = new Dictionary<string, string?> { ["OMP_NUM_THREADS"] = "1" } };
        JsonObject json = Cli.Run(settings, "env", "--json").Succeeded().Json;
        foreach (string key in new[] { "permafrost", "dotnet", "os", "architecture", "libtorch", "torchsharp", "kernels", "kernels_library", "kernels_available", "cpu", "cpu_features" }) Assert.False(string.IsNullOrWhiteSpace((string?)json[key]), key);
        Assert.Equal(1, (int)json["threads"]!);
        Assert.True((int)json["cores"]! >= 1 && (long)json["memory_bytes"]! > 1 << 20 && (int)json["cuda_devices"]! >= 0);
        Assert.Equal("1", (string?)json["variables"]!["OMP_NUM_THREADS"]);
        string plain = Cli.Run(settings, "env").Succeeded().Output;
        Assert.Contains($"libtorch         {json["libtorch"]}\n", plain, StringComparison.Ordinal);
    }
}
