using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Shared;

/// <summary>Small bodies of two layers of 32, in folders of one's own, each with a tokenizer of its family: bytes for GPT-2 and its kin, letters for T5 and Llama.</summary>
public static class SmallBody
{
    /// <summary>The families.</summary>
    public static IReadOnlyList<string> Families { get; } = ["gpt2", "roberta", "bart", "t5", "llama", "qwen2"];

    /// <summary>Writes a folder, and returns its path.</summary>
    /// <param name="folder">The folder; made where it is not there.</param>
    /// <param name="family">One of <see cref="Families"/>.</param>
    /// <param name="rows">Of the token table; null for as many as go with the tokenizer.</param>
    /// <param name="withWeights">Whether weights are drawn and written; else the body is for `init` random.</param>
    public static string Write(string folder, string family, int? rows = null, bool withWeights = false)
    {
        Directory.CreateDirectory(folder);
        int tokens = family switch { "t5" => Letters(folder), "llama" => Pieces(folder), _ => Bytes(folder, family) };
        string config = Config(family, rows ?? (tokens + 7) / 8 * 8);
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        if (withWeights) WriteWeights(folder);
        return folder;
    }

    private static void WriteWeights(string folder)
    {
        using var scope = torch.NewDisposeScope();
        using PretrainedModel model = ModelRegistry.CreateWithHead(HfConfig.Load(folder));
        var tensors = new Dictionary<string, Tensor>();
        foreach ((string name, Parameter parameter) in model.NamedParameters())
        {
            if (parameter.IsBuffer) continue;
            using Generator random = Initializers.GeneratorFor(1, name);
            parameter.Initialize(random, Initializers.Normal(0.4));
            tensors[name] = parameter.Value.to(ScalarType.Float32);
        }
        SafetensorsWriter.Write(Path.Combine(folder, "model.safetensors"), tensors);
    }

    private static string Config(string family, int rows) => family switch
    {
        "gpt2" => $$"""{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": {{rows}}, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "eos_token_id": 256, "bos_token_id": 256}""",
        "roberta" => $$"""
            {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"], "vocab_size": {{rows}}, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
             "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
            """,
        "bart" => $$"""
            {"model_type": "bart", "architectures": ["BartForConditionalGeneration"], "vocab_size": {{rows}}, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64, "is_encoder_decoder": true, "decoder_start_token_id": 2,
             "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1, "forced_eos_token_id": 2}
            """,
        "t5" => $$"""
            {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "vocab_size": {{rows}}, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2,
             "is_encoder_decoder": true, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
            """,
        _ => $$"""
            {"model_type": "{{family}}", "architectures": ["{{(family == "llama" ? "LlamaForCausalLM" : "Qwen2ForCausalLM")}}"], "vocab_size": {{rows}}, "hidden_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 64, "max_position_embeddings": 64, "eos_token_id": [{{(family == "llama" ? 2 : 256)}}, {{rows - 1}}],
             "bos_token_id": {{(family == "llama" ? 1 : 256)}}}
            """,
    };

    // vocab.json and merges.txt, as all that are made of bytes have them; returns the number of tokens.
    private static int Bytes(string folder, string family)
    {
        int other = 256;
        IEnumerable<string> bytes = Enumerable.Range(0, 256).Select(b => ((char)(b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE ? b : other++)).ToString()).ToArray();
        string[] tokens = family is "roberta" or "bart" ? ["<s>", "<pad>", "</s>", "<unk>", .. bytes, "<mask>"] : [.. bytes, "<|endoftext|>"];
        string[] merged = ["Ġt", "he", "Ġthe", "Ġi", "is"];
        File.WriteAllText(Path.Combine(folder, "vocab.json"), JsonSerializer.Serialize(tokens.Concat(merged).Select((token, id) => (token, id)).ToDictionary(pair => pair.token, pair => pair.id)));
        File.WriteAllText(Path.Combine(folder, "merges.txt"), "#version: 0.2\nĠ t\nh e\nĠt he\nĠ i\ni s\n");
        return tokens.Length + merged.Length;
    }

    private static int Letters(string folder)
    {
        string[] pieces = ["<pad>", "</s>", "<unk>", "▁", .. "abcdefghijklmnopqrstuvwxyz.,".Select(c => c.ToString()), "▁the", "▁is", "zz", "qq"];
        Write(folder, pieces, """
            {"normalizer": null, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}, "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
             "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}], "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}}
            """, new JsonObject { ["type"] = "Unigram", ["unk_id"] = 2, ["vocab"] = new JsonArray([.. pieces.Select((piece, id) => new JsonArray(piece, -id / 10.0))]) });
        return pieces.Length;
    }

    private static int Pieces(string folder)
    {
        string[] pieces = ["<unk>", "<s>", "</s>", .. Enumerable.Range(0, 256).Select(b => $"<0x{b:X2}>"), "▁", .. "abcdefghijklmnopqrstuvwxyz".Select(c => c.ToString()), "▁t", "▁th", "▁the"];
        Write(folder, pieces, """
            {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}, "pre_tokenizer": null,
             "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
             "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}}
            """, new JsonObject
        {
            ["type"] = "BPE",
            ["unk_token"] = "<unk>",
            ["fuse_unk"] = true,
            ["byte_fallback"] = true,
            ["vocab"] = new JsonObject(pieces.Select((piece, id) => KeyValuePair.Create(piece, (JsonNode?)id))),
            ["merges"] = new JsonArray("▁ t", "▁t h", "▁th e"),
        });
        return pieces.Length;
    }

    private static void Write(string folder, string[] pieces, string steps, JsonObject model)
    {
        JsonObject json = JsonNode.Parse(steps)!.AsObject();
        json["version"] = "1.0";
        json["model"] = model;
        json["added_tokens"] = new JsonArray([.. pieces.Take(3).Select((piece, id) => new JsonObject { ["id"] = id, ["content"] = piece, ["special"] = true, ["normalized"] = false })]);
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), json.ToJsonString());
    }
}
