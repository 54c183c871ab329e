// ViT: Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale".
// Checked against Hugging Face transformers 4.30, models/vit/modeling_vit.py: names, norms, classes, losses.
// What differs: the projection of patches is a product; each residual is added by the norm behind it; attention never writes its probabilities unless they are asked for; and
// the last layer computes only the positions that are read. The pooler belongs to the class that reads it, not to the backbone.
// Vectors take the place of projected patches: they stand at the patches' positions, rows 1, 2, ... of the table (row 0 is the class token's), and no class token comes before
// them, as in the reference code of Lu et al. 2021 (fpt.py), which reads the last token of a ViT without its patch projection.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>ViT's configuration, with the keys of <c>config.json</c> and the defaults of the base model.</summary>
public sealed record VitConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be.</exception>
    public VitConfig(HfConfig config)
    {
        Width = config.Int("hidden_size", 768);
        Layers = config.Int("num_hidden_layers", 12);
        Heads = config.Int("num_attention_heads", 12);
        Inner = config.Int("intermediate_size", 3072);
        (ImageHeight, ImageWidth) = config.Pair("image_size", 224);
        (PatchHeight, PatchWidth) = config.Pair("patch_size", 16);
        Channels = config.Int("num_channels", 3);
        QkvBias = config.Flag("qkv_bias", true);
        HiddenDropout = config.Number("hidden_dropout_prob", 0);
        AttentionDropout = config.Number("attention_probs_dropout_prob", 0);
        Epsilon = config.Number("layer_norm_eps", 1e-12);
        InitializerRange = config.Number("initializer_range", 0.02);
        Activation = Activations.Find(config.Text("hidden_act", "gelu")!, config.Source);
        if (Layers > 10_000 || Width > 1 << 20 || Inner > 1 << 22 || Channels > 1 << 16 || ImageHeight > 1 << 15 || ImageWidth > 1 << 15)
            throw new PermafrostException($"{config.Source}: a size (num_hidden_layers, hidden_size, intermediate_size, image_size, ...) is beyond anything that exists");
        if (PatchHeight > ImageHeight || PatchWidth > ImageWidth)
            throw new PermafrostException(
                $"{config.Source}: patch_size ({PatchHeight} by {PatchWidth}) is larger than image_size ({ImageHeight} by {ImageWidth}), which leaves no patch");
        if (Epsilon is not (> 0 and < 1)) throw new PermafrostException($"{config.Source}: layer_norm_eps is {Epsilon}; it must be between 0 and 1");
        if (InitializerRange is not (>= 0 and <= 1)) throw new PermafrostException($"{config.Source}: initializer_range is {InitializerRange}; it must be from 0 to 1");
        foreach (double dropout in new[] { HiddenDropout, AttentionDropout })
            if (dropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: a dropout probability is {dropout}; it must be at least 0 and below 1");
        if (Width % Heads != 0) throw new PermafrostException($"{config.Source}: hidden_size ({Width}) is not a multiple of num_attention_heads ({Heads})");
    }

    /// <summary>C.</summary>
    public int Width { get; }

    /// <summary>L.</summary>
    public int Layers { get; }

    /// <summary>H.</summary>
    public int Heads { get; }

    /// <summary>Width of the feed-forward layers.</summary>
    public int Inner { get; }

    /// <summary>A picture's height, in pixels.</summary>
    public int ImageHeight { get; }

    /// <summary>A picture's width, in pixels.</summary>
    public int ImageWidth { get; }

    /// <summary>A patch's height, in pixels.</summary>
    public int PatchHeight { get; }

    /// <summary>A patch's width, in pixels.</summary>
    public int PatchWidth { get; }

    /// <summary>The number of numbers in a pixel.</summary>
    public int Channels { get; }

    /// <summary>The number of a picture's patches; pixels at the right and lower edge that do not fill one are left out.</summary>
    public int Patches => ImageHeight / PatchHeight * (ImageWidth / PatchWidth);

    /// <summary>Whether queries, keys and values have a bias.</summary>
    public bool QkvBias { get; }

    /// <summary>Dropout on the embeddings, and on what attention and feed-forward layers give.</summary>
    public double HiddenDropout { get; }

    /// <summary>Dropout on the attention probabilities.</summary>
    public double AttentionDropout { get; }

    /// <summary>Layer norms' epsilon.</summary>
    public double Epsilon { get; }

    /// <summary>Standard deviation of the initial weights.</summary>
    public double InitializerRange { get; }

    /// <summary>Activation of the feed-forward layers.</summary>
    public Activation Activation { get; }
}

