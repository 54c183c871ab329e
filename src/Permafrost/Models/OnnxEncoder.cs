using Permafrost.Formats;
using Permafrost.Formats.Onnx;

namespace Permafrost.Models;

/// <summary>A weight of a graph under Hugging Face's name.</summary>
/// <param name="Name">The name, without a class's prefix.</param>
/// <param name="Constant">Where it is; as (outputs, inputs) where it is a dense layer's.</param>
/// <param name="Shape">The sizes of the parameter.</param>
internal sealed record OnnxWeight(string Name, OnnxConstant Constant, long[] Shape);

/// <summary>
/// Finds the weights of a BERT encoder in the graph of an ONNX model and gives them Hugging Face's names. The graph is read, never run: from the sum of the embedding tables it is
/// followed through norms, attention and feed-forward layers, so that names (a dense layer's matrix may have a number for one) matter only where the graph leaves a choice.
/// What the graph says of heads, activation and epsilon is held against <c>config.json</c>, since the body computes by that file.
/// </summary>
internal sealed class OnnxEncoder
{
    private static readonly HashSet<string> Quantised =
    [
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QAttention", "QGemm",
        "QEmbedLayerNormalization", "QOrderedMatMul", "QOrderedAttention", "MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "GatherBlockQuantized",
    ];

    private readonly OnnxFile file;
    private readonly OnnxGraph graph;
    private readonly OnnxBlocks blocks;
    private readonly OnnxEmbeddings embeddings;
    private readonly OnnxLayers layers;
    private readonly HfConfig config;
    private readonly Dictionary<string, OnnxWeight> weights = new(StringComparer.Ordinal);
    private readonly HashSet<string> used = new(StringComparer.Ordinal);

    private OnnxEncoder(OnnxFile file, HfConfig config)
    {
        this.file = file;
        this.config = config;
        graph = new OnnxGraph(file);
        blocks = new OnnxBlocks(graph);
        embeddings = new OnnxEmbeddings(graph, blocks, config);
        layers = new OnnxLayers(graph, blocks);
    }

    /// <summary>The encoder's weights, and those of heads that are known, by their names.</summary>
    /// <param name="file">The model.</param>
    /// <param name="config">What it is said to be.</param>
    /// <exception cref="PermafrostException">The model is quantised, is no BERT encoder, or is another one than the configuration says.</exception>
    public static IReadOnlyDictionary<string, OnnxWeight> Map(OnnxFile file, HfConfig config)
    {
        if (config.ModelType != "bert")
            throw new PermafrostException($"{file.Path}: ONNX models are read of the family bert alone, and {config.Source} says {config.ModelType}; take model.safetensors");
        RefuseQuantised(file);
        return new OnnxEncoder(file, config).Walk();
    }

    private Dictionary<string, OnnxWeight> Walk()
    {
        OnnxEmbeddingTables tables = embeddings.Find() ?? throw NotBert("no norm of a sum of embedding tables was found");
        Add("embeddings.word_embeddings.weight", tables.Words);
        Add("embeddings.position_embeddings.weight", tables.Positions);
        Add("embeddings.token_type_embeddings.weight", tables.Types);
        Add("embeddings.LayerNorm", tables.Norm);
        used.UnionWith(tables.LookUps);
        string stream = tables.Norm.Output;
        int count = 0;
        while (layers.Next(stream) is { } layer)
        {
            string prefix = $"encoder.layer.{count++}";
            Check(layer);
            Add($"{prefix}.attention.self.query", layer.Query);
            Add($"{prefix}.attention.self.key", layer.Key);
            Add($"{prefix}.attention.self.value", layer.Value);
            Add($"{prefix}.attention.output.dense", layer.AttentionOutput);
            Add($"{prefix}.attention.output.LayerNorm", layer.AttentionNorm);
            Add($"{prefix}.intermediate.dense", layer.Intermediate);
            Add($"{prefix}.output.dense", layer.Output);
            Add($"{prefix}.output.LayerNorm", layer.OutputNorm);
            stream = layer.OutputNorm.Output;
        }
        int wanted = config.Int("num_hidden_layers", 12);
        if (count == 0) throw NotBert("no layer of attention and feed-forward follows the embeddings");
        if (count != wanted) throw new PermafrostException($"{file.Path}: {count} layer(s) of a BERT encoder were found, {config.Source} says {wanted} (num_hidden_layers)");
        AddHeads(stream);
        RefuseRest(stream);
        return weights;
    }

    private void Add(string name, OnnxConstant matrix) => weights[name] = new OnnxWeight(name, matrix, matrix.Shape);

