using System.Text;
using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>`predict` on lines of bits.</summary>
public class PredictTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    private const string Bits = "0110110001\n\n1111100000\n  0000000000  \n";

    [Fact]
    public void Answers_lines_of_standard_input_and_of_a_file_alike()
    {
        using var scratch = new Scratch();
        CliResult piped = Cli.Run(new CliSettings { Input = Bits }, "predict", run.Folder, "--input", "-").Succeeded();
        CliResult file = Cli.Run("predict", run.Folder, "--input", scratch.Write("bits.txt", Bits)).Succeeded();
        Assert.Equal(piped.Output, file.Output);
        Assert.Equal(3, piped.Lines.Length);
        for (int i = 0; i < 3; i++) Assert.Matches($@"^{i}\t[01]{{5}}\t(0|1)\.\d{{4}}( (0|1)\.\d{{4}}){{4}}$", piped.Lines[i]);
        Assert.Empty(piped.Error);
    }

    [Fact]
    public void Json_has_an_object_a_line()
    {
        CliResult result = Cli.Run(new CliSettings { Input = Bits }, "predict", run.Folder, "--input", "-", "--json").Succeeded();
        JsonObject[] lines = [.. result.Lines.Select(line => JsonNode.Parse(line)!.AsObject())];
        Assert.Equal([0, 1, 2], lines.Select(line => (int)line["index"]!));
        foreach (JsonObject line in lines)
        {
            Assert.False(line.ContainsKey("target"));
            JsonArray labels = line["label"]!.AsArray();
            JsonArray probabilities = line["probabilities"]!.AsArray();
            Assert.Equal((5, 5), (labels.Count, probabilities.Count));
            foreach ((JsonNode? label, JsonNode? row) in labels.Zip(probabilities))
            {
                double[] shares = [.. row!.AsArray().Select(p => (double)p!)];
                Assert.Equal(1, shares.Sum(), 1e-5);
                Assert.Equal((int)label!, Array.IndexOf(shares, shares.Max()));
            }
        }
    }

    [Fact]
    public void Output_writes_the_same_lines_to_a_file()
    {
        using var scratch = new Scratch();
        string bits = scratch.Write("bits.txt", Bits);
        CliResult result = Cli.Run("predict", run.Folder, "--input", bits, "--output", scratch["answers.jsonl"]).Succeeded();
        Assert.Empty(result.Output);
        Assert.Equal(Cli.Run("predict", run.Folder, "--input", bits, "--json").Succeeded().Output, File.ReadAllText(scratch["answers.jsonl"]));
        Assert.Equal(2, Scratch.Files(scratch.Path).Length);
    }

    [Fact]
    public void Batches_do_not_change_the_answers()
    {
        string input = string.Concat(Enumerable.Range(0, 70).Select(i => Convert.ToString(i * 13 % 1024, 2).PadLeft(10, '0') + "\n"));
        string one = Cli.Run(new CliSettings { Input = input }, "predict", run.Folder, "--input", "-", "--per-device-eval-batch-size", "1").Succeeded().Output;
        string many = Cli.Run(new CliSettings { Input = input }, "predict", run.Folder, "--input", "-").Succeeded().Output;
        Assert.Equal(one.Split('\n').Select(line => line.Split('\t')[..Math.Min(2, line.Split('\t').Length)]), many.Split('\n').Select(line => line.Split('\t')[..Math.Min(2, line.Split('\t').Length)]));
    }

    [Fact]
    public void Numbers_are_written_the_same_in_every_country()
    {
        var german = new Dictionary<string, string?> { ["LC_ALL"] = "de_DE.UTF-8", ["LANG"] = "de_DE.UTF-8", ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "0" };
        CliResult plain = Cli.Run(new CliSettings { Input = Bits }, "predict", run.Folder, "--input", "-");
        Assert.Equal(plain.Output, Cli.Run(new CliSettings { Input = Bits, Environment = german }, "predict", run.Folder, "--input", "-").Succeeded().Output);
    }

    [Theory]
    [InlineData("", "no input")]
    [InlineData("\n\n", "no input")]
    [InlineData("0110110001\n011011000\n", ":2: '011011000'")]
    [InlineData("0110110001\n\n01101100012\n", ":3: '01101100012'")]
    [InlineData("01101x0001\n", ":1: '01101x0001'")]
    public void Lines_that_are_not_bits_are_refused(string text, string mention)
    {
        using var scratch = new Scratch();
        string path = scratch.Write("bits.txt", text);
        InProcess.Run("predict", run.Folder, "--input", path, "--output", scratch["out.jsonl"]).Refused(1, path, mention);
        Assert.False(File.Exists(scratch["out.jsonl"]));
    }

    [Fact]
    public void A_wrong_line_of_standard_input_is_named_so()
    {
        using var scratch = new Scratch();
        Cli.Run(new CliSettings { Input = "0110110001\n0\n" }, "predict", run.Folder, "--input", "-", "--output", scratch["out.jsonl"]).Refused(1, "standard input, line 2: '0'");
        Cli.Run("predict", run.Folder, "--input", "-").Refused(1, "standard input holds no input");
        Assert.False(File.Exists(scratch["out.jsonl"]));
    }

    [Fact]
    public void Standard_input_in_UTF_16_is_read_as_a_file_in_UTF_16_is()
    {
        using var scratch = new Scratch();
        string text = scratch["utf16.txt"];
        File.WriteAllText(text, "0110110001\r\n1111100000\r\n", Encoding.Unicode);
        CliResult file = Cli.Run("predict", run.Folder, "--input", text).Succeeded();
        Assert.Equal(2, file.Lines.Length);
        string line = $"permafrost predict '{run.Folder}' --input - < '{text}'";
        Assert.Equal(file.Output, Cli.Shell(new CliSettings(), line).Succeeded().Output);
    }

    [Fact]
    public void Input_that_is_no_UTF_8_is_refused_with_its_line()
    {
        using var scratch = new Scratch();
        string path = scratch["latin1.txt"];
        File.WriteAllBytes(path, [.. "0110110001\n011011000"u8, 0xe9, (byte)'\n']);
        InProcess.Run("predict", run.Folder, "--input", path, "--output", scratch["out.jsonl"]).Refused(1, $"{path}:2: ", "UTF-8");
        Assert.False(File.Exists(scratch["out.jsonl"]));
    }
}
