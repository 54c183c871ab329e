using Permafrost.Models;

namespace Permafrost.Tests.Models.Onnx;

/// <summary>Models that cannot be read: one sentence each, which names the file and says what it is.</summary>
public sealed class OnnxRefusalTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_truncated_model_says_so_wherever_it_ends()
    {
        string path = new ToyBert(new OnnxDialect("any")).Save(folder.Path);
        byte[] whole = File.ReadAllBytes(path);
        for (int part = 1; part < 60; part++)
        {
            File.WriteAllBytes(path, whole[..(whole.Length * part / 60)]);
            Assert.Contains("truncated", Refused(path), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void What_is_no_model_says_so()
    {
        new ToyBert(new OnnxDialect("any")).Save(folder.Path);
        var random = new byte[4096];
        new Random(3).NextBytes(random);
        string text = string.Concat(Enumerable.Repeat("This is a text about models. ", 50));
        foreach (byte[] bytes in new[] { System.Text.Encoding.UTF8.GetBytes(text), new byte[512], random, "PK\u0003\u0004 a zip file"u8.ToArray(), [0x08], [0x08, 0x08] })
        {
            string path = folder.Write("model.onnx", bytes);
            Assert.Contains("ONNX model", Refused(path), StringComparison.Ordinal);
        }
        Assert.Contains("empty", Refused(folder.Write("model.onnx", [])), StringComparison.Ordinal);
        Assert.Contains("git lfs pull", Refused(folder.Write("model.onnx", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n")), StringComparison.Ordinal);
    }

    [Fact]
    public void Damaged_bytes_never_end_in_another_error()
    {
        string path = new ToyBert(new OnnxDialect("any") { Numbered = true, Storage = OnnxStorage.Unpacked }).Save(folder.Path);
        byte[] whole = File.ReadAllBytes(path);
        var random = new Random(17);
        int refused = 0;
        for (int trial = 0; trial < 600; trial++)
        {
            byte[] damaged = [.. whole];
            for (int i = 0; i <= trial % 4; i++) damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(path, damaged);
            try
            {
                Load();
            }
            catch (PermafrostException error)
            {
                Assert.Contains(folder.Path, error.Message, StringComparison.Ordinal);
                refused++;
            }
        }
        // Many hit a weight, and are not to be known.
        Assert.InRange(refused, 50, 600);
    }

    [Theory]
    [InlineData("layers", "2 layer(s)", "num_hidden_layers")]
    [InlineData("heads", "heads of 4", "num_attention_heads")]
    [InlineData("activation", "gelu", "hidden_act")]
    [InlineData("epsilon", "epsilon 1E-12", "layer_norm_eps")]
    [InlineData("vocabulary", "40, 2, 24 rows", "vocab_size")]
    [InlineData("positions", "40, 2, 24 rows", "max_position_embeddings")]
    [InlineData("width", "shape [32, 16]", "config.json asks for [64, 16]")]
    public void Another_model_than_the_configuration_says_is_refused(string what, params string[] words)
    {
        var bert = new ToyBert(new OnnxDialect("any"));
        string path = bert.Save(folder.Path), config = bert.Config();
        folder.Write("config.json", what switch
        {
            "layers" => config.Replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", StringComparison.Ordinal),
            "heads" => config.Replace("\"num_attention_heads\": 4", "\"num_attention_heads\": 2", StringComparison.Ordinal),
            "activation" => config.Replace("\"gelu\"", "\"relu\"", StringComparison.Ordinal),
            "epsilon" => config.Replace("1e-12", "1e-5", StringComparison.Ordinal),
            "vocabulary" => config.Replace("\"vocab_size\": 40", "\"vocab_size\": 41", StringComparison.Ordinal),
            "positions" => config.Replace("\"max_position_embeddings\": 24", "\"max_position_embeddings\": 512", StringComparison.Ordinal),
            _ => config.Replace("\"intermediate_size\": 32", "\"intermediate_size\": 64", StringComparison.Ordinal),
        });
        string said = Refused(what == "width" ? folder.Path : path);
        Assert.All(words, word => Assert.Contains(word, said, StringComparison.Ordinal));
    }

    [Fact]
    public void Another_family_than_BERT_is_refused()
    {
        string path = new ToyBert(new OnnxDialect("any")).Save(folder.Path);
        folder.Write("config.json", """{"model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 32, "vocab_size": 40}""");
        Assert.Contains("gpt2", Refused(path), StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_configuration_or_with_a_file_for_a_folder_it_says_what_is_missing()
    {
        string path = new ToyBert(new OnnxDialect("any")).Save(folder.Path);
        Assert.Contains("name its folder", Refusal.Of(path, () => BackboneSource.Resolve(path)), StringComparison.Ordinal);
        File.Delete(folder["config.json"]);
        Refusal.Of(folder["config.json"], Load);
    }

    [Fact]
    public void Weights_beside_the_model_must_be_there_whole_and_in_its_folder()
    {
        string path = new ToyBert(new OnnxDialect("any") { Storage = OnnxStorage.External }).Save(folder.Path);
        string beside = folder[OnnxBuilder.Weights];
        byte[] weights = File.ReadAllBytes(beside);
        File.WriteAllBytes(beside, weights[..^100]);
        Assert.Contains("truncated", Refused(beside), StringComparison.Ordinal);
        File.Delete(beside);
        Assert.Contains("is not there", Refused(beside), StringComparison.Ordinal);
        byte[] model = File.ReadAllBytes(path);
        byte[] name = System.Text.Encoding.UTF8.GetBytes(OnnxBuilder.Weights);
        foreach (string elsewhere in new[] { "/etc/passwd/////", "../../etc/passwd", "a/../../b/c/ddd/" })
        {
            byte[] reaching = [.. model];
            for (int at; (at = reaching.AsSpan().IndexOf(name)) >= 0;) System.Text.Encoding.UTF8.GetBytes(elsewhere.PadRight(name.Length)[..name.Length]).CopyTo(reaching, at);
            File.WriteAllBytes(path, reaching);
            Assert.Contains("no file of the model's folder", Refused(path), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("DequantizeLinear")]
    [InlineData("MatMulInteger")]
    [InlineData("DynamicQuantizeLinear")]
    [InlineData("QLinearMatMul")]
    [InlineData("an int8 matrix")]
    public void A_quantised_model_is_called_quantised(string how)
    {
        string path = Graph(builder =>
        {
            builder.Initializer("w_quantized", 3, [4, 4], new byte[16]);
            builder.Initializer("scale", 1, [], OnnxBuilder.Bytes(0.1f));
            if (how != "an int8 matrix") builder.Node(how, ["w_quantized", "scale"], "w");
        });
        string said = Refused(path);
        Assert.Contains("is quantised", said, StringComparison.Ordinal);
        if (how != "an int8 matrix") Assert.Contains(how, said, StringComparison.Ordinal);
    }

    [Fact]
    public void A_graph_of_something_else_is_no_encoder()
    {
        string path = Graph(builder =>
        {
            builder.Initializer("w", 1, [4, 4], new byte[64]);
            builder.Initializer("b", 1, [4], new byte[16]);
            builder.Node("Relu", [builder.Node("Add", [builder.Node("MatMul", ["x", "w"]), "b"])], "y");
        });
        Assert.Contains("not the graph of a BERT encoder", Refused(path), StringComparison.Ordinal);
        path = Graph(builder => builder.Node("EmbedLayerNormalization", ["x"], "y", "com.microsoft"));
        Assert.Contains("EmbedLayerNormalization", Refused(path), StringComparison.Ordinal);
    }

    [Fact]
    public void Two_tables_or_one_that_was_computed_away_are_not_BERTs()
    {
        Assert.Contains("adds 2 embedding tables", Refused(Graph(builder => Embeddings(builder, folded: false))), StringComparison.Ordinal);
        Assert.Contains("computed away", Refused(Graph(builder => Embeddings(builder, folded: true))), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("negative", "a negative size")]
    [InlineData("huge", "of a size that cannot be")]
    [InlineData("short", "needs 64 bytes, but has 60")]
    [InlineData("dimensions", "more than 16 dimensions")]
    [InlineData("twice", "is there twice")]
    [InlineData("unmade", "uses the value 'nobody'")]
    [InlineData("again", "is made twice")]
    [InlineData("itself", "calls itself")]
    [InlineData("sparse", "sparse")]
    public void What_a_model_says_of_itself_must_be_possible(string how, string words)
    {
        string path = Graph(builder =>
        {
            switch (how)
            {
                case "negative": builder.Initializer("w", 1, [-4, 4], new byte[64]); break;
                case "huge": builder.Initializer("w", 1, [1L << 40, 1L << 40], new byte[64]); break;
                case "short": builder.Initializer("w", 1, [4, 4], new byte[60]); break;
                case "dimensions": builder.Initializer("w", 1, [.. Enumerable.Repeat(1L, 17)], new byte[4]); break;
                case "twice":
                    builder.Initializer("w", 1, [4, 4], new byte[64]);
                    builder.Initializer("w", 1, [4, 4], new byte[64]);
                    break;
                case "unmade": builder.Node("Relu", ["nobody"]); break;
                case "again":
                    builder.Node("Relu", ["x"], "y");
                    builder.Node("Relu", ["x"], "y");
                    break;
                case "itself":
                    builder.Function("F", ["a"], ["b"], OnnxBuilder.NodeBytes("F", ["a"], ["b"], "local"));
                    builder.Node("F", ["x"], "y", "local");
                    break;
                default: builder.Sparse(); break;
            }
        });
        Assert.Contains(words, Refused(path), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(40, 40, true)]
    [InlineData(40, 41, false)]
    [InlineData(40, 30, true)]  // a table padded to a multiple of 8
    [InlineData(45, 39, false)]
    [InlineData(400, 39, false)]
    public void A_vocabulary_belongs_to_its_table(int rows, int tokens, bool fits)
    {
        var bert = new ToyBert(new OnnxDialect("any"));
        bert.Save(folder.Path);
        folder.Write("config.json", bert.Config().Replace("\"vocab_size\": 40", $"\"vocab_size\": {rows}", StringComparison.Ordinal));
        folder.Write("vocab.txt", string.Join('\n', new[] { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" }.Concat(Enumerable.Range(0, tokens - 5).Select(i => $"word{i}"))) + "\n");
        using var weights = FrozenWeights.Load(folder.Path);
        if (fits) Assert.Equal(tokens, weights.LoadTokenizer()!.VocabularySize);
        else Refusal.Of(folder.Path, () => weights.LoadTokenizer());
    }

    private string Graph(Action<OnnxBuilder> write)
    {
        folder.Write("config.json", new ToyBert(new OnnxDialect("any")).Config());
        string path = folder["model.onnx"];
        using var builder = new OnnxBuilder(path, 17);
        builder.Input("x", 1, "batch", "4");
        builder.Input("input_ids", 7, "batch", "sequence");
        builder.Input("segments", 7, "batch", "sequence");
        write(builder);
        builder.Save();
        return path;
    }

    private static void Embeddings(OnnxBuilder builder, bool folded)
    {
        builder.Initializer("words", 1, [40, 16], new byte[40 * 16 * 4]);
        builder.Initializer("types", 1, [2, 16], new byte[2 * 16 * 4]);
        builder.Initializer("positions", 1, [1, 8, 16], new byte[8 * 16 * 4]);
        builder.Initializer("scale", 1, [16], new byte[64]);
        builder.Initializer("shift", 1, [16], new byte[64]);
        string sum = builder.Node("Add", [builder.Node("Gather", ["words", "input_ids"]), builder.Node("Gather", ["types", "segments"])]);
        if (folded) sum = builder.Node("Add", [sum, "positions"]);
        builder.Node("LayerNormalization", [sum, "scale", "shift"], "y");
    }

    private string Refused(string named) => Refusal.Of(named, Load);

    private void Load()
    {
        using var weights = FrozenWeights.Load(folder.Path);
        using Backbone backbone = weights.CreateBackbone();
    }
}
