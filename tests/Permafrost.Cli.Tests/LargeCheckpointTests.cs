using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Models;

namespace Permafrost.Cli.Tests;

/// <summary>What opening a large checkpoint takes, in a process of its own: memory next to the file's size, and time when its hash is known.</summary>
public sealed class LargeCheckpointTests(ITestOutputHelper output) : IDisposable
{
    private const string Gpt2Xl = """{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 48, "n_embd": 1600, "n_head": 25, "n_positions": 1024, "vocab_size": 50257}""";

    private readonly Scratch scratch = new();

    public void Dispose() => scratch.Dispose();

    [Theory]
    [Trait("tier", "slow")]
    [InlineData("safetensors")]
    [InlineData("pytorch")]
    public void GPT_2_XL_takes_little_more_memory_than_its_weights(string format)
    {
        long bytes = Write(Gpt2Xl, format, shards: 4);
        Assert.InRange(bytes, 6_000_000_000, 6_400_000_000);
        foreach ((string type, double most) in new[] { ("float32", 1.15), ("bfloat16", 0.6) })
        {
            JsonNode opened = Open(type);
            double share = (double)opened["peak_bytes"]! / bytes;
            output.WriteLine(FormattableString.Invariant($"{format}, {type}: peak {share:F3} of {bytes / 1e9:F2} GB, {(double)opened["seconds"]!:F1} s"));
            Assert.True(share < most, $"{format} in {type}: {share:F3} of the file's size, more than {most}");
        }
    }

    [Theory]
    [Trait("tier", "slow")]
    [InlineData("safetensors")]
    [InlineData("pytorch")]
    public void A_checkpoint_of_500_MB_opens_at_once_the_second_time(string format)
    {
        // GPT-2 itself: 498 MB in float32.
        long bytes = Write(Gpt2Xl.Replace("48", "12", StringComparison.Ordinal).Replace("1600", "768", StringComparison.Ordinal).Replace("25,", "12,", StringComparison.Ordinal), format, shards: 1);
        Assert.InRange(bytes, 490_000_000, 510_000_000);
        JsonNode first = Open(null);
        // The best of a few: the machine may be busy with something else.
        JsonNode second = Enumerable.Range(0, 5).Select(_ => Open(null)).MinBy(opened => (double)opened["seconds"]!)!;
        Assert.Equal((string?)first["sha256"], (string?)second["sha256"]);
        JsonNode body = Open("float32"), packed = Open("bfloat16");
        output.WriteLine(FormattableString.Invariant(
            $"{format}: first {(double)first["seconds"]!:F2} s, second {(double)second["seconds"]!:F3} s; a body in float32 {(double)body["seconds"]!:F2} s, in bfloat16 {(double)packed["seconds"]!:F2} s"));
        Assert.True((double)second["seconds"]! < 0.5, $"the second time took {second["seconds"]} s");
        // Written to, it is another checkpoint.
        string file = Directory.GetFiles(scratch["body"]).Single(path => path.EndsWith(format == "pytorch" ? ".bin" : ".safetensors", StringComparison.Ordinal));
        using (FileStream stream = File.OpenWrite(file))
        {
            stream.Position = bytes / 2;
            stream.Write([1, 2, 3, 4]);
        }
        Assert.NotEqual((string?)first["sha256"], (string?)Open(null)["sha256"]);
    }

    [Theory]
    [InlineData("safetensors")]
    [InlineData("pytorch")]
    public async Task A_model_that_writes_takes_little_more_memory_than_its_weights(string format)
    {
        // The same model of two widths: what it takes besides its weights is about the same.
        string tokenizer = SmallBody.Write(scratch["small"], "gpt2", withWeights: true);
        string json = Gpt2Xl.Replace("48", "7", StringComparison.Ordinal).Replace("1600", "768", StringComparison.Ordinal).Replace("25,", "12,", StringComparison.Ordinal).Replace("50257", "264", StringComparison.Ordinal);
        long bytes = Write(json, format, shards: 1);
        Assert.InRange(bytes, 195_000_000, 210_000_000);
        foreach (string file in new[] { "vocab.json", "merges.txt" }) File.Copy(Path.Combine(tokenizer, file), Path.Combine(scratch["body"], file));
        long small = await PeakOfWriting(tokenizer), large = await PeakOfWriting(scratch["body"]);
        double share = (double)(large - small) / bytes;
        output.WriteLine(FormattableString.Invariant($"{format}: {share:F3} of {bytes / 1e6:F0} MB"));
        Assert.True(share < 1.3, $"{share:F3} of the file's size");
    }

