using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Pretraining.Objectives;
using Permafrost.Tokenizers;

namespace Permafrost.Pretraining;

/// <summary>How a family's configuration calls its sizes.</summary>
/// <param name="ModelType">Hugging Face's name.</param>
/// <param name="Class">Its class with a language-model head.</param>
/// <param name="Default">The preset that is taken where none is named.</param>
/// <param name="Layers">Keys of the number of layers.</param>
/// <param name="Width">Key of the width.</param>
/// <param name="Heads">Key of the number of heads.</param>
/// <param name="Inner">Key of the feed-forward width, four times the width where it is written; null for none.</param>
/// <param name="Positions">Key of the longest sequence; null where there is no bound.</param>
public sealed record PretrainingFamily(string ModelType, string Class, string Default, string[] Layers, string Width, string Heads, string? Inner, string? Positions);

/// <summary>Makes the configuration of a model that is to be pretrained, and finds the special tokens that it needs.</summary>
public static class PretrainingConfig
{
    /// <summary>The families that can be pretrained.</summary>
    public static IReadOnlyList<PretrainingFamily> Families { get; } =
    [
        new("gpt2", "GPT2LMHeadModel", "gpt2-mini", ["n_layer"], "n_embd", "n_head", null, "n_positions"),
        new("bert", "BertForMaskedLM", "bert-mini", ["num_hidden_layers"], "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings"),
        new("t5", "T5ForConditionalGeneration", "t5-mini", ["num_layers", "num_decoder_layers"], "d_model", "num_heads", "d_ff", null),
        new("conv-seq2seq", "ConvSeq2SeqForConditionalGeneration", "conv-seq2seq-mini", ["num_layers", "num_decoder_layers"], "d_model", "num_heads", "d_ff", null),
    ];

    /// <summary>The configuration.</summary>
    /// <exception cref="UsageException">The preset does not exist, or is another family's.</exception>
    /// <exception cref="PermafrostException">The sizes do not go together.</exception>
    public static HfConfig Create(PretrainingOptions options, Tokenizer tokenizer)
    {
        PretrainingFamily family = Families.First(one => one.ModelType == options.Architecture);
        string name = options.Preset ?? family.Default;
        Preset preset = ModelRegistry.Presets.FirstOrDefault(one => one.Name == name)
            ?? throw new UsageException($"`preset` {name} does not exist; `permafrost ls backbones` lists them");
        if (preset.Config.ModelType != family.ModelType)
            throw new UsageException($"`preset` {name} is a {preset.Config.ModelType}, not a {family.ModelType}; give one of `architecture` {family.ModelType}");
        var json = (JsonObject)JsonNode.Parse(preset.Json)!;
        json["architectures"] = new JsonArray(family.Class);
        if (options.Layers is { } layers) foreach (string key in family.Layers) json[key] = layers;
        if (options.Width is { } width)
        {
            json[family.Width] = width;
            if (family.Inner is not null) json[family.Inner] = 4 * width;
        }
        if (options.Heads is { } heads) json[family.Heads] = heads;
        if (family.ModelType is "t5" or "conv-seq2seq" && (options.Width ?? options.Heads) is not null)
            json["d_kv"] = json[family.Width]!.GetValue<int>() / json[family.Heads]!.GetValue<int>();
        json["vocab_size"] = tokenizer.VocabularySize;
        if (family.Positions is not null) json[family.Positions] = options.Context;
        ObjectiveTokens tokens = Tokens(options, tokenizer);
        foreach ((string key, long id) in family.ModelType switch
        {
            "gpt2" => new (string, long)[] { ("bos_token_id", tokens.Separator), ("eos_token_id", tokens.Separator) },
            "t5" or "conv-seq2seq" => [("pad_token_id", tokens.Padding), ("eos_token_id", tokens.Separator), ("decoder_start_token_id", tokens.Padding)],
            _ => [("pad_token_id", tokens.Padding)],
        }) json[key] = (int)id;
        return new HfConfig(json, $"preset {name}");
    }

    /// <summary>The special tokens of a vocabulary, by the names that the families give them.</summary>
    /// <exception cref="PermafrostException">The vocabulary has no token that separates documents.</exception>
    public static ObjectiveTokens Tokens(PretrainingOptions options, Tokenizer tokenizer)
    {
        var ids = new Dictionary<string, long>(StringComparer.Ordinal);
        for (int id = 0; id < tokenizer.VocabularySize; id++) ids.TryAdd(tokenizer.Token(id), id);
        long? Id(params string[] names) => names.Select(name => ids.TryGetValue(name, out long id) ? id : (long?)null).FirstOrDefault(id => id is not null);
        long separator = Id("<|endoftext|>", "</s>", "[SEP]") ?? throw new PermafrostException(
            $"{options.Tokenizer}: the vocabulary has no token that ends a text (<|endoftext|>, </s> or [SEP]), which stands between documents");
        int sentinels = 0;
        while (ids.ContainsKey(TokenizerStyle.Sentinel(sentinels))) sentinels++;
        string[] special = ["<|endoftext|>", "</s>", "<s>", "<pad>", "<unk>", "<mask>", "[SEP]", "[CLS]", "[PAD]", "[UNK]", "[MASK]"];
        return new ObjectiveTokens(tokenizer.VocabularySize, separator, Id("<pad>", "[PAD]") ?? separator, Id("[MASK]", "<mask>"),
            sentinels > 0 ? ids[TokenizerStyle.Sentinel(0)] : null, sentinels, Id("[CLS]", "<s>"), special.Where(ids.ContainsKey).Select(name => ids[name]).ToHashSet());
    }

    /// <summary>The objective.</summary>
    /// <exception cref="PermafrostException">The vocabulary lacks a token that it needs.</exception>
    public static Objective Objective(PretrainingOptions options, ObjectiveTokens tokens) => options.ObjectiveName switch
    {
        "causal" => new CausalObjective(options.Context, tokens),
        "masked" => new MaskedObjective(options.Context, tokens),
        "span-corruption" => new SpanCorruption(options.Context, tokens),
        _ => new SpanCorruption(options.Context, tokens, sentinels: false),
    };
}
