// GPT-2: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
// Checked against Hugging Face transformers 4.30, models/gpt2/modeling_gpt2.py: names, masks, positions, tied head, loss.
// What differs: every norm adds what the layer before it computed to the residual stream, in the same pass; attention never writes its probabilities
// unless they are asked for; and the last layer computes only the positions that are read. The token table is only read when ids are given.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>GPT-2's configuration, with the keys of <c>config.json</c> and the defaults of the base model.</summary>
public sealed record Gpt2Config
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be.</exception>
    public Gpt2Config(HfConfig config)
    {
        (VocabSize, Positions) = (config.Int("vocab_size", 50257), config.Int("n_positions", 1024, alias: "max_position_embeddings"));
        Width = config.Int("n_embd", 768, alias: "hidden_size");
        (Layers, Heads) = (config.Int("n_layer", 12, alias: "num_hidden_layers"), config.Int("n_head", 12, alias: "num_attention_heads"));
        Inner = config.OptionalInt("n_inner") ?? 4 * Width;
        (EmbeddingDropout, AttentionDropout, ResidualDropout) = (config.Number("embd_pdrop", 0.1), config.Number("attn_pdrop", 0.1), config.Number("resid_pdrop", 0.1));
        (Epsilon, InitializerRange) = (config.Number("layer_norm_epsilon", 1e-5), config.Number("initializer_range", 0.02));
        (ScaleAttention, ScaleByLayer) = (config.Flag("scale_attn_weights", true), config.Flag("scale_attn_by_inverse_layer_idx", false));
        Activation = Activations.Find(config.Text("activation_function", "gelu_new")!, config.Source);
        TiedHead = config.Flag("tie_word_embeddings", true);
        if (Layers > 10_000 || Width > 1 << 20 || Inner > 1 << 22 || Positions > 1 << 24 || VocabSize > 1 << 26)
            throw new PermafrostException($"{config.Source}: n_layer, n_embd, n_inner, n_positions or vocab_size is beyond anything that exists");
        if (Epsilon is not (> 0 and < 1)) throw new PermafrostException($"{config.Source}: layer_norm_epsilon is {Epsilon}; it must be between 0 and 1");
        foreach (double dropout in new[] { EmbeddingDropout, AttentionDropout, ResidualDropout })
            if (dropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: a dropout probability is {dropout}; it must be at least 0 and below 1");
        if (Width % Heads != 0) throw new PermafrostException($"{config.Source}: n_embd ({Width}) is not a multiple of n_head ({Heads})");
    }

    /// <summary>Number of tokens.</summary>
    public int VocabSize { get; }

    /// <summary>The longest sequence.</summary>
    public int Positions { get; }

    /// <summary>C.</summary>
    public int Width { get; }

    /// <summary>L.</summary>
    public int Layers { get; }

    /// <summary>H.</summary>
    public int Heads { get; }

    /// <summary>Width of the feed-forward layers.</summary>
    public int Inner { get; }

    /// <summary>Dropout on the embeddings.</summary>
    public double EmbeddingDropout { get; }

    /// <summary>Dropout on the attention probabilities.</summary>
    public double AttentionDropout { get; }

    /// <summary>Dropout on what is added to the residual stream.</summary>
    public double ResidualDropout { get; }

    /// <summary>Layer norms' epsilon.</summary>
    public double Epsilon { get; }

    /// <summary>Standard deviation of the initial weights.</summary>
    public double InitializerRange { get; }

    /// <summary>Divide scores by sqrt(D).</summary>
    public bool ScaleAttention { get; }

    /// <summary>Divide scores by the layer's number, counted from 1, too.</summary>
    public bool ScaleByLayer { get; }

    /// <summary>Activation of the feed-forward layers.</summary>
    public Activation Activation { get; }

    /// <summary>Whether the head is the token table.</summary>
    public bool TiedHead { get; }
}

/// <summary>GPT2Attention: causal self-attention.</summary>
internal sealed class Gpt2Attention : Module
{
    private readonly Gpt2Config config;
    private readonly string place;
    private readonly double scale;
    private readonly Conv1D qkv;
    private readonly Conv1D projection;

