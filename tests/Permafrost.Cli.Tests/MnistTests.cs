using System.IO.Compression;
using System.Text.Json.Nodes;
using Permafrost.Formats.Idx;

namespace Permafrost.Cli.Tests;

/// <summary>The MNIST task on real digits, and on files that are none.</summary>
public class MnistTests
{
    [Fact]
    public void Learns_and_answers_packed_image_files()
    {
        using var scratch = new Scratch();
        string data = MnistFiles.Small(scratch, train: 1000, test: 200);
        JsonObject results = Train(scratch, data, "--max-steps", "8", "--json").Json;
        Assert.Equal(200, (long)results["metrics"]!["test"]!["count"]!);
        Assert.Equal(100, (long)results["metrics"]!["validation"]!["count"]!);
        // The most frequent digit, and a linear classifier that has seen 900 images.
        Assert.InRange((double)results["baselines"]!["trivial"]!["majority"]!, 0.05, 0.2);
        Assert.InRange((double)results["baselines"]!["trivial"]!["linear"]!, 0.5, 0.95);

        string images = Path.Combine(MnistFiles.Folder, MnistFiles.TestImages);
        CliResult predicted = Cli.Run("predict", scratch["run"], "--input", images, "--json", "--per-device-eval-batch-size", "250").Succeeded();
        JsonObject[] lines = [.. predicted.Lines.Select(line => JsonNode.Parse(line)!.AsObject())];
        Assert.Equal(Enumerable.Range(0, 10_000), lines.Select(line => (int)line["index"]!));
        foreach (JsonObject line in lines)
        {
            double[] shares = [.. line["probabilities"]!.AsArray().Select(p => (double)p!)];
            Assert.Equal(10, shares.Length);
            Assert.Equal(1, shares.Sum(), 2e-5);
            Assert.Equal((string?)line["label"], Array.IndexOf(shares, shares.Max()).ToString());
        }
        // The small test split is the beginning of that file: the run's own predictions are its first lines.
        JsonObject[] own = RunFiles.JsonLines(scratch["run", "predictions.jsonl"]);
        Assert.Equal(own.Select(line => (string?)line["label"]), lines.Take(200).Select(line => (string?)line["label"]));
        byte[] labels = IdxFile.Read(Path.Combine(MnistFiles.Folder, MnistFiles.TestLabels)).Data;
        Assert.Equal(own.Select(line => (string?)line["target"]), labels.Take(200).Select(label => label.ToString()));
    }

    [Fact]
    public void Unpacked_files_and_the_other_reading_will_do()
    {
        using var scratch = new Scratch();
        string data = MnistFiles.Small(scratch, train: 60, test: 20);
        foreach (string name in MnistFiles.All)
        {
            using (var packed = new GZipStream(File.OpenRead(Path.Combine(data, name)), CompressionMode.Decompress))
            using (FileStream plain = File.Create(Path.Combine(data, name[..^3]))) packed.CopyTo(plain);
            File.Delete(Path.Combine(data, name));
        }
        JsonObject results = Train(scratch, data, "--task", "mnist@paper", "--max-steps", "2", "--no-baselines", "--json").Json;
        Assert.Equal("mnist@paper", (string?)results["task"]);
        Assert.Equal(64, (long)results["parameters"]!["position_rows_used"]!);
        Assert.Equal(20, Cli.Run("predict", scratch["run"], "--input", Path.Combine(data, MnistFiles.TestImages[..^3])).Succeeded().Lines.Length);
    }

    [Fact]
    public void Everything_of_the_real_folder_is_read_and_found_through_PERMAFROST_DATA()
    {
        var settings = new CliSettings { Environment = new Dictionary<string, string?> { ["PERMAFROST_DATA"] = Path.GetDirectoryName(MnistFiles.Folder) } };
        JsonObject json = Cli.Run(settings, "finetune", "--task", "mnist", "--backbone", "gpt2-tiny", "--init", "random", "--num-train-epochs", "1", "--dry-run", "--json").Succeeded().Json;
        Assert.Equal((55_000 + 15) / 16, (long)json["steps"]!);
    }

