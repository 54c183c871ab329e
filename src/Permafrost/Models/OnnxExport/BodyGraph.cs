using Permafrost.Formats.Onnx;

namespace Permafrost.Models.OnnxExport;

/// <summary>The bodies that can be written as ONNX, from vectors (B, T, C) to last hidden states (B, T, C).</summary>
internal static class BodyGraph
{
    private static readonly BertLayerNames BertNames = new(
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense",
        "output.LayerNorm");
    private static readonly BertLayerNames DistilBertNames = new(
        "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm");

    /// <summary>Adds a body.</summary>
    /// <param name="layers">What it is added to.</param>
    /// <param name="body">The body.</param>
    /// <param name="vectors">(B, T, C).</param>
    /// <param name="mask">(B, T) int64, 1 for tokens and 0 for padding.</param>
    /// <returns>The last hidden states.</returns>
    /// <exception cref="PermafrostException">Its family cannot be written yet.</exception>
    public static string Add(LayerGraph layers, Backbone body, string vectors, string mask)
    {
        layers.Mask(mask, body.Traits.Causal);
        return body switch
        {
            Gpt2Model gpt2 => Gpt2(layers, gpt2.Settings, vectors),
            DistilBertModel distilBert => Bert(layers, distilBert.Settings, vectors, "transformer.layer", DistilBertNames),
            BertEncoder bert => Bert(layers, bert.Settings, vectors, "encoder.layer", BertNames),
            VitModel vit => Vit(layers, vit.Settings, vectors),
            LlamaModel llama => Llama(layers, llama.Settings, vectors),
            _ => throw new PermafrostException(
                $"{body.Config.Source}: a {body.Config.ModelType} cannot be written as ONNX; bert, roberta, distilbert, gpt2, vit, llama, mistral, qwen2 and qwen3 can"),
        };
    }

