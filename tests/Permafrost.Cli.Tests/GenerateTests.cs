using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>`generate` on small bodies of drawn weights, which write nonsense, but always the same.</summary>
public sealed class GenerateTests : IDisposable
{
    private readonly Scratch scratch = new();

    public void Dispose() => scratch.Dispose();

    private string Body(string family) => SmallBody.Write(scratch[family], family, withWeights: true);

    [Theory]
    [InlineData("gpt2")]
    [InlineData("bart")]
    [InlineData("t5")]
    [InlineData("llama")]
    [InlineData("qwen2")]
    public void A_prompt_and_a_line_of_a_file_are_gone_on_with_alike(string family)
    {
        string body = Body(family);
        JsonObject one = Cli.Run("generate", "--backbone", body, "--prompt", "the film is", "--max-new-tokens", "7", "--json").Succeeded().Json;
        Assert.Equal("the film is", (string?)one["prompt"]);
        Assert.InRange(one["ids"]!.AsArray().Count, 1, 7);
        // BART's last token is made to be an end, which ends no text by itself.
        Assert.Equal((bool)one["ended"]!, one["ids"]!.AsArray().Count < 7 || (family != "bart" && (int)one["ids"]!.AsArray()[^1]! is 1 or 2 or 256));
        string prompts = scratch.Write("prompts.txt", "a story of music\nthe film is\n");
        CliResult all = Cli.Run("generate", "--backbone", body, "--input", prompts, "--max-new-tokens", "7", "--json").Succeeded();
        Assert.Equal(2, all.Lines.Length);
        Assert.Equal(one.ToJsonString(), JsonNode.Parse(all.Lines.Last())!.ToJsonString());
        // The same ids as by the tensors' road.
        if (family == "gpt2") Assert.Equal(((string?)one["text"])!.Replace("\\", "\\\\").Replace("\n", "\\n").Replace("\r", "\\r"), Cli.Run("generate", "--backbone", body, "--prompt", "the film is", "--max-new-tokens", "7").Succeeded().Output[..^1]);
    }

    [Fact]
    public void The_ends_of_generation_config_go_before_those_of_config()
    {
        string body = Body("gpt2");
        int[] Ids() => [.. Cli.Run("generate", "--backbone", body, "--prompt", "the film is", "--max-new-tokens", "9", "--json").Succeeded().Json["ids"]!.AsArray().Select(id => (int)id!)];
        int[] ids = Ids();
        int end = ids[1], first = Array.IndexOf(ids, end);
        string path = Path.Combine(body, "generation_config.json");
        File.WriteAllText(path, $$"""{"eos_token_id": [{{end}}, 261], "temperature": 0.7, "transformers_version": "4.40.0"}""");
        Assert.Equal(ids[..(first + 1)], Ids());
        File.WriteAllText(path, """{"eos_token_id": 999999}""");
        Cli.Run("generate", "--backbone", body, "--prompt", "a").Failed(1, "generation_config.json: \"eos_token_id\" is 999999");
        File.WriteAllText(path, "{\"eos_token_id\": ");
        Cli.Run("generate", "--backbone", body, "--prompt", "a").Failed(1, "generation_config.json is not valid JSON");
    }

    [Fact]
    public void The_first_layers_write_alone()
    {
        string body = Body("gpt2");
        Assert.NotEmpty(Cli.Run("generate", "--backbone", $"{body}:1", "--prompt", "the", "--json").Succeeded().Json["ids"]!.AsArray());
    }

    [Fact]
    public void What_is_drawn_follows_from_the_seed_and_beams_are_followed()
    {
        string body = Body("gpt2");
        string Text(params string[] more) => Cli.Run(["generate", "--backbone", body, "--prompt", "the", "--json", "--max-new-tokens", "12", .. more]).Succeeded().Json["ids"]!.ToJsonString();
        string[] hot = ["--temperature", "5", "--top-k", "100", "--top-p", "0.99", "--seed"];
        Assert.Equal(Text([.. hot, "1"]), Text([.. hot, "1"]));
        Assert.NotEqual(Text([.. hot, "1"]), Text([.. hot, "2"]));
        Assert.Equal(Text(), Text("--seed", "9"));
        Assert.Equal(Text(), Text("--top-k", "1"));
        Assert.NotEmpty(Text("--num-beams", "3"));
        CliResult lines = Cli.Run(new CliSettings { Input = "\"a\\nb\"\n{\"text\": \"c\"}\n" }, "generate", "--backbone", body, "--input", "-", "--json-lines", "--max-new-tokens", "2", "--json");
        Assert.Equal(["a\nb", "c"], lines.Succeeded().Lines.Select(line => (string?)JsonNode.Parse(line)!["prompt"]));
    }

    [Fact]
    public void What_cannot_write_says_so()
    {
        string body = Body("gpt2"), encoder = SmallBody.Write(scratch["roberta"], "roberta", withWeights: true), big = SmallBody.Write(scratch["big"], "gpt2", rows: 200, withWeights: true);
        CliResult Generate(string reference, params string[] more) => Cli.Run(["generate", "--backbone", reference, .. more]);
        Generate(encoder, "--prompt", "a").Failed(1, "roberta is an encoder, which reads texts and cannot generate any");
        Generate(big, "--prompt", "a").Failed(1, "the tokenizer has 262 tokens and the token table 200 rows");
        Generate("gpt2", "--prompt", "a").Failed(2, "has no weights and no tokenizer", "`permafrost data fetch gpt2` fetches it");
        Generate(body, "--prompt", "a", "--max-new-tokens", "x").Failed(2, "--max-new-tokens: 'x' is no whole number");
        Generate(body, "--prompt", "a", "--temperature", "inf").Failed(2, "--temperature: 'inf' is no number");
        Generate(body).Failed(2, "give either --prompt or --input");
        Generate(body, "--prompt", "a", "--input", "-").Failed(2, "give either --prompt or --input");
        Generate(body, "--prompt", "a", "--max-new-tokens", "0").Failed(2, "--max-new-tokens is 0");
        Generate(body, "--prompt", "a", "--max-new-tokens", "80").Failed(1, "do not fit the backbone's 64 positions");
        Generate(body, "--prompt", "a", "--top-p", "2").Failed(2, "--top-p is 2");
        Generate(body, "--prompt", "a", "--num-beams", "2", "--top-k", "3").Failed(2, "leave out either");
        string path = scratch.Write("long.txt", "a\n" + new string('x', 100) + "\n");
        CliResult cut = Generate(body, "--input", path, "--max-new-tokens", "3");
        cut.Failed(1, $"{path}:2: 100 tokens and 3 new ones do not fit");
        Assert.Single(cut.Lines);
        foreach (string file in new[] { "vocab.json", "merges.txt" }) File.Delete(Path.Combine(body, file));
        Generate(body, "--prompt", "a").Failed(1, "has no tokenizer, and texts are generated in its tokens; tokenizer.json, vocab.txt, vocab.json and merges.txt");
    }
}