    public Gpt2Attention(Gpt2Config config, int layer)
    {
        this.config = config;
        place = $"h.{layer}";
        scale = (config.ScaleAttention ? 1 / Math.Sqrt(config.Width / config.Heads) : 1) / (config.ScaleByLayer ? layer + 1 : 1);
        qkv = Declare("c_attn", new Conv1D(config.Width, 3 * config.Width, Initializers.Normal(config.InitializerRange)));
        projection = Declare("c_proj", new Conv1D(config.Width, config.Width, Gpt2Model.ResidualInitializer(config)));
    }

    public (Tensor Output, Tensor? Probabilities) Forward(Tensor x, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        (long C, long H) = (config.Width, config.Heads);
        var settings = new AttentionSettings(H, scale, Causal: true, readPositions, input.AttentionMask, Dropout(dropoutOverride ?? config.AttentionDropout));
        if (input.Cache is { } cache)
        {
            Tensor q = qkv.ForwardPart(x, 0, C);
            (Tensor k, Tensor v) = cache.Append(place, qkv.ForwardPart(x, C, C), qkv.ForwardPart(x, 2 * C, C));
            Tensor places = Scalars.Range(cache.Length, x.size(1), x.device).expand(x.size(0), x.size(1));
            return (projection.Forward(q.CrossAttention(k, v, settings with { Positions = places })), null);
        }
        if (readPositions is not null)
        {
            Tensor queries = qkv.ForwardPart(x.Rows(readPositions), 0, C), keysAndValues = qkv.ForwardPart(x, C, 2 * C);  // (B, K, C), (B, T, 2 C)
            return (projection.Forward(queries.CrossAttention(keysAndValues, settings)), null);
        }
        Tensor joint = qkv.Forward(x);  // (B, T, 3 C)
        if (!input.OutputAttentions) return (projection.Forward(joint.SelfAttention(settings)), null);
        (Tensor context, Tensor? probabilities) = Attention.Attend(joint.Columns(0, C), joint.Columns(C, C), joint.Columns(2 * C, C), settings, wantProbabilities: true);
        return (projection.Forward(context), probabilities);
    }
}

/// <summary>GPT2MLP: the feed-forward layer.</summary>
internal sealed class Gpt2Mlp : Module
{
    private readonly Gpt2Config config;
    private readonly Conv1D expand;
    private readonly Conv1D contract;

    public Gpt2Mlp(Gpt2Config config)
    {
        this.config = config;
        expand = Declare("c_fc", new Conv1D(config.Width, config.Inner, Initializers.Normal(config.InitializerRange)));
        contract = Declare("c_proj", new Conv1D(config.Inner, config.Width, Gpt2Model.ResidualInitializer(config)));
    }

    public Tensor Forward(Tensor x) => contract.Forward(expand.Forward(x, config.Activation));
}

/// <summary>GPT2Block: norm, attention, norm, feed-forward, each around a residual.</summary>
internal sealed class Gpt2Block : Module
{
    private readonly Gpt2Config config;
    private readonly LayerNorm norm1;
    private readonly Gpt2Attention attention;
    private readonly LayerNorm norm2;
    private readonly Gpt2Mlp mlp;

    public Gpt2Block(Gpt2Config config, int layer)
    {
        this.config = config;
        norm1 = Declare("ln_1", new LayerNorm(config.Width, config.Epsilon));
        attention = Declare("attn", new Gpt2Attention(config, layer));
        norm2 = Declare("ln_2", new LayerNorm(config.Width, config.Epsilon));
        mlp = Declare("mlp", new Gpt2Mlp(config));
    }

    /// <summary>The residual stream with what the layer before has computed, as the block's first norm adds it.</summary>
    public Tensor AddUpdate(Tensor stream, Tensor update, double? dropoutOverride) =>
        Segment.Compose(inputs => inputs[0].Plus(inputs[1]), stream, update.FusedDropout(Dropout(dropoutOverride ?? config.ResidualDropout)));

    /// <summary>The residual stream without what the block's own feed-forward layer adds; that is the update, which the next norm adds.</summary>
    public (Tensor Stream, Tensor Update, Tensor? Probabilities) Forward(Tensor stream, Tensor? update, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        double dropout = dropoutOverride ?? config.ResidualDropout;
        // The scope frees what no gradient needs as soon as the block is done.
        using DisposeScope scope = torch.NewDisposeScope();
        (stream, Tensor normed) = norm1.Add(stream, update, Dropout(dropout));
        (Tensor attended, Tensor? probabilities) = attention.Forward(normed, input, readPositions, dropoutOverride);
        if (readPositions is not null) stream = stream.Rows(readPositions);
        (stream, normed) = norm2.Add(stream, attended, Dropout(dropout, 1));
        Tensor next = mlp.Forward(normed);
        if (probabilities is not null) scope.MoveToOuter(probabilities);
        return (scope.MoveToOuter(stream), scope.MoveToOuter(next), probabilities);
    }
}