    private static async Task<long> PeakOfWriting(string body)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(CliSettings.Patience);
        using CliProcess process = Cli.Start(new CliSettings { Interactive = true }, "generate", "--backbone", body, "--input", "-", "--max-new-tokens", "1");
        await process.WriteLine("the");
        Assert.NotNull(await process.ReadLine(patience.Token));
        long peak = process.PeakMemory;
        process.CloseInput();
        return peak;
    }

    private JsonNode Open(string? type)
    {
        // Newer files' hashes are not remembered.
        foreach (string file in Directory.GetFiles(scratch["body"]).Where(file => DateTime.UtcNow - File.GetLastWriteTimeUtc(file) < TimeSpan.FromSeconds(5))) File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddSeconds(-30));
        // The first question loads libtorch, which is no part of opening a checkpoint.
        var command = new JsonObject { ["cmd"] = "open", ["folder"] = scratch["body"], ["frozen_dtype"] = type };
        var settings = new CliSettings { Input = "{\"cmd\":\"hello\"}\n" + command.ToJsonString() + "\n", Environment = new Dictionary<string, string?> { ["PERMAFROST_HOME"] = scratch["home"], ["OMP_NUM_THREADS"] = null } };
        JsonNode answer = JsonNode.Parse(Cli.Run(settings, "bench", "--worker").Succeeded().Lines[1])!;
        Assert.Null(answer["error"]);
        return answer;
    }

    // Weights that differ from each other, written piece by piece.
    private long Write(string json, string format, int shards)
    {
        string folder = scratch["body"];
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), json);
        (string Name, long[] Shape)[] tensors;
        using (Backbone shape = ModelRegistry.Find(HfConfig.Load(folder)).Backbone(HfConfig.Load(folder))) tensors = [.. shape.NamedParameters().Select(p => (p.Name, p.Parameter.Shape))];
        string stem = format == "pytorch" ? "pytorch_model" : "model", ending = format == "pytorch" ? "bin" : "safetensors";
        var map = new JsonObject();
        long total = 0;
        for (int shard = 0; shard < shards; shard++)
        {
            (string Name, long[] Shape)[] some = [.. tensors.Where((_, i) => i * shards / tensors.Length == shard)];
            string name = shards == 1 ? $"{stem}.{ending}" : $"{stem}-{shard + 1:00000}-of-{shards:00000}.{ending}";
            foreach ((string tensor, _) in some) map[tensor] = name;
            using FileStream stream = File.Create(Path.Combine(folder, name));
            if (format == "pytorch") TorchFile.Write(stream, some, Fill);
            else WriteSafetensors(stream, some);
            total += stream.Length;
        }
        if (shards > 1) File.WriteAllText(Path.Combine(folder, $"{stem}.{ending}.index.json"), new JsonObject { ["weight_map"] = map }.ToJsonString());
        return total;
    }

    private static void WriteSafetensors(FileStream stream, (string Name, long[] Shape)[] tensors)
    {
        long at = 0;
        var header = new JsonObject();
        foreach ((string name, long[] shape) in tensors)
        {
            long bytes = shape.Aggregate(4L, (product, size) => product * size);
            header[name] = new JsonObject { ["dtype"] = "F32", ["shape"] = new JsonArray([.. shape.Select(size => (JsonNode)size)]), ["data_offsets"] = new JsonArray(at, at += bytes) };
        }
        byte[] json = Encoding.UTF8.GetBytes(header.ToJsonString());
        json = [.. json, .. Enumerable.Repeat((byte)' ', (8 - json.Length % 8) % 8)];
        stream.Write(BitConverter.GetBytes((long)json.Length));
        stream.Write(json);
        foreach ((_, long[] shape) in tensors) Fill(stream, shape.Aggregate(4L, (product, size) => product * size));
    }

    private static void Fill(Stream stream, long bytes)
    {
        var piece = new float[1 << 18];
        var random = new Random((int)(bytes % 1000));
        for (int i = 0; i < piece.Length; i++) piece[i] = 0.02f * (random.NextSingle() - 0.5f);
        for (long at = 0; at < bytes; at += piece.Length * sizeof(float)) stream.Write(MemoryMarshal.AsBytes(piece.AsSpan())[..(int)Math.Min(piece.Length * sizeof(float), bytes - at)]);
    }
}
