// Longformer: Beltagy et al. 2020, "Longformer: The Long-Document Transformer".
// Checked against Hugging Face transformers 4.30, models/longformer/modeling_longformer.py: names, windows, global tokens, positions, padding, heads, losses.
// What differs: a sequence is not padded to a multiple of the window, so that every length up to the last position fits; windows and global keys are one attention, and global
// queries a second one, neither of which keeps its probabilities. Where those are asked for they are computed beside it, in blocks of half a window, in Hugging Face's layout.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;
using static TorchSharp.torch.nn.functional;

namespace Permafrost.Models;

/// <summary>Longformer's configuration: the keys of <c>config.json</c> that are BERT's, with its defaults, and the windows.</summary>
public sealed record LongformerConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be, such as an odd window, or windows for another number of layers.</exception>
    public LongformerConfig(HfConfig config)
    {
        Encoder = new BertConfig(config, new BertKeys { PadId = 1, PositionsBehindPadding = true });
        Windows = config.Ints("attention_window", 512, Encoder.Layers);
        foreach (int window in Windows)
            if (window % 2 != 0 || window > 1 << 24)
                throw new PermafrostException($"{config.Source}: attention_window holds {window}; a window has two equal halves, so it must be even, and at most {1 << 24}");
        if (PadId >= Encoder.VocabSize) throw new PermafrostException($"{config.Source}: pad_token_id is {PadId}, and there are vocab_size = {Encoder.VocabSize} tokens");
    }

    /// <summary>What Longformer shares with BERT's encoder.</summary>
    public BertConfig Encoder { get; }

    /// <summary>For each layer how many keys a query sees beside its own, half of them on each side.</summary>
    public IReadOnlyList<int> Windows { get; }

    /// <summary>The id of padding, and of its position; the first token's position is the next.</summary>
    public int PadId => Encoder.PadId!.Value;
}

/// <summary>Which tokens may be seen, and by whom.</summary>
/// <param name="Tokens">(B, T) Boolean, false for padding; null when nothing is padded.</param>
/// <param name="Global">(B, T) Boolean, true for tokens that see all and are seen by all; null for none.</param>
internal sealed record LongformerMask(Tensor? Tokens, Tensor? Global)
{
    public LongformerMask At(Tensor? positions) => positions is null ? this : new(Tokens?.gather(1, positions), Global?.gather(1, positions));
}

/// <summary>Where the global tokens stand among T tokens; G is the most that a row has.</summary>
/// <param name="Places">(B, G) int64: where each stands; 0 where a row has fewer.</param>
/// <param name="Absent">(B, G) Boolean: where a row has fewer.</param>
/// <param name="Rows">(N) int64: of all global tokens, the number among B T tokens.</param>
/// <param name="Slots">(N) int64: the same tokens' numbers among B G places.</param>
internal sealed record LongformerGlobals(Tensor Places, Tensor Absent, Tensor Rows, Tensor Slots)
{
    /// <summary>The global tokens of flags (B, T); null where there are none.</summary>
    public static LongformerGlobals? Of(Tensor? flags)
    {
        if (flags is null) return null;
        (long B, long T) = (flags.size(0), flags.size(1));
        bool[] given = flags.ToArray<bool>();
        long[] rows = [.. Enumerable.Range(0, given.Length).Where(i => given[i]).Select(i => (long)i)];
        if (rows.Length == 0) return null;
        var counts = new long[B];
        long[] ranks = [.. rows.Select(row => counts[row / T]++)];
        long G = counts.Max();
        long[] slots = [.. rows.Select((row, i) => row / T * G + ranks[i])];
        var places = new long[B * G];
        bool[] absent = [.. Enumerable.Repeat(true, places.Length)];
        for (int i = 0; i < rows.Length; i++) (places[slots[i]], absent[slots[i]]) = (rows[i] % T, false);
        Device device = flags.device;
        return new(Tensors.From(places, B, G).to(device), Tensors.From(absent, B, G).to(device), Tensors.From(rows).to(device), Tensors.From(slots).to(device));
    }
}

/// <summary>What a layer gives.</summary>
/// <param name="Stream">(B, T, C), or (B, K, C) where positions are read.</param>
/// <param name="Local">(B, H, T, G + window + 1): what each token sees of the global tokens, and of its window; null unless asked for.</param>
/// <param name="Global">(B, H, S, G): what the global tokens see, S being T rounded up to a multiple of the widest window; null unless asked for.</param>
internal readonly record struct LongformerResult(Tensor Stream, Tensor? Local, Tensor? Global);