/// <summary>GPT2Model: GPT-2 without a head.</summary>
public sealed class Gpt2Model : Backbone
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "gpt2",
        Backbone = config => new Gpt2Model(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["GPT2Model"] = config => new Gpt2Pretrained(config, head: false),
            ["GPT2LMHeadModel"] = config => new Gpt2Pretrained(config, head: true),
        },
        BasePrefixes = ["transformer."],
        Buffers = [".attn.bias", ".attn.masked_bias"],
        Tied = ("wte.weight", "lm_head.weight"),
        HeadPrefixes = ["lm_head.", "score.", "multiple_choice_head."],
    };

    /// <summary>Configurations that were published, and small ones.</summary>
    public static IReadOnlyList<Preset> Presets { get; } =
    [
        Preset("gpt2-tiny", 2, 128, 2), Preset("gpt2-mini", 4, 256, 4),
        Preset("gpt2", 12, 768, 12), Preset("gpt2-medium", 24, 1024, 16), Preset("gpt2-large", 36, 1280, 20), Preset("gpt2-xl", 48, 1600, 25),
    ];

    private readonly Gpt2Config config;
    private readonly Embedding tokens;
    private readonly Embedding positions;
    private readonly Gpt2Block[] blocks;
    private readonly LayerNorm finalNorm;

    /// <summary>A model without weights yet: load or initialise them.</summary>
    public Gpt2Model(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new Gpt2Config(hfConfig);
        Traits = new BackboneTraits(config.Width, config.Layers) { LongestInput = config.Positions, Causal = true, Vocabulary = config.VocabSize, GradientCheckpointing = true };
        tokens = Declare("wte", new Embedding(config.VocabSize, config.Width, Initializers.Normal(config.InitializerRange)));
        positions = Declare("wpe", new Embedding(config.Positions, config.Width, Initializers.Normal(config.InitializerRange)));
        blocks = [.. Enumerable.Range(0, config.Layers).Select(layer => Declare($"h.{layer}", new Gpt2Block(config, layer)))];
        finalNorm = Declare("ln_f", new LayerNorm(config.Width, config.Epsilon));
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; } =
    [
        new("wte.weight", GroupName.Embed),
        new("wpe.weight", GroupName.Pos),
        new("h.{layer}.ln_1.*", GroupName.Ln),
        new("h.{layer}.attn.*", GroupName.Attn),
        new("h.{layer}.ln_2.*", GroupName.Ln),
        new("h.{layer}.mlp.*", GroupName.Ff),
        new("ln_f.*", GroupName.Ln),
    ];

    /// <summary>The token table (V, C), which is the head too where it is tied.</summary>
    internal Embedding Tokens => tokens;

    internal Gpt2Config Settings => config;

    /// <summary>The scaled scheme of GPT-2's paper, section 2.3: residual projections start smaller by sqrt(2 L).</summary>
    internal static Initializer ResidualInitializer(Gpt2Config config) => Initializers.Normal(config.InitializerRange / Math.Sqrt(2 * config.Layers));

    private static Preset Preset(string name, int layers, int width, int heads) => new(name, $"GPT-2, {layers} layers of {width}, {heads} heads, 1024 positions",
        """{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"],""" +
        $$""" "n_layer": {{layers}}, "n_embd": {{width}}, "n_head": {{heads}}, "n_positions": 1024, "vocab_size": 50257}""");

    /// <inheritdoc/>
    public override IEnumerable<string> UnusedParameters(BackboneUse use) => use.Vectors ? ["wte.weight"] : [];

    internal override string? TokenTable => "wte.weight";

    /// <inheritdoc/>
    public override Tensor EmbedTokens(Tensor ids) => tokens.Forward(ids);

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        Tensor vectors = Vectors(input.InputIds, input.InputsEmbeds);
        long T = vectors.size(1);
        CheckOutputs(input);
        if (input is { Cache: not null, OutputAttentions: true })
            throw new ArgumentException("with a cache probabilities are not given; ask for them without one", nameof(input));
        if ((input.Cache?.Length ?? 0) + T > config.Positions) throw TooLong(T, config.Positions);
        Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input), vectors);
        return Outputs(outputs, input, config.Layers).Outputs;
    }

    // The last hidden state; the states between the layers and the attention probabilities, where they are wanted.
    private Tensor[] RunLayers(Tensor vectors, ModelInputs input)
    {
        var hiddenStates = new List<Tensor>();
        var attentions = new List<Tensor>();
        double dropout = DropoutOverride ?? config.ResidualDropout;
        Tensor? places = input.PositionIds;
        if (places is null && input.Cache is { } cache) places = Scalars.Range(cache.Length, vectors.size(1), vectors.device).unsqueeze(0);
        Tensor stream = vectors.AddPositions(positions.Weight.Value, places).FusedDropout(Dropout(DropoutOverride ?? config.EmbeddingDropout));
        Tensor? update = null;
        for (int layer = 0; layer < blocks.Length; layer++)
        {
            if (input.OutputHiddenStates)
            {
                if (update is not null) stream = blocks[layer].AddUpdate(stream, update, DropoutOverride);
                update = null;
                hiddenStates.Add(stream);
            }
            Tensor? read = layer == blocks.Length - 1 ? input.ReadPositions : null;
            (stream, update, Tensor? probabilities) = Block(blocks[layer], stream, update, input, read);
            if (probabilities is not null) attentions.Add(probabilities);
        }
        (_, Tensor hidden) = finalNorm.Add(stream, update, Dropout(dropout, 1), ScalarType.Float32);
        if (input.OutputHiddenStates) hiddenStates.Add(hidden);
        return [hidden, .. hiddenStates, .. attentions];
    }

    private (Tensor Stream, Tensor Update, Tensor? Probabilities) Block(Gpt2Block block, Tensor stream, Tensor? update, ModelInputs input, Tensor? read)
    {
        if (!GradientCheckpointing || !training || input.OutputAttentions || input.Cache is not null) return block.Forward(stream, update, input, read, DropoutOverride);
        Tensor[] next = Segment.Checkpoint(inputs =>
        {
            (Tensor nextStream, Tensor nextUpdate, _) = block.Forward(inputs[0]!, inputs[1], new ModelInputs(AttentionMask: inputs[2]), inputs[3], DropoutOverride);
            return [nextStream, nextUpdate];
        }, stream, update, input.AttentionMask, read);
        return (next[0], next[1], null);
    }
}

