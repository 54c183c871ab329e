using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Formats;

namespace Permafrost.Tokenizers;

/// <summary>What special tokens a trained vocabulary has, as the family of models that it is for expects them.</summary>
/// <param name="Family">Hugging Face's <c>model_type</c>.</param>
/// <param name="Class">Hugging Face's class, for <c>tokenizer_config.json</c>.</param>
/// <param name="First">Tokens with the first ids.</param>
/// <param name="Named">What they are for, such as <c>eos_token</c>.</param>
/// <param name="Before">Put before a text.</param>
/// <param name="After">Put behind a text.</param>
internal sealed record TokenizerStyle(string Family, string Class, string[] First, (string Key, string Token)[] Named, string[] Before, string[] After)
{
    /// <summary>The families.</summary>
    public static IReadOnlyList<TokenizerStyle> All { get; } =
    [
        new("gpt2", "GPT2TokenizerFast", ["<|endoftext|>"], [("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>")], [], []),
        new("bert", "PreTrainedTokenizerFast", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            [("pad_token", "[PAD]"), ("unk_token", "[UNK]"), ("cls_token", "[CLS]"), ("sep_token", "[SEP]"), ("mask_token", "[MASK]")], ["[CLS]"], ["[SEP]"]),
        // T5's own order: padding 0, end 1, unknown 2; sentinels at the top, the first one last.
        new("t5", "PreTrainedTokenizerFast", ["<pad>", "</s>", "<unk>"], [("pad_token", "<pad>"), ("eos_token", "</s>"), ("unk_token", "<unk>")], [], ["</s>"]),
    ];

    /// <summary>The style of a family.</summary>
    /// <exception cref="UsageException">There is none.</exception>
    public static TokenizerStyle Of(string family) => All.FirstOrDefault(style => style.Family == family)
        ?? throw new UsageException($"`style` '{family}' does not exist; there are {string.Join(", ", All.Select(style => style.Family))}");

    /// <summary>The name of T5's sentinel with a number.</summary>
    public static string Sentinel(int number) => FormattableString.Invariant($"<extra_id_{number}>");

    /// <summary>How many sentinels a vocabulary has at its top: T5's 100, else none.</summary>
    public int Sentinels => Family == "t5" ? 100 : 0;
}