/// <summary>LongformerSelfAttention: every token sees its window and the global tokens; those see every token, through maps of their own.</summary>
internal sealed class LongformerSelfAttention : Module
{
    private readonly BertConfig config;
    private readonly int half;
    private readonly int widest;
    private readonly double scale;
    private readonly Linear query;
    private readonly Linear key;
    private readonly Linear value;
    private readonly Linear queryGlobal;
    private readonly Linear keyGlobal;
    private readonly Linear valueGlobal;

    public LongformerSelfAttention(LongformerConfig config, int layer)
    {
        this.config = config.Encoder;
        half = config.Windows[layer] / 2;
        widest = config.Windows.Max();
        scale = 1 / Math.Sqrt(this.config.Width / this.config.Heads);
        Linear Map(string name) => Declare(name, BertEncoder.Map(this.config, this.config.Width, this.config.Width));
        (query, key, value) = (Map("query"), Map("key"), Map("value"));
        (queryGlobal, keyGlobal, valueGlobal) = (Map("query_global"), Map("key_global"), Map("value_global"));
    }

    public LongformerResult Forward(Tensor x, LongformerMask mask, bool outputAttentions, Tensor? readPositions, double? dropoutOverride)
    {
        double dropout = dropoutOverride ?? config.AttentionDropout;
        Tensor asking = readPositions is null ? x : x.Rows(readPositions);
        LongformerMask asked = mask.At(readPositions);
        Tensor q = query.Forward(asking), k = key.Forward(x), v = value.Forward(x);
        var near = new AttentionSettings(config.Heads, scale, Causal: false, readPositions, mask.Tokens, Dropout(dropout)) { Before = half, After = half, SeenByAll = mask.Global };
        Tensor context = q.CrossAttention(k, v, near);
        // Hugging Face's padding sees nothing.
        if (asked.Tokens is { } tokens) context = Segment.Compose(inputs => inputs[0].masked_fill(tokens.logical_not().unsqueeze(2), 0.Hold()), context);
        LongformerGlobals? globals = LongformerGlobals.Of(asked.Global);
        Tensor? seen = null;
        if (globals is not null)
        {
            Tensor qg = queryGlobal.Forward(asking.Rows(globals.Places)), kg = keyGlobal.Forward(x), vg = valueGlobal.Forward(x);
            Tensor wide = qg.CrossAttention(kg, vg, new AttentionSettings(config.Heads, scale, Causal: false, null, mask.Tokens, Dropout(dropout, 1)));
            context = Segment.Compose(inputs => Put(inputs[0], inputs[1], globals), context, wide);
            if (outputAttentions) seen = Segment.Compose(inputs => SeenByGlobals(inputs[0], inputs[1], mask.Tokens, globals), qg, kg);
        }
        Tensor? local = outputAttentions ? Segment.Compose(inputs => Local(inputs[0], inputs[1], mask, globals), q, k) : null;
        return new(context, local, seen);
    }

    // The context of the global tokens takes its place among the others'.
    private static Tensor Put(Tensor context, Tensor wide, LongformerGlobals globals)
    {
        long C = context.size(2);
        return context.reshape(-1, C).index_copy(0, globals.Rows, wide.reshape(-1, C).index_select(0, globals.Slots)).view(context.shape);
    }

    // (B, H, T, G + 2 half + 1): a global token counts among the first G only.
    private Tensor Local(Tensor q, Tensor k, LongformerMask mask, LongformerGlobals? globals)
    {
        (long B, long T, long H, long D) = (q.size(0), q.size(1), config.Heads, config.Width / config.Heads);
        long blocks = (T + half - 1) / half, padded = blocks * half, near = 3L * half;
        Tensor queries = Split(q).Times(scale), keys = Split(k);
        // A block of half a window's queries meets the block of keys before it, its own and the next; of those each query sees a band.
        Tensor own = pad(queries, [0, 0, 0, padded - T]).view(B, H, blocks, half, D);
        Tensor around = pad(keys, [0, 0, half, padded - T + half]).unfold(2, near, half);  // (B, H, blocks, D, near)
        Tensor scores = own.matmul(around).contiguous();
        Tensor band = scores.as_strided([B, H, blocks, half, 2 * half + 1], [H * blocks * half * near, blocks * half * near, half * near, near + 1, 1])
            .reshape(B, H, padded, 2 * half + 1).narrow(2, 0, T);
        Tensor seen = mask.Tokens ?? torch.ones([B, T], ScalarType.Bool, q.device);
        if (mask.Global is { } global) seen = seen.logical_and(global.logical_not());
        Tensor hidden = pad(seen.to(ScalarType.Float32), [half, half]).unfold(1, 2 * half + 1, 1).eq(0.Hold());  // (B, T, 2 half + 1)
        band = band.masked_fill(hidden.unsqueeze(1), AttentionMask.Hidden.Hold());
        if (globals is not null)
        {
            Tensor first = queries.matmul(Split(k.gather(1, globals.Places.unsqueeze(2).expand(-1, -1, k.size(2)))).transpose(2, 3));
            band = torch.cat([first.masked_fill(globals.Absent.view(B, 1, 1, -1), AttentionMask.Hidden.Hold()), band], -1);
        }
        Tensor probabilities = softmax(band, -1);
        if (mask.Tokens is { } tokens) probabilities = probabilities.masked_fill(tokens.logical_not().view(B, 1, T, 1), 0.Hold());
        return mask.Global is { } rows ? probabilities.masked_fill(rows.view(B, 1, T, 1), 0.Hold()) : probabilities;
    }