/// <summary>ViTEmbeddings: the class token and the projected patches, or vectors in the patches' place, with their positions.</summary>
internal sealed class VitEmbeddings : Module
{
    private readonly VitConfig config;
    private readonly Parameter classToken;
    private readonly Parameter positions;
    private readonly PatchProjection patches;

    public VitEmbeddings(VitConfig config)
    {
        this.config = config;
        classToken = Declare("cls_token", [1, 1, config.Width], VitModel.Start(config));
        positions = Declare("position_embeddings", [1, config.Patches + 1, config.Width], VitModel.Start(config));
        patches = Declare(
            "patch_embeddings.projection", new PatchProjection(config.Channels, config.PatchHeight, config.PatchWidth, config.Width, VitModel.Start(config)));
    }

    public Tensor FromPixels(Tensor pixels, double? dropoutOverride)
    {
        Tensor tokens = Segment.Compose(
            inputs => torch.cat([inputs[1].expand(inputs[0].size(0), 1, config.Width), inputs[0].to(ScalarType.Float32)], 1), patches.Forward(pixels), classToken.Value);
        return Drop(tokens.AddPositions(Table, null), dropoutOverride);
    }

    public Tensor FromVectors(Tensor vectors, Tensor? patchNumbers, double? dropoutOverride)
    {
        // Row 0 is the class token's.
        Tensor rows = patchNumbers is null ? Scalars.Range(1, vectors.size(1), vectors.device).unsqueeze(0) : patchNumbers.Plus(1);
        return Drop(vectors.AddPositions(Table, rows), dropoutOverride);
    }

    private Tensor Table => positions.Value.Reshaped(config.Patches + 1, config.Width);

    private Tensor Drop(Tensor tokens, double? dropoutOverride) => tokens.FusedDropout(Dropout(dropoutOverride ?? config.HiddenDropout));
}

/// <summary>ViTAttention: every token sees every token that is no padding.</summary>
internal sealed class VitAttention : Module
{
    private readonly VitConfig config;
    private readonly Linear query;
    private readonly Linear key;
    private readonly Linear value;
    private readonly Linear output;

    public VitAttention(VitConfig config)
    {
        this.config = config;
        query = Declare("attention.query", VitModel.Map(config, config.Width, config.Width, config.QkvBias));
        key = Declare("attention.key", VitModel.Map(config, config.Width, config.Width, config.QkvBias));
        value = Declare("attention.value", VitModel.Map(config, config.Width, config.Width, config.QkvBias));
        output = Declare("output.dense", VitModel.Map(config, config.Width, config.Width));
    }

    public (Tensor Update, Tensor? Probabilities) Forward(Tensor x, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        double scale = 1 / Math.Sqrt(config.Width / config.Heads);
        var settings = new AttentionSettings(config.Heads, scale, Causal: false, null, input.AttentionMask, Dropout(dropoutOverride ?? config.AttentionDropout));
        Tensor read = readPositions is null ? x : x.Rows(readPositions);
        (Tensor context, Tensor? probabilities) = Attention.Attend(query.Forward(read), key.Forward(x), value.Forward(x), settings, input.OutputAttentions);
        return (output.Forward(context), probabilities);
    }
}

/// <summary>ViTLayer: norm, attention, norm, feed-forward layer, each around a residual.</summary>
internal sealed class VitLayer : Module
{
    private readonly VitConfig config;
    private readonly VitAttention attention;
    private readonly Linear inner;
    private readonly Linear outer;
    private readonly LayerNorm normBefore;
    private readonly LayerNorm normAfter;

