using System.Text.Json.Nodes;

namespace Permafrost.Tests.Tokenizers;

/// <summary>Small tokenizers of every kind, with what Hugging Face's library and SentencePiece make of texts (pipelines.json says which).</summary>
internal static class PipelineFile
{
    private static readonly Lazy<JsonObject> Content = new(() =>
        JsonNode.Parse(File.ReadAllText(Path.Combine(Repository.Root, "tests", "Permafrost.Tests", "Tokenizers", "pipelines.json")))!.AsObject());

    /// <summary>The cases' names.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Content.Value["cases"]!.AsArray().Select(one => (string)one!["name"]!)];

    /// <summary>The SentencePiece models' names.</summary>
    public static IReadOnlyList<string> Models { get; } = [.. Content.Value["models"]!.AsObject().Select(one => one.Key)];

    /// <summary>A case's <c>tokenizer.json</c>.</summary>
    public static JsonObject Json(string name)
    {
        JsonNode one = Case(name);
        JsonObject json = Content.Value["bases"]![(string)one["base"]!]!.DeepClone().AsObject();
        foreach ((string key, JsonNode? value) in one["with"]!.AsObject()) json[key] = value?.DeepClone();
        return json;
    }

    /// <summary>A case's texts: text, ids, offsets (in characters) and the decoded text.</summary>
    public static IEnumerable<(string Text, int[] Ids, string Offsets, string Decoded)> Texts(string name) =>
        Case(name)["texts"]!.AsArray().Select(text => ((string)text!["text"]!, Numbers(text["ids"]!), (string)text["offsets"]!, (string)text["decoded"]!));

    /// <summary>A SentencePiece model's file.</summary>
    public static byte[] Model(string name) => Convert.FromBase64String((string)Content.Value["models"]![name]!["file"]!);

    /// <summary>A SentencePiece model's texts.</summary>
    public static IEnumerable<(string Text, int[] Ids, string Decoded)> ModelTexts(string name) =>
        Content.Value["models"]![name]!["texts"]!.AsArray().Select(text => ((string)text!["text"]!, Numbers(text["ids"]!), (string)text["decoded"]!));

    public static int[] Numbers(JsonNode list) => [.. list.AsArray().Select(number => (int)number!)];

    private static JsonNode Case(string name) => Content.Value["cases"]!.AsArray().Single(one => (string)one!["name"]! == name)!;
}