    // (B, H, S, G), as Hugging Face has it: the sequence with its padding, and where a row has fewer global tokens, all alike.
    private Tensor SeenByGlobals(Tensor q, Tensor k, Tensor? tokens, LongformerGlobals globals)
    {
        (long B, long T) = (k.size(0), k.size(1));
        long padded = (T + widest - 1) / widest * widest;
        Tensor probabilities = Attention.Probabilities(Split(q), Split(k), null, tokens is null ? null : AttentionMask.Padding(tokens), scale);  // (B, H, G, T)
        return pad(probabilities, [0, padded - T]).masked_fill(globals.Absent.view(B, 1, -1, 1), (1.0 / padded).Hold()).transpose(2, 3);
    }

    // (B, H, T, D).
    private Tensor Split(Tensor x) => x.to(ScalarType.Float32).view(x.size(0), x.size(1), config.Heads, config.Width / config.Heads).transpose(1, 2);
}

/// <summary>LongformerLayer: attention and feed-forward layer, each with its norm behind the residual, as in <see cref="BertLayer"/>.</summary>
internal sealed class LongformerLayer : Module
{
    private readonly LongformerSelfAttention attention;
    private readonly BertResidual attended;
    private readonly BertIntermediate intermediate;
    private readonly BertResidual output;

    public LongformerLayer(LongformerConfig config, int layer)
    {
        attention = Declare("attention.self", new LongformerSelfAttention(config, layer));
        attended = Declare("attention.output", new BertResidual(config.Encoder, config.Encoder.Width));
        intermediate = Declare("intermediate", new BertIntermediate(config.Encoder));
        output = Declare("output", new BertResidual(config.Encoder, config.Encoder.Inner));
    }

    public LongformerResult Forward(Tensor stream, LongformerMask mask, bool outputAttentions, Tensor? readPositions, double? dropoutOverride)
    {
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        (Tensor context, Tensor? local, Tensor? global) = attention.Forward(stream, mask, outputAttentions, readPositions, dropoutOverride);
        stream = attended.Forward(context, readPositions is null ? stream : stream.Rows(readPositions), dropoutOverride);
        stream = output.Forward(intermediate.Forward(stream), stream, dropoutOverride);
        if (local is not null) scope.MoveToOuter(local);
        if (global is not null) scope.MoveToOuter(global);
        return new(scope.MoveToOuter(stream), local, global);
    }
}

