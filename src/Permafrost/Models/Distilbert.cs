// DistilBERT: Sanh et al. 2019, "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter".
// Written after Hugging Face transformers 4.30, models/distilbert/modeling_distilbert.py: names, norms, dropouts, head. There are no numbers of theirs to compare with
// yet; the tests hold it to a second implementation from the published definition.
// What differs from BERT: no token types, no pooler, no dropout behind attention, every norm's epsilon is 1e-12, and the head's activation is the layers'.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>TransformerBlock: attention and feed-forward layer, each with its norm behind the residual.</summary>
internal sealed class DistilBertLayer : BertEncoderLayer
{
    private readonly BertConfig config;
    private readonly Linear query;
    private readonly Linear key;
    private readonly Linear value;
    private readonly Linear output;
    private readonly LayerNorm attentionNorm;
    private readonly Linear inner;
    private readonly Linear outer;
    private readonly LayerNorm outputNorm;

    public DistilBertLayer(BertConfig config)
    {
        this.config = config;
        query = Declare("attention.q_lin", BertEncoder.Map(config, config.Width, config.Width));
        key = Declare("attention.k_lin", BertEncoder.Map(config, config.Width, config.Width));
        value = Declare("attention.v_lin", BertEncoder.Map(config, config.Width, config.Width));
        output = Declare("attention.out_lin", BertEncoder.Map(config, config.Width, config.Width));
        attentionNorm = Declare("sa_layer_norm", new LayerNorm(config.Width, config.Epsilon));
        inner = Declare("ffn.lin1", BertEncoder.Map(config, config.Width, config.Inner));
        outer = Declare("ffn.lin2", BertEncoder.Map(config, config.Inner, config.Width));
        outputNorm = Declare("output_layer_norm", new LayerNorm(config.Width, config.Epsilon));
    }

    public override (Tensor Stream, Tensor? Probabilities) Forward(Tensor stream, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        double scale = 1 / Math.Sqrt(config.Width / config.Heads);
        var settings = new AttentionSettings(config.Heads, scale, Causal: false, null, input.AttentionMask, Dropout(dropoutOverride ?? config.AttentionDropout));
        Tensor read = readPositions is null ? stream : stream.Rows(readPositions);
        (Tensor context, Tensor? probabilities) = Attention.Attend(query.Forward(read), key.Forward(stream), value.Forward(stream), settings, input.OutputAttentions);
        stream = attentionNorm.Add(read, output.Forward(context), DropoutDraw.None, ScalarType.Float32).Normed;
        Tensor update = outer.Forward(inner.Forward(stream, config.Activation));
        stream = outputNorm.Add(stream, update, Dropout(dropoutOverride ?? config.HiddenDropout, 1), ScalarType.Float32).Normed;
        if (probabilities is not null) scope.MoveToOuter(probabilities);
        return (scope.MoveToOuter(stream), probabilities);
    }
}

/// <summary>DistilBertModel.</summary>
public sealed class DistilBertModel : BertEncoder
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "distilbert",
        Backbone = config => new DistilBertModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["DistilBertModel"] = config => new DistilBertPretrained(config, head: false),
            ["DistilBertForMaskedLM"] = config => new DistilBertPretrained(config, head: true),
        },
        BasePrefixes = ["distilbert."],
        Buffers = ["embeddings.position_ids"],
        Tied = ("embeddings.word_embeddings.weight", "vocab_projector.weight"),
        HeadPrefixes = ["vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "pre_classifier.", "classifier.", "qa_outputs."],
    };

    /// <summary>Configurations that were published.</summary>
    public static IReadOnlyList<Preset> Presets { get; } =
    [
        new("distilbert-base", "DistilBERT, 6 layers of 768, 12 heads, 512 positions", """
            {"model_type": "distilbert", "architectures": ["DistilBertForMaskedLM"], "n_layers": 6, "dim": 768, "n_heads": 12, "hidden_dim": 3072, "pad_token_id": 0}
            """),
    ];

    private static readonly BertKeys Keys = new(DefaultLayers: 6)
    {
        Width = "dim",
        Layers = "n_layers",
        Heads = "n_heads",
        Inner = "hidden_dim",
        HiddenDropout = "dropout",
        AttentionDropout = "attention_dropout",
        Activation = "activation",
        Epsilon = null,
        TokenTypes = null,
        PadId = 0,
    };

    /// <summary>A model without weights yet: load or initialise them.</summary>
    /// <exception cref="PermafrostException">The configuration holds a value that cannot be.</exception>
    public DistilBertModel(HfConfig hfConfig) : this(hfConfig, new BertConfig(hfConfig, Keys)) { }

    private DistilBertModel(HfConfig hfConfig, BertConfig config)
        : base(hfConfig, config, "transformer.layer", () => new DistilBertLayer(config), hfConfig.Flag("sinusoidal_pos_embds", false) ? Sinusoids : null) { }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; } =
    [
        new("embeddings.word_embeddings.weight", GroupName.Embed),
        new("embeddings.position_embeddings.weight", GroupName.Pos),
        new("embeddings.LayerNorm.*", GroupName.Ln),
        new("transformer.layer.{layer}.attention.*", GroupName.Attn),
        new("transformer.layer.{layer}.sa_layer_norm.*", GroupName.Ln),
        new("transformer.layer.{layer}.ffn.*", GroupName.Ff),
        new("transformer.layer.{layer}.output_layer_norm.*", GroupName.Ln),
    ];

    // Vaswani et al. 2017, section 3.5: sines in the even columns, cosines in the odd ones.
    private static void Sinusoids(Tensor table, Generator random)
    {
        (long rows, long width) = (table.size(0), table.size(1));
        var values = new float[rows * width];
        for (long i = 0; i < values.Length; i++)
        {
            long column = i % width;
            double angle = i / width / Math.Pow(10000, 2 * (column / 2) / (double)width);
            values[i] = (float)(column % 2 == 0 ? Math.Sin(angle) : Math.Cos(angle));
        }
        using var scope = torch.NewDisposeScope();
        table.copy_(Tensors.From(values, rows, width));
    }
}