    public VitLayer(VitConfig config)
    {
        this.config = config;
        attention = Declare("attention", new VitAttention(config));
        inner = Declare("intermediate.dense", VitModel.Map(config, config.Width, config.Inner));
        outer = Declare("output.dense", VitModel.Map(config, config.Inner, config.Width));
        normBefore = Declare("layernorm_before", new LayerNorm(config.Width, config.Epsilon));
        normAfter = Declare("layernorm_after", new LayerNorm(config.Width, config.Epsilon));
    }

    /// <summary>The residual stream with what the layer before has computed, as this layer's first norm adds it.</summary>
    public Tensor AddUpdate(Tensor stream, Tensor update, double? dropoutOverride) =>
        Segment.Compose(inputs => inputs[0].Plus(inputs[1]), stream, update.FusedDropout(Dropout(dropoutOverride ?? config.HiddenDropout)));

    /// <summary>The residual stream without what the layer's own feed-forward layer adds; that is the update, which the next norm adds.</summary>
    public (Tensor Stream, Tensor Update, Tensor? Probabilities) Forward(Tensor stream, Tensor? update, ModelInputs input, Tensor? readPositions, double? dropoutOverride)
    {
        double dropout = dropoutOverride ?? config.HiddenDropout;
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        (stream, Tensor normed) = normBefore.Add(stream, update, Dropout(dropout));
        (Tensor attended, Tensor? probabilities) = attention.Forward(normed, input, readPositions, dropoutOverride);
        if (readPositions is not null) stream = stream.Rows(readPositions);
        (stream, normed) = normAfter.Add(stream, attended, Dropout(dropout, 1));
        Tensor next = outer.Forward(inner.Forward(normed, config.Activation));
        if (probabilities is not null) scope.MoveToOuter(probabilities);
        return (scope.MoveToOuter(stream), scope.MoveToOuter(next), probabilities);
    }
}