/// <summary>
/// LongformerModel without its pooler. Positions are rows of their table, as Hugging Face counts them: the first token's is the pad id + 1; of ids that are padding it is the pad
/// id, and they do not count. <see cref="ModelInputs.GlobalAttentionMask"/> tells the tokens that see all and are seen by all; without it, as in an adapted model, there are none.
/// </summary>
public sealed class LongformerModel : Backbone
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "longformer",
        Backbone = config => new LongformerModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["LongformerModel"] = config => new LongformerPretrained(config, head: false),
            ["LongformerForMaskedLM"] = config => new LongformerPretrained(config, head: true),
        },
        BasePrefixes = ["longformer."],
        Buffers = ["embeddings.position_ids", "embeddings.token_type_ids"],
        Tied = ("embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
        OldEndings = [("lm_head.bias", "lm_head.decoder.bias")],
        HeadPrefixes = ["lm_head.", "pooler.", "longformer.pooler.", "classifier.", "qa_outputs."],
    };

    /// <summary>Configurations that were published.</summary>
    public static IReadOnlyList<Preset> Presets { get; } =
    [
        Preset("longformer-base-4096", 12, 768, 12), Preset("longformer-large-4096", 24, 1024, 16),
    ];

    private readonly LongformerConfig config;
    private readonly BertEmbeddings embeddings;
    private readonly LongformerLayer[] layers;

    /// <summary>A model without weights yet: load or initialise them.</summary>
    public LongformerModel(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new LongformerConfig(hfConfig);
        BertConfig encoder = config.Encoder;
        Traits = new BackboneTraits(encoder.Width, encoder.Layers) { LongestInput = encoder.LongestInput, Vocabulary = encoder.VocabSize, GradientCheckpointing = true };
        embeddings = Declare("embeddings", new BertEmbeddings(encoder));
        layers = [.. Enumerable.Range(0, encoder.Layers).Select(layer => Declare($"encoder.layer.{layer}", new LongformerLayer(config, layer)))];
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups => BertModel.AllGroups;  // the maps of global tokens lie in attention.self

    /// <summary>The token table (V, C), which the prediction head shares.</summary>
    internal Embedding Tokens => embeddings.Words;

    internal LongformerConfig Settings => config;

    private static Preset Preset(string name, int layers, int width, int heads) => new(
        name, $"Longformer, {layers} layers of {width}, {heads} heads, windows of 512, 4096 positions",
        """{"model_type": "longformer", "architectures": ["LongformerForMaskedLM"],""" +
        $$""" "num_hidden_layers": {{layers}}, "hidden_size": {{width}}, "num_attention_heads": {{heads}}, "intermediate_size": {{4 * width}}, "attention_window": 512,""" +
        """ "max_position_embeddings": 4098, "type_vocab_size": 1, "vocab_size": 50265, "layer_norm_eps": 1e-05, "pad_token_id": 1}""");

    /// <summary>The token table where vectors are fed; and the maps of global tokens, since who adapts a model names none.</summary>
    public override IEnumerable<string> UnusedParameters(BackboneUse use)
    {
        if (use.Vectors) yield return "embeddings.word_embeddings.weight";
        for (int layer = 0; layer < layers.Length; layer++)
            foreach (string map in new[] { "query_global", "key_global", "value_global" })
                foreach (string part in new[] { "weight", "bias" }) yield return $"encoder.layer.{layer}.attention.self.{map}.{part}";
    }

    internal override string? TokenTable => "embeddings.word_embeddings.weight";

    /// <inheritdoc/>
    public override Tensor EmbedTokens(Tensor ids) => Tokens.Forward(ids);

    /// <summary>(B, T) int64: where ids (B, T) stand, without padding; padding itself stands at the pad id.</summary>
    internal Tensor PositionsOf(Tensor ids) => RobertaModel.PositionsFrom(ids, config.PadId);

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        Tensor vectors = Vectors(input.InputIds, input.InputsEmbeds);
        CheckOutputs(input);
        long T = vectors.size(1);
        Tensor? positions = input.PositionIds ?? (input.InputsEmbeds is null ? PositionsOf(input.InputIds!) : null);
        BertConfig encoder = config.Encoder;
        if ((positions?.max().Integer() ?? config.PadId + T) >= encoder.Positions) throw TooLong(T, encoder.LongestInput);
        Tensor? tokens = input.AttentionMask?.ne(0.Hold()), global = input.GlobalAttentionMask?.ne(0.Hold());
        if (global is not null && tokens is not null) global = global.logical_and(tokens);
        if (global?.any().Integer() == 0) global = null;

        Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input with { PositionIds = positions }, new LongformerMask(tokens, global)), vectors);
        (ModelOutputs made, Tensor[] globalAttentions) = Outputs(outputs, input, layers.Length);
        return made with { GlobalAttentions = globalAttentions };
    }

    // The last hidden state; the states before, between and after the layers and the attention probabilities, where they are wanted.
    private Tensor[] RunLayers(Tensor vectors, ModelInputs input, LongformerMask mask)
    {
        var hiddenStates = new List<Tensor>();
        List<Tensor> attentions = [], seen = [];
        Tensor stream = embeddings.Forward(vectors, input, DropoutOverride);
        for (int layer = 0; layer < layers.Length; layer++)
        {
            if (input.OutputHiddenStates) hiddenStates.Add(stream);
            Tensor? read = layer == layers.Length - 1 ? input.ReadPositions : null;
            (stream, Tensor? local, Tensor? global) = Layer(layers[layer], stream, mask, input.OutputAttentions, read);
            if (local is not null) attentions.Add(local);
            if (global is not null) seen.Add(global);
        }
        if (input.OutputHiddenStates) hiddenStates.Add(stream);
        return [stream, .. hiddenStates, .. attentions, .. seen];
    }

    private LongformerResult Layer(LongformerLayer layer, Tensor stream, LongformerMask mask, bool outputAttentions, Tensor? read)
    {
        if (!GradientCheckpointing || !training || outputAttentions) return layer.Forward(stream, mask, outputAttentions, read, DropoutOverride);
        Tensor[] next = Segment.Checkpoint(
            inputs => [layer.Forward(inputs[0]!, new LongformerMask(inputs[1], inputs[2]), outputAttentions: false, inputs[3], DropoutOverride).Stream],
            stream, mask.Tokens, mask.Global, read);
        return new(next[0], null, null);
    }
}
