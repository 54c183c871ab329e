namespace Permafrost.Tests.Shared;

/// <summary>A BERT of two layers of 32 in a folder of one's own: a configuration and a vocabulary of letters, so that every English word has tokens. Its weights are drawn.</summary>
public static class SmallBert
{
    /// <summary>The vocabulary: what BERT adds, and every letter, digit and common mark at the beginning and within a word.</summary>
    public static IReadOnlyList<string> Vocabulary { get; } =
    [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
        .. "abcdefghijklmnopqrstuvwxyz0123456789".SelectMany(c => new[] { $"{c}", $"##{c}" }),
        .. ".,;:!?'\"-()[]".Select(c => $"{c}"),
    ];

    /// <summary>Writes the folder, and returns its path.</summary>
    /// <param name="folder">The folder; made where it is not there.</param>
    /// <param name="positions">The longest text, in tokens.</param>
    /// <param name="withTokenizer">Whether it has a vocabulary.</param>
    public static string Write(string folder, int positions = 64, bool withTokenizer = true)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), $$"""
            {"model_type": "bert", "architectures": ["BertModel"], "vocab_size": {{Vocabulary.Count}}, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 64, "hidden_act": "gelu", "max_position_embeddings": {{positions}}, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "initializer_range": 0.02,
             "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 0}
            """);
        if (withTokenizer) File.WriteAllText(Path.Combine(folder, "vocab.txt"), string.Join('\n', Vocabulary) + "\n");
        return folder;
    }
}