    private void Add(string name, OnnxNorm norm)
    {
        double wanted = config.Number("layer_norm_eps", 1e-12);
        // float16 cannot tell the usual epsilons apart, and bfloat16 rounds them.
        if (norm.Epsilon is { } epsilon && norm.Scale.Tensor.Type != OnnxType.Float16 && Math.Abs(epsilon - wanted) > 1e-2 * wanted)
            throw new PermafrostException(
                $"{file.Path}: the norm {name} has the epsilon {epsilon:G6}, {config.Source} says {wanted:G6} (layer_norm_eps); they do not belong together");
        AddVector($"{name}.weight", norm.Scale);
        AddVector($"{name}.bias", norm.Shift);
    }

    private void Add(string name, OnnxDense dense)
    {
        Add($"{name}.weight", dense.Weight);
        AddVector($"{name}.bias", dense.Bias ?? throw NotBert($"the layer {name} has no bias"));
        used.Add(dense.Product);
    }

    private void AddVector(string name, OnnxConstant vector) => weights[name] = new OnnxWeight(name, vector, [vector.Vector!.Value]);

    private void Check(OnnxLayer layer)
    {
        long width = layer.Query.Weight.Shape[0];
        int heads = config.Int("num_attention_heads", 12);
        if (layer.HeadSize is { } size && size * heads != width)
            throw new PermafrostException($"{file.Path}: its attention has heads of {size} numbers, {config.Source} says {heads} heads of {width} (num_attention_heads)");
        string wanted = config.Text("hidden_act", "gelu")!;
        if (layer.Activation is { } activation && !activation.Split(' ').Contains(wanted))
            throw new PermafrostException($"{file.Path}: its feed-forward layers compute {activation.Split(' ')[0]}, {config.Source} says {wanted} (hidden_act)");
    }

    // Pooler and masked-token head are BERT's own; whatever else follows the last layer is some other class's head, which the body does not have.
    private void AddHeads(string stream)
    {
        foreach (OnnxNode node in file.Nodes.Where(node => node.Is("Tanh")))
        {
            if (blocks.Dense(node.Input(0)) is not { Bias: not null } pooler || pooler.Weight.Shape[0] != pooler.Weight.Shape[1]) continue;
            if (layers.Follows(pooler.Input, stream, OnnxLayers.Selecting)) Add("pooler.dense", pooler);
        }
        foreach (OnnxNorm norm in blocks.Norms)
        {
            if (norm.Inputs is not [var input] || layers.Activated(input) is not { } activated || activated.Dense.Input != graph.Strip(stream)) continue;
            if (activated.Dense.Bias is null || blocks.Residual(norm.Inputs) is not null) continue;
            Add("cls.predictions.transform.dense", activated.Dense);
            Add("cls.predictions.transform.LayerNorm", norm);
            foreach (OnnxNode node in file.Nodes)
            {
                if (blocks.Product(node) is not { } product || product.Input != graph.Strip(norm.Output)) continue;
                Add("cls.predictions.decoder.weight", product.Weight);
                string sum = file.Nodes.FirstOrDefault(next => next.Is("Add") && next.Inputs.Any(value => graph.Strip(value) == product.Product))?.Outputs[0] ?? product.Product;
                if (blocks.Dense(sum)?.Bias is { } bias) AddVector("cls.predictions.bias", bias);
            }
        }
    }

    // A matrix of weights that the walk did not meet is a head's where it follows the last layer; elsewhere it makes another model of it.
    private void RefuseRest(string stream)
    {
        var behind = new HashSet<string>([stream], StringComparer.Ordinal);
        foreach (OnnxNode node in file.Nodes)
        {
            bool follows = node.Inputs.Any(behind.Contains);
            if (follows) behind.UnionWith(node.Outputs);
            if (follows || node.Outputs.Length == 0 || node.Outputs.Any(used.Contains)) continue;
            bool weighs = graph.IsLookUp(node) || blocks.Product(node) is not null;
            if (weighs) throw NotBert($"the operator {node.Operator} that gives '{node.Outputs[0]}' has weights that BERT does not have");
        }
    }

    private static void RefuseQuantised(OnnxFile file)
    {
        OnnxNode? node = file.Nodes.FirstOrDefault(node => Quantised.Contains(node.Operator) || node.Operator.StartsWith("QLinear", StringComparison.Ordinal));
        OnnxTensor? tensor = file.Initializers.Values.FirstOrDefault(tensor => tensor.Type.IsQuantised() && tensor.Dims.Length >= 2 && tensor.Count > 1);
        string? what = node is not null ? $"operator {node.Operator}" : tensor is not null ? $"the tensor '{tensor.Name}' is {tensor.Type}" : null;
        if (what is not null)
            throw new PermafrostException(
                $"{file.Path} is quantised ({what}), and a frozen body needs the weights themselves; take the model's float32 export, or model.safetensors");
    }

    private PermafrostException NotBert(string why)
    {
        string? other = file.Nodes.FirstOrDefault(node => node.Domain.Length > 0)?.Operator;
        string hint = other is null ? "" : $"; it holds operators that are not ONNX's own, such as {other}: export it without optimisation for a runtime";
        return new PermafrostException($"{file.Path} is not the graph of a BERT encoder: {why}{hint}");
    }
}