/// <summary>
/// ViTModel without its pooler. Of <see cref="ModelInputs.PixelValues"/> it makes a class token and one token for each patch, row by row, so T is patches + 1; of
/// <see cref="ModelInputs.InputsEmbeds"/> one token for each vector, in the patches' places and without a class token. <see cref="ModelInputs.PositionIds"/> are then the patches'
/// numbers from 0.
/// </summary>
public sealed class VitModel : Backbone
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "vit",
        Backbone = config => new VitModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["ViTModel"] = config => new VitPretrained(config, classify: false),
            ["ViTForImageClassification"] = config => new VitPretrained(config, classify: true),
        },
        BasePrefixes = ["vit."],
        HeadPrefixes = ["classifier.", "pooler.", "vit.pooler.", "decoder.", "embeddings.mask_token", "vit.embeddings.mask_token"],
    };

    /// <summary>Configurations that were published.</summary>
    public static IReadOnlyList<Preset> Presets { get; } = [Preset("vit-base", 12, 768, 12), Preset("vit-large", 24, 1024, 16)];

    private readonly VitConfig config;
    private readonly VitEmbeddings embeddings;
    private readonly VitLayer[] layers;
    private readonly LayerNorm finalNorm;

    /// <summary>A model without weights yet: load or initialise them.</summary>
    /// <exception cref="PermafrostException">The configuration holds a value that cannot be.</exception>
    public VitModel(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new VitConfig(hfConfig);
        Traits = new BackboneTraits(config.Width, config.Layers) { LongestInput = config.Patches, GradientCheckpointing = true };
        embeddings = Declare("embeddings", new VitEmbeddings(config));
        layers = [.. Enumerable.Range(0, config.Layers).Select(layer => Declare($"encoder.layer.{layer}", new VitLayer(config)))];
        finalNorm = Declare("layernorm", new LayerNorm(config.Width, config.Epsilon));
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; } =
    [
        new("embeddings.cls_token", GroupName.Embed),
        new("embeddings.position_embeddings", GroupName.Pos),
        new("embeddings.patch_embeddings.projection.*", GroupName.Embed),
        new("encoder.layer.{layer}.attention.*", GroupName.Attn),
        new("encoder.layer.{layer}.intermediate.dense.*", GroupName.Ff),
        new("encoder.layer.{layer}.output.dense.*", GroupName.Ff),
        new("encoder.layer.{layer}.layernorm_before.*", GroupName.Ln),
        new("encoder.layer.{layer}.layernorm_after.*", GroupName.Ln),
        new("layernorm.*", GroupName.Ln),
    ];

    internal VitConfig Settings => config;

    /// <summary>The start values of weights, class token and positions (modeling_vit.py, _init_weights).</summary>
    internal static Initializer Start(VitConfig config) => Initializers.TruncatedNormal(config.InitializerRange);

    /// <summary>A dense layer with ViT's start values: truncated normal weights, no bias.</summary>
    internal static Linear Map(VitConfig config, long inputs, long outputs, bool bias = true) => new(inputs, outputs, bias, Start(config), Initializers.Zeros);

    private static Preset Preset(string name, int layers, int width, int heads) =>
        new(name, $"ViT, {layers} layers of {width}, {heads} heads, pictures of 224 by 224 in 196 patches",
            """{"model_type": "vit", "architectures": ["ViTForImageClassification"], "image_size": 224, "patch_size": 16, "num_channels": 3,""" +
            $$""" "num_hidden_layers": {{layers}}, "hidden_size": {{width}}, "num_attention_heads": {{heads}}, "intermediate_size": {{4 * width}}}""");

    /// <inheritdoc/>
    public override IEnumerable<string> UnusedParameters(BackboneUse use) =>
        use.Vectors ? ["embeddings.cls_token", "embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.projection.bias"] : [];

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        if (input.PixelValues is not null && (input.AttentionMask ?? input.PositionIds ?? input.InputsEmbeds) is not null)
            throw new ArgumentException("pixels come without vectors, mask and positions: a picture has all its patches, one after the other", nameof(input));
        CheckOutputs(input);
        Tensor given = input.PixelValues ?? Vectors(input.InputIds, input.InputsEmbeds);
        if (input.PixelValues is not null) CheckPixels(given);
        else if (given.size(1) > config.Patches) throw TooLong(given.size(1), config.Patches);
        Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input), given);
        return Outputs(outputs, input, config.Layers).Outputs;
    }

    private void CheckPixels(Tensor pixels) => ForwardInputs.CheckPixels(pixels, config.Channels, config.ImageHeight, config.ImageWidth);

    // The last hidden state, normed; the streams before, between and after the layers and the attention probabilities, where they are wanted.
    private Tensor[] RunLayers(Tensor given, ModelInputs input)
    {
        var hiddenStates = new List<Tensor>();
        var attentions = new List<Tensor>();
        Tensor stream = input.PixelValues is not null ? embeddings.FromPixels(given, DropoutOverride) : embeddings.FromVectors(given, input.PositionIds, DropoutOverride);
        Tensor? update = null;
        for (int layer = 0; layer < layers.Length; layer++)
        {
            if (input.OutputHiddenStates)
            {
                if (update is not null) stream = layers[layer].AddUpdate(stream, update, DropoutOverride);
                update = null;
                hiddenStates.Add(stream);
            }
            Tensor? read = layer == layers.Length - 1 ? input.ReadPositions : null;
            (stream, update, Tensor? probabilities) = Layer(layers[layer], stream, update, input, read);
            if (probabilities is not null) attentions.Add(probabilities);
        }
        (stream, Tensor hidden) = finalNorm.Add(stream, update, Dropout(DropoutOverride ?? config.HiddenDropout), ScalarType.Float32);
        if (input.OutputHiddenStates) hiddenStates.Add(stream);
        return [hidden, .. hiddenStates, .. attentions];
    }

    private (Tensor Stream, Tensor Update, Tensor? Probabilities) Layer(VitLayer layer, Tensor stream, Tensor? update, ModelInputs input, Tensor? read)
    {
        if (!GradientCheckpointing || !training || input.OutputAttentions) return layer.Forward(stream, update, input, read, DropoutOverride);
        Tensor[] next = Segment.Checkpoint(inputs =>
        {
            (Tensor nextStream, Tensor nextUpdate, _) = layer.Forward(inputs[0]!, inputs[1], new ModelInputs(AttentionMask: inputs[2]), inputs[3], DropoutOverride);
            return [nextStream, nextUpdate];
        }, stream, update, input.AttentionMask, read);
        return (next[0], next[1], null);
    }
}