    [Fact]
    public void Data_that_is_nowhere_says_how_to_get_it() =>
        Cli.Run("finetune", "--task", "mnist", "--backbone", "gpt2-tiny", "--init", "random", "--dry-run").Refused(1, "mnist", "permafrost data fetch mnist", "--data");

    [Theory]
    [InlineData(MnistFiles.TestLabels, "truncated")]
    [InlineData(MnistFiles.TrainLabels, "flipped")]
    [InlineData(MnistFiles.TestImages, "no gzip")]
    [InlineData(MnistFiles.TrainLabels, "missing")]
    [InlineData(MnistFiles.TestLabels, "other labels")]
    [InlineData(MnistFiles.TestImages, "labels for images")]
    [InlineData(MnistFiles.TestLabels, "empty")]
    [InlineData(MnistFiles.TestLabels, "a huge claim")]
    public void Damaged_files_are_refused(string name, string damage)
    {
        using var scratch = new Scratch();
        string folder = MnistFiles.Linked(scratch);
        byte[] good = File.ReadAllBytes(Path.Combine(folder, name));
        byte[] Flipped()
        {
            good[good.Length / 2] ^= 0x10;
            return good;
        }
        MnistFiles.Replace(folder, name, damage switch
        {
            "truncated" => good[..^100],
            "flipped" => Flipped(),
            "no gzip" => "<html>404</html>"u8.ToArray(),
            "other labels" => File.ReadAllBytes(Path.Combine(MnistFiles.Folder, MnistFiles.TrainLabels)),
            "labels for images" => File.ReadAllBytes(Path.Combine(MnistFiles.Folder, MnistFiles.TestLabels)),
            "empty" => [],
            "a huge claim" => Packed([0, 0, 8, 1, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]),
            _ => null,
        });
        CliResult result = InProcess.Run("finetune", "--task", "mnist", "--data", folder, "--backbone", "gpt2-tiny", "--init", "random", "--output-dir", scratch["run"]);
        result.Refused(1, folder, damage == "missing" ? name[..^3] : name);
        Assert.Empty(Scratch.Left(scratch["run"]));
    }

    [Fact]
    public void Predicting_from_something_else_is_refused()
    {
        using var scratch = new Scratch();
        Train(scratch, MnistFiles.Small(scratch, train: 40, test: 10), "--max-steps", "2", "--no-baselines");
        string labels = Path.Combine(MnistFiles.Folder, MnistFiles.TestLabels);
        InProcess.Run("predict", scratch["run"], "--input", labels).Refused(1, labels, "28x28");
        InProcess.Run("predict", scratch["run"], "--input", scratch["nothing.gz"]).Refused(1, scratch["nothing.gz"], "does not exist");
        InProcess.Run("predict", scratch["run"], "--input", scratch.Path).Refused(1, scratch.Path, "is a folder");
        string text = scratch.Write("text.idx", "what is this?");
        InProcess.Run("predict", scratch["run"], "--input", text).Refused(1, text, "IDX");
        InProcess.Run("predict", scratch["run"], "--input", "-").Refused(1, "--input -", "standard input");
    }

    private static byte[] Packed(byte[] content)
    {
        using var target = new MemoryStream();
        using (var packed = new GZipStream(target, CompressionLevel.Fastest)) packed.Write(content);
        return target.ToArray();
    }

    private static CliResult Train(Scratch scratch, string data, params string[] more) =>
        Cli.Run(["finetune", "--data", data, "--backbone", "gpt2-tiny", "--init", "random", "--dropout", "0", "--output-dir", scratch["run"], .. more.Contains("--task") ? [] : new[] { "--task", "mnist" }, .. more]).Succeeded();
}