/// <summary>GPT2Model or GPT2LMHeadModel under Hugging Face's argument and output names.</summary>
public sealed class Gpt2Pretrained : DecoderPretrained
{
    private readonly Gpt2Model model;
    private readonly Linear? untiedHead;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">Whether there is a language-model head.</param>
    public Gpt2Pretrained(HfConfig config, bool head)
    {
        HasHead = head;
        model = Declare(head ? "transformer" : "", new Gpt2Model(config));
        if (head && !model.Settings.TiedHead)
            untiedHead = Declare("lm_head", new Linear(model.Traits.Width, model.Settings.VocabSize, bias: false, Initializers.Normal(model.Settings.InitializerRange)));
    }

    /// <inheritdoc/>
    public override Backbone Backbone => model;

    /// <inheritdoc/>
    public override string Prefix => HasHead ? "transformer." : "";

    internal override LanguageHead? LanguageHead => HasHead ? new LanguageHead(untiedHead?.Weight ?? model.Tokens.Weight, null, hidden => hidden) : null;

    /// <inheritdoc/>
    protected override bool HasHead { get; }

    /// <inheritdoc/>
    protected override string HeadName => "GPT2LMHeadModel";

    /// <inheritdoc/>
    protected override bool TakesTypes => true;

    private protected override ForwardInputs.Bounds Bounds => new(model.Traits.Width, model.Settings.VocabSize, model.Settings.Positions, model.Settings.VocabSize);

    /// <inheritdoc/>
    protected override Tensor Logits(Tensor hidden) => torch.nn.functional.linear(hidden, (untiedHead?.Weight ?? model.Tokens.Weight).Value);
}