    private static string Gpt2(LayerGraph layers, Gpt2Config config, string vectors)
    {
        string stream = layers.Node("Add", vectors, layers.Rows("wpe.weight", 0, layers.Size(vectors, 1)));
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string name = $"h.{layer}";
            string joint = layers.Linear(layers.LayerNorm(stream, $"{name}.ln_1", config.Epsilon), $"{name}.attn.c_attn", inputsFirst: true);
            string Third(int which) => layers.Node(
                "Slice", joint, layers.Graph.Integers(which * config.Width), layers.Graph.Integers((which + 1) * config.Width), layers.Graph.Integers(2));
            double scale = (config.ScaleAttention ? 1 / Math.Sqrt(config.Width / config.Heads) : 1) / (config.ScaleByLayer ? layer + 1 : 1);
            string mixed = layers.Attention(Third(0), Third(1), Third(2), config.Heads, scale);
            stream = layers.Node("Add", stream, layers.Linear(mixed, $"{name}.attn.c_proj", inputsFirst: true));
            string inner = layers.Linear(layers.LayerNorm(stream, $"{name}.ln_2", config.Epsilon), $"{name}.mlp.c_fc", inputsFirst: true);
            stream = layers.Node("Add", stream, layers.Linear(layers.Activate(inner, config.Activation), $"{name}.mlp.c_proj", inputsFirst: true));
        }
        return layers.LayerNorm(stream, "ln_f", config.Epsilon);
    }

    private static string Bert(LayerGraph layers, BertConfig config, string vectors, string prefix, BertLayerNames names)
    {
        string stream = layers.Node("Add", vectors, layers.Rows("embeddings.position_embeddings.weight", config.FirstPosition, layers.Size(vectors, 1)));
        // Without segments every token is of the first.
        if (config.TokenTypes > 0)
            stream = layers.Node("Add", stream, layers.Node("Gather", layers.Constant("embeddings.token_type_embeddings.weight"), layers.Graph.Integer(0)));
        stream = layers.LayerNorm(stream, "embeddings.LayerNorm", config.Epsilon);
        for (int layer = 0; layer < config.Layers; layer++) stream = BertLayer(layers, config, $"{prefix}.{layer}", names, stream);
        return stream;
    }

    private static string BertLayer(LayerGraph layers, BertConfig config, string name, BertLayerNames names, string stream)
    {
        string Map(string x, string which) => layers.Linear(x, $"{name}.{which}");
        string mixed = layers.Attention(Map(stream, names.Query), Map(stream, names.Key), Map(stream, names.Value), config.Heads, Scale(config.Width, config.Heads));
        stream = layers.LayerNorm(layers.Node("Add", stream, Map(mixed, names.Output)), $"{name}.{names.AttentionNorm}", config.Epsilon);
        string inner = layers.Activate(Map(stream, names.Inner), config.Activation);
        return layers.LayerNorm(layers.Node("Add", stream, Map(inner, names.Outer)), $"{name}.{names.OutputNorm}", config.Epsilon);
    }

    private static string Vit(LayerGraph layers, VitConfig config, string vectors)
    {
        // Row 0 is the class token's, which vectors come without.
        string table = layers.Constant("embeddings.position_embeddings", given => given.squeeze(0), ".rows");
        string end = layers.Node("Add", layers.Size(vectors, 1), layers.Graph.Integers(1));
        string stream = layers.Node("Add", vectors, layers.Node("Slice", table, layers.Graph.Integers(1), end, layers.Graph.Integers(0)));
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string name = $"encoder.layer.{layer}";
            string Map(string x, string which, bool bias = true) => layers.Linear(x, $"{name}.{which}", bias);
            string normed = layers.LayerNorm(stream, $"{name}.layernorm_before", config.Epsilon);
            string mixed = layers.Attention(Map(normed, "attention.attention.query", config.QkvBias), Map(normed, "attention.attention.key", config.QkvBias),
                Map(normed, "attention.attention.value", config.QkvBias), config.Heads, Scale(config.Width, config.Heads));
            stream = layers.Node("Add", stream, Map(mixed, "attention.output.dense"));
            string inner = layers.Activate(Map(layers.LayerNorm(stream, $"{name}.layernorm_after", config.Epsilon), "intermediate.dense"), config.Activation);
            stream = layers.Node("Add", stream, Map(inner, "output.dense"));
        }
        return layers.LayerNorm(stream, "layernorm", config.Epsilon);
    }

    private static string Llama(LayerGraph layers, LlamaConfig config, string vectors)
    {
        (string Cos, string Sin) angles = layers.Angles(config.Frequencies);
        string stream = vectors;
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string name = $"layers.{layer}", normed = layers.RmsNorm(stream, $"{name}.input_layernorm", config.Epsilon);
            string Turned(string map, string norm, int heads)
            {
                string parted = layers.Parted(layers.Linear(normed, $"{name}.self_attn.{map}", config.QueryBias), heads);
                if (config.HeadNorms) parted = layers.RmsNorm(parted, $"{name}.self_attn.{norm}", config.Epsilon);
                return layers.Turned(layers.Graph.Node("Transpose", [parted], new NodeAttribute("perm", Ints: [0, 2, 1, 3])), angles, config.HeadSize / 2);
            }
            string Shared(string heads) => layers.Repeated(heads, config.KeyHeads, config.Heads / config.KeyHeads);
            string values = layers.Heads(layers.Linear(normed, $"{name}.self_attn.v_proj", config.QueryBias), config.KeyHeads);
            string mixed = layers.AttentionOfHeads(Turned("q_proj", "q_norm", config.Heads), Shared(Turned("k_proj", "k_norm", config.KeyHeads)), Shared(values),
                1 / Math.Sqrt(config.HeadSize), config.Windows[layer] - 1);
            stream = layers.Node("Add", stream, layers.Linear(layers.Joined(mixed), $"{name}.self_attn.o_proj", config.OutputBias));
            string inner = layers.RmsNorm(stream, $"{name}.post_attention_layernorm", config.Epsilon);
            string gate = layers.Activate(layers.Linear(inner, $"{name}.mlp.gate_proj", config.InnerBias), config.Activation);
            string opened = layers.Node("Mul", gate, layers.Linear(inner, $"{name}.mlp.up_proj", config.InnerBias));
            stream = layers.Node("Add", stream, layers.Linear(opened, $"{name}.mlp.down_proj", config.InnerBias));
        }
        return layers.RmsNorm(stream, "norm", config.Epsilon);
    }

    private static double Scale(int width, int heads) => 1 / Math.Sqrt(width / heads);

    // What a layer of BERT, or of a relative, calls its parts.
    private sealed record BertLayerNames(
        string Query, string Key, string Value, string Output, string AttentionNorm, string Inner, string Outer, string OutputNorm);
}
