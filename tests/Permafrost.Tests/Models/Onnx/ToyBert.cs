using System.Globalization;
using Permafrost.Formats.Onnx;

namespace Permafrost.Tests.Models.Onnx;

/// <summary>A small BERT with random weights, written as exporters of many kinds write it.</summary>
internal sealed class ToyBert
{
    public const int Width = 16, Heads = 4, Layers = 2, Inner = 32;

    private readonly OnnxDialect dialect;
    private readonly Dictionary<string, string> stored = new(StringComparer.Ordinal);
    private readonly Random random = new(7);
    private OnnxBuilder builder = null!;  // set while a model is written

    public ToyBert(OnnxDialect dialect)
    {
        this.dialect = dialect;
        Add("embeddings.word_embeddings.weight", Words, Width);
        Add("embeddings.position_embeddings.weight", Positions, Width);
        Add("embeddings.token_type_embeddings.weight", Types, Width);
        Norm("embeddings.LayerNorm");
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = $"encoder.layer.{layer}";
            foreach (string map in new[] { "query", "key", "value" }) Dense($"{prefix}.attention.self.{map}", Width, Width);
            Dense($"{prefix}.attention.output.dense", Width, Width);
            Norm($"{prefix}.attention.output.LayerNorm");
            Dense($"{prefix}.intermediate.dense", Inner, Width);
            Dense($"{prefix}.output.dense", Width, Inner);
            Norm($"{prefix}.output.LayerNorm");
        }
        if (dialect.Pooler) Dense("pooler.dense", Width, Width);
        if (dialect.Classifier) Dense("classifier", 3, Width);
        if (!dialect.MaskedTokens) return;
        Dense("cls.predictions.transform.dense", Width, Width);
        Norm("cls.predictions.transform.LayerNorm");
        Add("cls.predictions.bias", Words);
    }

    public int Words => dialect.SameSizes ? 24 : 40;
    public int Positions => 24;
    public int Types => dialect.SameSizes ? 24 : 2;

    /// <summary>The weights under Hugging Face's names, row-major.</summary>
    public Dictionary<string, (long[] Shape, float[] Numbers)> Weights { get; } = [];

    public string Config(string activation = "gelu", int layers = Layers) => string.Create(CultureInfo.InvariantCulture, $$"""
        {"model_type": "bert", "architectures": ["{{(dialect.MaskedTokens ? "BertForMaskedLM" : "BertModel")}}"], "vocab_size": {{Words}}, "max_position_embeddings": {{Positions}},
         "type_vocab_size": {{Types}}, "hidden_size": {{Width}}, "num_hidden_layers": {{layers}}, "num_attention_heads": {{Heads}}, "intermediate_size": {{Inner}},
         "layer_norm_eps": 1e-12, "hidden_act": "{{activation}}"}
        """);

    /// <summary>Writes the model folder; returns the model's path.</summary>
    public string Save(string folder)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), Config());
        string path = Path.Combine(folder, dialect.Subfolder ? Path.Combine("onnx", "model.onnx") : "model.onnx");
        using var writing = new OnnxBuilder(path, dialect.Opset, dialect.Storage);
        builder = writing;
        stored.Clear();
        Write();
        builder.Save();
        return path;
    }

    private void Write()
    {
        builder.Input("input_ids", 7, "batch", "sequence");
        builder.Input("attention_mask", 7, "batch", "sequence");
        if (!dialect.OneSegment) builder.Input("token_type_ids", 7, "batch", "sequence");
        if (dialect.Positions == PositionForm.Input) builder.Input("position_ids", 7, "batch", "sequence");
        string length = Op("Gather", [Op("Shape", ["input_ids"]), Integers([], 1)], ("axis", 0));
        string words = Op("Gather", [Weight("embeddings.word_embeddings.weight"), "input_ids"]);
        string segments = dialect.OneSegment
            ? Op("ConstantOfShape", [Op("Shape", ["input_ids"])], ("value", builder.Tensor("", 7, [1], OnnxBuilder.Bytes(0L)))) : "token_type_ids";
        string sum = Op("Add", [words, Op("Gather", [Weight("embeddings.token_type_embeddings.weight"), segments])]);
        string stream = Norm("embeddings.LayerNorm", Op("Add", [sum, PositionRows(length)]));
        string bias = Op("Unsqueeze", ["attention_mask", Integers([2], 1, 2)]);
        string mask = dialect.Scores == ScoreForm.Where ? Op("Equal", [bias, Integers([], 0)])
            : Op("Mul", [Op("Sub", [Number(1), Op("Cast", [bias], ("to", (int)dialect.Type))]), Number(-10000)]);
        for (int layer = 0; layer < Layers; layer++) stream = Layer($"encoder.layer.{layer}", stream, mask);
        Give("last_hidden_state", stream, "batch", "sequence", $"{Width}");
        if (dialect.Pooler) Give("pooler_output", Op("Tanh", [Dense("pooler.dense", Op("Gather", [stream, Integers([], 0)], ("axis", 1)), rows: true)]), "batch", $"{Width}");
        if (dialect.Classifier) Give("logits", Dense("classifier", stream), "batch", "sequence", "3");
        if (dialect.MaskedTokens)
        {
            string hidden = Norm("cls.predictions.transform.LayerNorm", Gelu(Dense("cls.predictions.transform.dense", stream)));
            string table = Op("Transpose", [Weight("embeddings.word_embeddings.weight")], ("perm", new long[] { 1, 0 }));
            Give("logits", Op("Add", [Op("MatMul", [hidden, table]), Weight("cls.predictions.bias")]), "batch", "sequence", $"{Words}");
        }
        if (dialect.SentenceEmbedding)
        {
            string present = Op("Cast", [Op("Unsqueeze", ["attention_mask", Integers([1], -1)])], ("to", 1));
            string mean = Op("Div", [Op("ReduceSum", [Op("Mul", [stream, present]), Integers([1], 1)], ("keepdims", 0)), Op("ReduceSum", [present, Integers([1], 1)], ("keepdims", 0))]);
            Give("sentence_embedding", Op("Div", [mean, Op("ReduceL2", [mean], ("axes", new long[] { 1 }), ("keepdims", 1))]), "batch", $"{Width}");
        }
    }

    private string PositionRows(string length)
    {
        string table = Weight("embeddings.position_embeddings.weight");
        string end = Op("Unsqueeze", [length, Integers([1], 0)]);
        switch (dialect.Positions)
        {
            case PositionForm.Input: return Op("Gather", [table, "position_ids"]);
            case PositionForm.Range: return Op("Gather", [table, Op("Unsqueeze", [Op("Range", [Integers([], 0), length, Integers([], 1)]), Integers([1], 0)])]);
            case PositionForm.Table: return Op("Unsqueeze", [Op("Slice", [table, Integers([1], 0), end, Integers([1], 0)]), Integers([1], 0)]);
            default:
                if (stored.TryAdd("position_ids", dialect.Prefix + "embeddings.position_ids"))
                    builder.Initializer(stored["position_ids"], 7, [1, Positions], OnnxBuilder.Bytes(Enumerable.Range(0, Positions).Select(i => (long)i).ToArray()));
                return Op("Gather", [table, Op("Slice", [stored["position_ids"], Integers([1], 0), end, Integers([1], 1), Integers([1], 1)])]);
        }
    }

    private string Layer(string prefix, string stream, string mask)
    {
        string Split(string map, params long[] order)
        {
            string dense = Dense($"{prefix}.attention.self.{map}", stream);
            return Op("Transpose", [Op("Reshape", [dense, Integers([4], 0, 0, Heads, Width / Heads)])], ("perm", order));
        }
        float size = Width / Heads;
        bool transposes = dialect.Scores is ScoreForm.Fused or ScoreForm.Operator;
        string query = Split("query", 0, 2, 1, 3), key = transposes ? Split("key", 0, 2, 1, 3) : Split("key", 0, 2, 3, 1), value = Split("value", 0, 2, 1, 3);
        if (dialect.Scores == ScoreForm.Operator)
        {
            // That operator's mask has a row for each query.
            string zeros = Op("Mul", [Op("Transpose", [mask], ("perm", new long[] { 0, 1, 3, 2 })), Number(0)]);
            return Rest(Op("Attention", [query, key, value, Op("Add", [mask, zeros])]));
        }
        if (transposes)
        {
            // The scale, of the queries' type, as torch's exporter computes it, from the shape of the queries.
            string numbers = Op("Slice", [Op("Shape", [query]), Integers([1], -1), Integers([1], int.MaxValue)]);
            numbers = dialect.Opset >= 15 ? Op("CastLike", [numbers, query]) : Op("Cast", [numbers], ("to", (int)dialect.Type));
            string root = Op("Sqrt", [Op("Div", [Number(1), Op("Sqrt", [numbers])])]);
            query = Op("Mul", [query, root]);
            key = Op("Mul", [Op("Transpose", [key], ("perm", new long[] { 0, 1, 3, 2 })), root]);
        }
        if (dialect.Scores == ScoreForm.Where) query = Op("Div", [query, Number(MathF.Sqrt(size))]);
        string scores = Op("MatMul", [query, key]);
        if (dialect.Scores == ScoreForm.Divide) scores = Op("Div", [scores, Number(MathF.Sqrt(size))]);
        scores = dialect.Scores == ScoreForm.Where ? Op("Where", [mask, Number(-10000), scores]) : Op("Add", [scores, mask]);
        string probabilities = Op("Softmax", [scores], ("axis", -1));
        if (transposes) probabilities = Op("Where", [Op("IsNaN", [probabilities]), Number(0), probabilities]);
        return Rest(Op("MatMul", [probabilities, value]));

        string Rest(string heads)
        {
            string context = Op("Reshape", [Op("Transpose", [heads], ("perm", new long[] { 0, 2, 1, 3 })), Integers([3], 0, 0, Width)]);
            string attended = Norm($"{prefix}.attention.output.LayerNorm", Op("Add", [Dense($"{prefix}.attention.output.dense", context), stream]));
            string inner = Gelu(Dense($"{prefix}.intermediate.dense", attended));
            return Norm($"{prefix}.output.LayerNorm", Op("Add", [Dense($"{prefix}.output.dense", inner), attended]));
        }
    }

    private string Gelu(string x)
    {
        if (dialect.FusedGelu) return Op("Gelu", [x]);
        string error = Op("Erf", [Op("Div", [x, Number(MathF.Sqrt(2))])]);
        return Op("Mul", [Op("Mul", [x, Op("Add", [error, Number(1)])]), Number(0.5f)]);
    }

    private string Dense(string name, string x, bool rows = false)
    {
        string bias = Weight($"{name}.bias");
        bool turned = dialect.Dense is DenseForm.Gemm or DenseForm.GemmAdd || rows;
        if (dialect.Dense == DenseForm.Transpose && !rows)
            return Op("Add", [Op("MatMul", [x, Op("Transpose", [Weight($"{name}.weight")], ("perm", new long[] { 1, 0 }))]), bias]);
        if (rows) return Op("Gemm", [x, Weight($"{name}.weight"), bias], ("alpha", 1f), ("beta", 1f), ("transB", 1));
        if (dialect.Dense is DenseForm.BiasFirst or DenseForm.BiasLast)
        {
            string product = Op("MatMul", [x, Weight($"{name}.weight", turned: true)]);
            return Op("Add", dialect.Dense == DenseForm.BiasFirst ? [bias, product] : [product, bias]);
        }
        // Gemm takes matrices: all tokens one below the other.
        string flat = Op("Reshape", [x, Integers([2], -1, Weights[$"{name}.weight"].Shape[1])]);
        string weight = turned ? Weight($"{name}.weight") : Weight($"{name}.weight", turned: true);
        string given = Op("Gemm", dialect.Dense == DenseForm.GemmAdd ? [flat, weight] : [flat, weight, bias], ("transB", turned ? 1 : 0));
        if (dialect.Dense == DenseForm.GemmAdd) given = Op("Add", [given, bias]);
        string shape = Op("Concat", [Op("Slice", [Op("Shape", [x]), Integers([1], 0), Integers([1], 2)]), Integers([1], -1)], ("axis", 0));
        return Op("Reshape", [given, shape]);
    }

    private string Norm(string name, string x)
    {
        string scale = Weight($"{name}.weight"), shift = Weight($"{name}.bias");
        if (dialect.FusedNorm) return Op("LayerNormalization", [x, scale, shift], ("axis", -1), ("epsilon", 1e-12f));
        if (dialect.Functions)
        {
            builder.Function(
                "Norm" + name.Replace('.', '_'), ["x", "scale", "shift"], ["y"],
                OnnxBuilder.NodeBytes("Identity", ["x"], ["same"]),
                OnnxBuilder.NodeBytes("LayerNormalization", ["same", "scale", "shift"], ["y"], "", ("axis", -1), ("epsilon", 1e-12f)));
            return builder.Node("Norm" + name.Replace('.', '_'), [x, scale, shift], domain: "local");
        }
        (string, object)[] over = dialect.Opset < 18 ? [("axes", new long[] { -1 })] : [];
        string[] axes = dialect.Opset < 18 ? [] : [Integers([1], -1)];
        string centred = Op("Sub", [x, Op("ReduceMean", [x, .. axes], over)]);
        string variance = Op("ReduceMean", [Op("Pow", [centred, Number(2)]), .. axes], over);
        string deviation = Op("Sqrt", [Op("Add", [variance, Number(1e-12f)])]);
        if (!dialect.Reciprocal) return Op("Add", [Op("Mul", [Op("Div", [centred, deviation]), scale]), shift]);
        return Op("Add", [shift, Op("Mul", [scale, Op("Mul", [centred, Op("Reciprocal", [deviation])])])]);
    }

    private string Op(string kind, string[] inputs, params (string Name, object Value)[] attributes) => builder.Node(kind, inputs, attributes: attributes);

    private void Give(string name, string value, params string[] dims)
    {
        builder.Node("Cast", [value], name, attributes: ("to", 1));
        builder.Output(name, 1, dims);
    }

    private string Number(float number) => builder.Node("Constant", [], attributes: ("value", builder.Tensor("", (int)dialect.Type, [], Encode([number]))));

    private string Integers(long[] dims, params long[] numbers) => builder.Node("Constant", [], attributes: ("value", builder.Tensor("", 7, dims, OnnxBuilder.Bytes(numbers))));

    // The weight's value; a turned one is stored as (inputs, outputs) under a number, as exporters do that have computed the transpose.
    private string Weight(string name, bool turned = false)
    {
        if (stored.TryGetValue(name, out string? known)) return known;
        (long[] shape, float[] numbers) = Weights[name];
        if (turned)
        {
            float[] source = numbers;
            (long rows, long columns) = (shape[0], shape[1]);
            numbers = [.. Enumerable.Range(0, source.Length).Select(i => source[i % rows * columns + i / rows])];
            shape = [columns, rows];
        }
        string own = turned ? builder.Fresh("onnx::MatMul") : dialect.Numbered ? builder.Fresh("onnx::Add") : dialect.Prefix + name;
        if (dialect.Shared && stored.FirstOrDefault(pair => pair.Key.EndsWith("LayerNorm.bias", StringComparison.Ordinal)).Value is { } first && name.EndsWith("LayerNorm.bias", StringComparison.Ordinal))
            return stored[name] = builder.Node("Identity", [first], own);
        if (dialect.Constants) return stored[name] = builder.Node("Constant", [], own, attributes: ("value", builder.Tensor("", (int)dialect.Type, shape, Encode(numbers))));
        builder.Initializer(own, (int)dialect.Type, shape, Encode(numbers));
        return stored[name] = own;
    }

    private byte[] Encode(float[] numbers) => dialect.Type switch
    {
        OnnxType.Float16 => OnnxBuilder.Bytes(numbers.Select(number => (Half)number).ToArray()),
        OnnxType.BFloat16 => OnnxBuilder.Bytes(numbers.Select(number => (ushort)(BitConverter.SingleToUInt32Bits(number) >> 16)).ToArray()),
        OnnxType.Double => OnnxBuilder.Bytes(numbers.Select(number => (double)number).ToArray()),
        _ => OnnxBuilder.Bytes(numbers),
    };

    private void Dense(string name, int outputs, int inputs)
    {
        Add($"{name}.weight", outputs, inputs);
        Add($"{name}.bias", outputs);
    }

    private void Norm(string name)
    {
        Add($"{name}.weight", Width);
        Add($"{name}.bias", Width);
    }

    private void Add(string name, params long[] shape)
    {
        bool scale = name.EndsWith("LayerNorm.weight", StringComparison.Ordinal);
        // Shared tensors have the same numbers: all shifts of norms.
        bool zero = dialect.Shared && name.EndsWith("LayerNorm.bias", StringComparison.Ordinal);
        float[] numbers = [.. Enumerable.Range(0, (int)shape.Aggregate(1L, (a, b) => a * b)).Select(_ => zero ? 0.25f : (scale ? 1 : 0) + (float)(random.NextDouble() - 0.5))];
        Weights[name] = (shape, numbers);
    }
}
