using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Models;

namespace Permafrost.Tests.Formats;

/// <summary>config.json: values by key, and clear words about anything that is not one.</summary>
public class HfConfigTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose()
    {
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Reads_keys_and_falls_back_to_defaults()
    {
        HfConfig config = Load("""{"model_type": "gpt2", "architectures": ["A", "B"], "n": 3, "x": 1e-5, "flag": true, "nothing": null, "whole": 2}""");
        Assert.Equal(("gpt2", "A"), (config.ModelType, config.Architecture));
        Assert.Equal((3, 7, 7), (config.Int("n", 7), config.Int("missing", 7), config.Int("nothing", 7)));
        Assert.Equal((3, null, null), (config.OptionalInt("n"), config.OptionalInt("missing"), config.OptionalInt("nothing")));
        Assert.Equal((1e-5, 0.5, 2), (config.Number("x", 0.5), config.Number("missing", 0.5), config.Number("whole", 0.5)));
        Assert.Equal((true, false), (config.Flag("flag", false), config.Flag("missing", false)));
        Assert.Equal(("gpt2", "z"), (config.Text("model_type", null), config.Text("missing", "z")));
        Assert.Equal(folder["config.json"], config.Source);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(File.ReadAllText(folder["config.json"])), JsonNode.Parse(config.ToJson())));
    }

    [Fact]
    public void Reads_objects_and_lists_and_tells_null_from_missing()
    {
        HfConfig config = Load("""{"model_type": "llama", "rope": {"factor": "x", "n": 2}, "types": ["a", "b"], "mixed": ["a", 1], "nothing": null}""");
        Assert.Equal((true, false), (config.Holds("nothing"), config.Holds("missing")));
        Assert.Equal((2, null, null), (config.Section("rope")!.Int("n", 7), config.Section("nothing"), config.Section("missing")));
        Assert.Contains("config.json, rope: \"factor\" is \"x\"", Refusal.Of("rope", () => config.Section("rope")!.Number("factor", 1)), StringComparison.Ordinal);
        Assert.Equal(["a", "b"], config.Texts("types"));
        Assert.Null(config.Texts("nothing"));
        foreach (string wrong in new[] { "mixed", "rope", "model_type" }) Refusal.Of($"\"{wrong}\"", () => config.Texts(wrong));
        foreach (string wrong in new[] { "types", "model_type" }) Refusal.Of($"\"{wrong}\"", () => config.Section(wrong));
    }

    [Fact]
    public void Numbers_that_only_Python_writes_do_no_harm_where_nobody_reads_them()
    {
        HfConfig config = Load("""{"n": 3, "text": "NaN, \"Infinity\" and -Infinity", "unknown": NaN, "more": [Infinity, -Infinity], "x": NaN}""");
        Assert.Equal((3, "NaN, \"Infinity\" and -Infinity"), (config.Int("n", 7), config.Text("text", null)));
        Assert.Contains("\"x\" is \"NaN\", where a number is needed", Assert.Throws<PermafrostException>(() => config.Number("x", 1)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_without_end_is_not_read()
    {
        using (FileStream file = File.Create(folder["config.json"])) file.SetLength((16 << 20) + 1);
        Refusal.Of("config.json has more than 16 MiB", () => HfConfig.Load(folder.Path));
        Assert.SkipUnless(File.Exists("/dev/zero"), "this system has no /dev/zero");
        File.Delete(folder["config.json"]);
        File.CreateSymbolicLink(folder["config.json"], "/dev/zero");
        Refusal.Of("config.json has more than 16 MiB", () => HfConfig.Load(folder.Path));
    }

    [Fact]
    public void A_web_page_is_called_that()
    {
        folder.Write("config.json", "<!doctype html><html>Sign in</html>");
        Refusal.Of("config.json is a web page", () => HfConfig.Load(folder.Path));
    }

    [Theory]
    [InlineData("[1, \"x\"]", "[1,\"x\"], where")]
    [InlineData("999999", "999999, and the model has the tokens 0 to 99")]
    [InlineData("[7, 100]", "100, and the model has the tokens 0 to 99")]
    public void A_token_of_generation_config_that_cannot_be_is_refused_with_that_file(string value, string mention)
    {
        folder.Write("generation_config.json", $$"""{"eos_token_id": {{value}}}""");
        HfConfig config = Load("""{"model_type": "gpt2", "vocab_size": 100}""");
        Refusal.Of($"generation_config.json: \"eos_token_id\" is {mention}", () => config.WithGenerationTokens(folder.Path));
    }

    [Fact]
    public void Long_values_are_shown_by_their_beginnings()
    {
        string message = Refusal.Of("'aaaa", () => ModelRegistry.Find(Load($$"""{"model_type": "{{new string('a', 10_000)}}"}""")));
        Assert.Contains("aaa...'", message, StringComparison.Ordinal);
        Assert.InRange(message.Length, 40, 1000);
        Assert.InRange(Refusal.Of("\"n\"", () => Load($$"""{"n": "{{new string('a', 10_000)}}"}""").Int("n", 1)).Length, 40, 1000);
    }

    [Fact]
    public void A_folder_of_an_adapter_is_called_that()
    {
        folder.Write("adapter_config.json", "{}");
        Assert.Contains("holds an adapter", Assert.Throws<PermafrostException>(() => HfConfig.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("""{"architectures": []}""")]
    [InlineData("""{"architectures": null}""")]
    [InlineData("""{"architectures": "GPT2Model"}""")]
    [InlineData("""{"architectures": [1]}""")]
    public void Without_a_list_of_names_there_is_no_architecture(string json) => Assert.Null(Load(json).Architecture);

    [Theory]
    [InlineData("\"12\"")]
    [InlineData("1.5")]
    [InlineData("1e99")]
    [InlineData("0")]
    [InlineData("-3")]
    [InlineData("true")]
    [InlineData("[1]")]
    [InlineData("{\"a\": 1}")]
    [InlineData("99999999999")]
    public void What_is_no_positive_whole_number_is_refused_with_file_key_and_value(string value)
    {
        HfConfig config = Load($$"""{"n_layer": {{value}}}""");
        string message = Refusal.Of(folder["config.json"], () => config.Int("n_layer", 12));
        Assert.Contains("\"n_layer\"", message, StringComparison.Ordinal);
        Assert.Contains("a whole number of at least 1", message, StringComparison.Ordinal);
        Refusal.Of("\"n_layer\"", () => config.OptionalInt("n_layer"));
    }

    [Fact]
    public void Other_wrong_types_are_refused_too()
    {
        HfConfig config = Load("""{"x": "0.1", "huge": 1e999, "flag": 1, "word": "true", "text": 5, "list": ["a",NEWLINE"b"]}""".Replace("NEWLINE", "\n", StringComparison.Ordinal));
        Assert.Contains("where a number is needed", Refusal.Of("\"x\"", () => config.Number("x", 0)), StringComparison.Ordinal);
        Refusal.Of("\"huge\"", () => config.Number("huge", 0));
        Assert.Contains("where true or false is needed", Refusal.Of("\"flag\"", () => config.Flag("flag", false)), StringComparison.Ordinal);
        Refusal.Of("\"word\"", () => config.Flag("word", false));
        Assert.Contains("where a text is needed", Refusal.Of("\"text\"", () => config.Text("text", null)), StringComparison.Ordinal);
        Refusal.Of("\"list\"", () => config.Text("list", null));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("{\"a\": }")]
    [InlineData("{} {}")]
    [InlineData("model_type: gpt2")]
    [InlineData("[1, 2]")]
    [InlineData("\"text\"")]
    [InlineData("null")]
    public void What_is_no_JSON_object_is_refused(string content) => Refusal.Of(folder["config.json"], () => Load(content));

    [Fact]
    public void Nesting_without_end_is_refused() => Refusal.Of(folder["config.json"], () => Load(new string('[', 100_000)));

    [Fact]
    public void A_key_given_twice_does_not_crash()
    {
        // JSON leaves the meaning open; Python takes the last. Either an answer or a refusal will do.
        Exception? error = Record.Exception(() => Assert.Equal(2, Load("""{"model_type": "gpt2", "n": 1, "n": 2}""").Int("n", 7)));
        Assert.True(error is null or PermafrostException, $"{error}");
    }

    [Fact]
    public void A_text_that_is_no_Unicode_does_not_crash()
    {
        Exception? error = Record.Exception(() => Load("""{"model_type": "\ud800", "architectures": ["\udc00"]}""").ModelType);
        Assert.True(error is null or PermafrostException, $"{error}");
        error = Record.Exception(() => Load("""{"model_type": "\ud800", "architectures": ["\udc00"]}""").Architecture);
        Assert.True(error is null or PermafrostException, $"{error}");
    }

    [Fact]
    public void A_missing_file_and_a_missing_model_type_are_told()
    {
        Assert.Contains("does not exist", Refusal.Of(folder["config.json"], () => HfConfig.Load(folder.Path)), StringComparison.Ordinal);
        Assert.Contains("model_type", Refusal.Of(folder["config.json"], () => _ = Load("{}").ModelType), StringComparison.Ordinal);
    }

    private HfConfig Load(string json)
    {
        folder.Write("config.json", json);
        return HfConfig.Load(folder.Path);
    }
}