/// <summary>Trains a byte-level byte-pair tokenizer and writes it as Hugging Face does.</summary>
public static class TokenizerTraining
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Trains a tokenizer and writes <c>tokenizer.json</c>, <c>vocab.json</c>, <c>merges.txt</c> and <c>tokenizer_config.json</c>.</summary>
    /// <param name="pieces">Lists of texts; each list is counted on all cores.</param>
    /// <param name="vocabularySize">V, with special tokens and sentinels.</param>
    /// <param name="family">The models it is for: <c>gpt2</c>, <c>bert</c> or <c>t5</c>, which differ in their special tokens.</param>
    /// <param name="folder">The folder to write to; it is made where it is not there.</param>
    /// <param name="minFrequency">A pair that is rarer is not merged.</param>
    /// <returns>The number of tokens: smaller than asked for where the texts have no more pairs.</returns>
    /// <exception cref="PermafrostException">The texts are empty, the size is too small, or the folder cannot be written.</exception>
    /// <exception cref="UsageException">There is no such family.</exception>
    public static int Train(IEnumerable<IReadOnlyList<string>> pieces, int vocabularySize, string family, string folder, int minFrequency = 2)
    {
        var style = TokenizerStyle.Of(family);
        var trainer = new BytePairTrainer();
        foreach (IReadOnlyList<string> texts in pieces) trainer.Count(texts);
        if (trainer.Words == 0) throw new PermafrostException("there is no text to train a tokenizer on");
        BytePairVocabulary vocabulary = trainer.Train(vocabularySize - style.Sentinels, style.First, minFrequency);
        string[] sentinels = [.. Enumerable.Range(0, style.Sentinels).Select(i => TokenizerStyle.Sentinel(style.Sentinels - 1 - i))];
        Write(vocabulary, sentinels, style, folder);
        return vocabulary.Tokens.Count + sentinels.Length;
    }

    private static void Write(BytePairVocabulary vocabulary, string[] sentinels, TokenizerStyle style, string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot write {folder}: {error.Message.TrimEnd('.')}");
        }
        var ids = new JsonObject();
        for (int id = 0; id < vocabulary.Tokens.Count; id++) ids[vocabulary.Tokens[id]] = id;
        var added = new JsonArray();
        void AddSpecial(string token, int id) => added.Add((JsonNode)new JsonObject
        {
            ["id"] = id,
            ["content"] = token,
            ["single_word"] = false,
            ["lstrip"] = false,
            ["rstrip"] = false,
            ["normalized"] = false,
            ["special"] = true,
        });
        for (int id = 0; id < style.First.Length; id++) AddSpecial(style.First[id], id);
        for (int i = 0; i < sentinels.Length; i++) AddSpecial(sentinels[i], vocabulary.Tokens.Count + i);
        var json = new JsonObject
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = added,
            ["normalizer"] = null,
            ["pre_tokenizer"] = ByteLevel(),
            ["post_processor"] = style.Before.Length + style.After.Length == 0 ? ByteLevel(trims: false) : Template(style),
            ["decoder"] = ByteLevel(),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["dropout"] = null,
                ["unk_token"] = null,
                ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null,
                ["fuse_unk"] = false,
                ["byte_fallback"] = false,
                ["ignore_merges"] = false,
                ["vocab"] = ids,
                ["merges"] = new JsonArray([.. vocabulary.Merges.Select(merge => (JsonNode)new JsonArray(merge.Left, merge.Right))]),
            },
        };
        var config = new JsonObject { ["tokenizer_class"] = style.Class, ["add_prefix_space"] = false, ["clean_up_tokenization_spaces"] = false };
        foreach ((string key, string token) in style.Named) config[key] = token;
        var merges = new StringBuilder("#version: 0.2\n");
        foreach ((string left, string right) in vocabulary.Merges) merges.Append(left).Append(' ').Append(right).Append('\n');
        AtomicFile.WriteText(Path.Combine(folder, BytePairFiles.MergesName), merges.ToString());
        AtomicFile.WriteText(Path.Combine(folder, BytePairFiles.Vocabulary), ids.ToJsonString(Indented) + "\n");
        AtomicFile.WriteText(Path.Combine(folder, TokenizerSettings.ConfigName), config.ToJsonString(Indented) + "\n");
        AtomicFile.WriteText(Path.Combine(folder, "tokenizer.json"), json.ToJsonString(Indented) + "\n");
    }

    private static JsonObject ByteLevel(bool trims = true) => new() { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = trims, ["use_regex"] = true };

    private static JsonObject Template(TokenizerStyle style)
    {
        JsonObject Special(string token) => new() { ["SpecialToken"] = new JsonObject { ["id"] = token, ["type_id"] = 0 } };
        JsonObject Text(string id, int type) => new() { ["Sequence"] = new JsonObject { ["id"] = id, ["type_id"] = type } };
        var tokens = new JsonObject();
        foreach (string token in style.Before.Concat(style.After).Distinct())
            tokens[token] = new JsonObject { ["id"] = token, ["ids"] = new JsonArray(Array.IndexOf(style.First, token)), ["tokens"] = new JsonArray(token) };
        IEnumerable<JsonNode> Around(params JsonNode[] middle) => [.. style.Before.Select(Special), .. middle, .. style.After.Select(Special)];
        return new JsonObject
        {
            ["type"] = "TemplateProcessing",
            ["single"] = new JsonArray([.. Around(Text("A", 0))]),
            ["pair"] = new JsonArray([.. Around(Text("A", 0)), Text("B", 1), .. style.After.Select(Special)]),
            ["special_tokens"] = tokens,
        };
    }
}
