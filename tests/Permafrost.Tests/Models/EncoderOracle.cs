namespace Permafrost.Tests.Models;

/// <summary>
/// RoBERTa and DistilBERT as their papers and Hugging Face's classes define them, of plain operators in float64 over weights by Hugging Face's names: it shares nothing with the
/// library's layers.
/// </summary>
internal sealed class EncoderOracle(bool distilled, Dictionary<string, Tensor> weights, string prefix, int layers, int heads, double epsilon, string activation, int padding)
{
    public List<Tensor> HiddenStates { get; } = [];

    public List<Tensor> Attentions { get; } = [];

    /// <summary>(B, T, C) vectors of ids. torch.nn.Embedding gives the padding id's row no gradient.</summary>
    public Tensor Words(long[,] ids) => Rows($"{prefix}embeddings.word_embeddings.weight", ids, padding);

    /// <summary>(B, T, C), the last hidden state.</summary>
    public Tensor Encode(Tensor vectors, long[,]? ids, long[,]? mask, long[,]? positions, long[,]? types)
    {
        (int B, int T) = ((int)vectors.size(0), (int)vectors.size(1));
        Tensor stream = vectors + Rows($"{prefix}embeddings.position_embeddings.weight", positions ?? Positions(B, T, ids), distilled ? -1 : padding);
        if (!distilled) stream += Rows($"{prefix}embeddings.token_type_embeddings.weight", types ?? new long[B, T], -1);
        stream = Norm(stream, $"{prefix}embeddings.LayerNorm");
        HiddenStates.Add(stream);
        for (int layer = 0; layer < layers; layer++)
        {
            stream = distilled ? DistilledLayer(stream, mask, $"{prefix}transformer.layer.{layer}") : Layer(stream, mask, $"{prefix}encoder.layer.{layer}");
            HiddenStates.Add(stream);
        }
        return stream;
    }

    public Tensor Pooled(Tensor hidden) => Map(hidden.select(1, 0), $"{prefix}pooler.dense").tanh();

    public Tensor Logits(Tensor hidden)
    {
        Tensor table = weights[$"{prefix}embeddings.word_embeddings.weight"];
        if (distilled)
        {
            Tensor x = Norm(Activated(Map(hidden, "vocab_transform"), activation), "vocab_layer_norm");
            return x.matmul(weights.GetValueOrDefault("vocab_projector.weight", table).t()) + weights["vocab_projector.bias"];
        }
        Tensor y = Norm(Activated(Map(hidden, "lm_head.dense"), "gelu"), "lm_head.layer_norm");
        return y.matmul(weights.GetValueOrDefault("lm_head.decoder.weight", table).t()) + weights["lm_head.bias"];
    }

    private long[,] Positions(int B, int T, long[,]? ids)
    {
        var positions = new long[B, T];
        for (int b = 0; b < B; b++)
        {
            long count = 0;
            for (int t = 0; t < T; t++)
                positions[b, t] = distilled ? t : ids is null ? padding + 1 + t : ids[b, t] == padding ? padding : padding + ++count;
        }
        return positions;
    }

    private Tensor Layer(Tensor x, long[,]? mask, string name)
    {
        Tensor context = Attend(x, mask, $"{name}.attention.self.query", $"{name}.attention.self.key", $"{name}.attention.self.value");
        Tensor attended = Norm(x + Map(context, $"{name}.attention.output.dense"), $"{name}.attention.output.LayerNorm");
        Tensor inner = Activated(Map(attended, $"{name}.intermediate.dense"), activation);
        return Norm(attended + Map(inner, $"{name}.output.dense"), $"{name}.output.LayerNorm");
    }

    private Tensor DistilledLayer(Tensor x, long[,]? mask, string name)
    {
        Tensor context = Attend(x, mask, $"{name}.attention.q_lin", $"{name}.attention.k_lin", $"{name}.attention.v_lin");
        Tensor attended = Norm(x + Map(context, $"{name}.attention.out_lin"), $"{name}.sa_layer_norm");
        Tensor inner = Activated(Map(attended, $"{name}.ffn.lin1"), activation);
        return Norm(attended + Map(inner, $"{name}.ffn.lin2"), $"{name}.output_layer_norm");
    }

    private Tensor Attend(Tensor x, long[,]? mask, string query, string key, string value)
    {
        (long B, long T, long C) = (x.size(0), x.size(1), x.size(2));
        Tensor Split(Tensor y) => y.view(B, T, heads, C / heads).transpose(1, 2);
        Tensor scores = Split(Map(x, query)).matmul(Split(Map(x, key)).transpose(2, 3)) / Math.Sqrt(C / heads);
        if (mask is not null) scores = scores.masked_fill(torch.tensor(mask).view(B, 1, 1, T).eq(0), double.MinValue);
        Tensor probabilities = torch.nn.functional.softmax(scores, -1);
        Attentions.Add(probabilities);
        return probabilities.matmul(Split(Map(x, value))).transpose(1, 2).reshape(B, T, C);
    }

    private Tensor Map(Tensor x, string name) => x.matmul(weights[$"{name}.weight"].t()) + weights[$"{name}.bias"];

    private Tensor Norm(Tensor x, string name)
    {
        Tensor centred = x - x.mean([-1], keepdim: true);
        return centred / (centred.square().mean([-1], keepdim: true) + epsilon).sqrt() * weights[$"{name}.weight"] + weights[$"{name}.bias"];
    }

    private Tensor Rows(string name, long[,] ids, int without)
    {
        Tensor table = weights[name];
        if (without >= 0) table = torch.cat([table.narrow(0, 0, without), table.narrow(0, without, 1).detach(), table.narrow(0, without + 1, table.size(0) - without - 1)], 0);
        return table.index_select(0, torch.tensor(ids).view(-1)).view(ids.GetLength(0), ids.GetLength(1), table.size(1));
    }

    private static Tensor Activated(Tensor x, string name) => name switch
    {
        "gelu" => x * 0.5 * (1 + (x / Math.Sqrt(2)).erf()),
        "relu" => x.clamp_min(0),
        _ => throw new ArgumentException($"the oracle has no {name}", nameof(name)),
    };
}
