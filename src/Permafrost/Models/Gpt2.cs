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
    private readonly double scale;
    private readonly Conv1D qkv;
    private readonly Conv1D projection;

    public Gpt2Attention(Gpt2Config config, int layer)
    {
        this.config = config;
        scale = (config.ScaleAttention ? 1 / Math.Sqrt(config.Width / config.Heads) : 1) / (config.ScaleByLayer ? layer + 1 : 1);
        qkv = Declare("c_attn", new Conv1D(config.Width, 3 * config.Width, Initializers.Normal(config.InitializerRange)));
        projection = Declare("c_proj", new Conv1D(config.Width, config.Width, Gpt2Model.ResidualInitializer(config)));
    }

    public (Tensor Output, Tensor? Probabilities) Forward(Tensor x, BackboneInput input, Tensor? readPositions, double? dropoutOverride)
    {
        (long C, long H) = (config.Width, config.Heads);
        var settings = new AttentionSettings(H, scale, Causal: true, readPositions, input.AttentionMask, Dropout(dropoutOverride ?? config.AttentionDropout));
        if (readPositions is not null)
        {
            Tensor queries = qkv.ForwardPart(x.Rows(readPositions), 0, C), keysAndValues = qkv.ForwardPart(x, C, 2 * C);  // (B, K, C), (B, T, 2 C)
            return (projection.Forward(queries.CrossAttention(keysAndValues, settings)), null);
        }
        Tensor joint = qkv.Forward(x);  // (B, T, 3 C)
        if (!input.WantAttentions) return (projection.Forward(joint.SelfAttention(settings)), null);
        Tensor probabilities = Segment.Compose(inputs => Probabilities(inputs[0], input.AttentionMask), joint);  // (B, H, T, T)
        Tensor context = Segment.Compose(inputs => Context(inputs[0], inputs[1], settings.Dropout), joint, probabilities);  // (B, T, C)
        return (projection.Forward(context), probabilities);
    }

    private Tensor[] Heads(Tensor joint)
    {
        (long B, long T, long H) = (joint.size(0), joint.size(1), config.Heads);
        return joint.view(B, T, 3, H, config.Width / H).permute(2, 0, 3, 1, 4).unbind(0);  // 3 times (B, H, T, D)
    }

    private Tensor Probabilities(Tensor joint, Tensor? mask)
    {
        Tensor[] heads = Heads(joint);
        long T = joint.size(1);
        return Attention.Probabilities(heads[0], heads[1], T > 1 ? AttentionMask.Causal(T, joint.device) : null, mask is null ? null : AttentionMask.Padding(mask), scale);
    }

    private Tensor Context(Tensor joint, Tensor probabilities, DropoutDraw dropout)
    {
        Tensor dropped = dropout.Active ? probabilities * dropout.AttentionFactors(joint.size(0), config.Heads, joint.size(1), joint.size(1), joint.device) : probabilities;
        return dropped.matmul(Heads(joint)[2]).transpose(1, 2).reshape(joint.size(0), joint.size(1), config.Width);
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
        Segment.Compose(inputs => inputs[0] + inputs[1], stream, update.FusedDropout(Dropout(dropoutOverride ?? config.ResidualDropout)));

    /// <summary>The residual stream without what the block's own feed-forward layer adds; that is the update, which the next norm adds.</summary>
    public (Tensor Stream, Tensor Update, Tensor? Probabilities) Forward(Tensor stream, Tensor? update, BackboneInput input, Tensor? readPositions, double? dropoutOverride)
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
        tokens = Declare("wte", new Embedding(config.VocabSize, config.Width, Initializers.Normal(config.InitializerRange)));
        positions = Declare("wpe", new Embedding(config.Positions, config.Width, Initializers.Normal(config.InitializerRange)));
        blocks = [.. Enumerable.Range(0, config.Layers).Select(layer => Declare($"h.{layer}", new Gpt2Block(config, layer)))];
        finalNorm = Declare("ln_f", new LayerNorm(config.Width, config.Epsilon));
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override int Width => config.Width;

    /// <inheritdoc/>
    public override int Layers => config.Layers;

    /// <inheritdoc/>
    public override int? MaxPositions => config.Positions;

    /// <inheritdoc/>
    public override bool Causal => true;

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

    /// <inheritdoc/>
    public override IEnumerable<string> UnusedParameters(bool vectors) => vectors ? ["wte.weight"] : [];

    /// <inheritdoc/>
    public override Tensor EmbedTokens(Tensor ids) => tokens.Forward(ids);

    /// <inheritdoc/>
    public override long TrainingBytes(long batch, long tokens, int firstLayer, long read)
    {
        (long C, long F, long a) = (config.Width, config.Inner, ActivationType.ElementBytes());
        bool Trains(GroupName group) => NamedParameters().Any(p => GroupOf(p.Name).Group == group && p.Parameter.Layout != MatrixLayout.None && p.Parameter.IsTrained);
        // Kept for each token: the stream before attention in float32; queries, keys and values. A product whose weight trains keeps its input too.
        long keys = 4 * C + 3 * a * C + (Trains(GroupName.Attn) ? a * C : 0);
        // And, in the last layer only where it is read, as its queries: the stream before the feed-forward, attention's output, the activation's slope.
        long rest = 4 * C + a * (C + F) + (Trains(GroupName.Ff) ? a * (C + F) : 0);
        // What one layer has in its hands on the way back.
        long working = 4 * C * 4 + a * (3 * C + 3 * F), lastWorking = 4 * C * 4 + a * 4 * C;
        long layers = config.Layers - firstLayer, full = Math.Max(0, layers - 1), last = layers > 0 ? tokens * (keys - a * C) + read * (a * C + rest + working) : 0;
        long kept = GradientCheckpointing
            ? layers * (4 * C + a * C) * tokens + Math.Max(full > 0 ? (keys + rest) * tokens : 0, last)  // what flows between layers, and one layer at a time
            : full * (keys + rest) * tokens + last;
        // A weight's packed copy until backward.
        long packed = a == 2 ? a * NamedParameters().Where(p => p.Parameter.Layout != MatrixLayout.None && p.Parameter.IsTrained).Sum(p => p.Parameter.Elements) : 0;
        return batch * (kept + tokens * (4 * 4 * C + (full > 0 ? working : lastWorking))) + packed;
    }

    /// <inheritdoc/>
    public override long ForwardBytes(long batch, long tokens) => batch * tokens * (4 * 4 * config.Width + ActivationType.ElementBytes() * (5L * config.Width + 2L * config.Inner));

    /// <inheritdoc/>
    public override BackboneOutput Forward(BackboneInput input)
    {
        Tensor vectors = input.InputsEmbeds ?? EmbedTokens(input.InputIds ?? throw new ArgumentException("neither ids nor vectors were given", nameof(input)));
        long T = vectors.size(1);
        if (vectors.size(2) != config.Width) throw new PermafrostException($"the inputs are vectors of {vectors.size(2)} numbers, the backbone's width is {config.Width}");
        if (input is { WantAttentions: true, ReadPositions: not null })
            throw new ArgumentException("attention probabilities are those of all positions; ask for them without positions to read", nameof(input));
        if (T > config.Positions)
            throw new PermafrostException($"a sequence of {T} tokens does not fit the backbone's {config.Positions} positions; shorten it or take a longer backbone");
        (int hiddenStates, int attentions) = (input.WantHiddenStates ? config.Layers + 1 : 0, input.WantAttentions ? config.Layers : 0);
        Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input), vectors);
        return new BackboneOutput(outputs[0], outputs[1..(1 + hiddenStates)], outputs[(1 + hiddenStates)..(1 + hiddenStates + attentions)]);
    }

    // The last hidden state; the states between the layers and the attention probabilities, where they are wanted.
    private Tensor[] RunLayers(Tensor vectors, BackboneInput input)
    {
        var hiddenStates = new List<Tensor>();
        var attentions = new List<Tensor>();
        double dropout = DropoutOverride ?? config.ResidualDropout;
        Tensor stream = vectors.AddPositions(positions.Weight.Value, input.PositionIds).FusedDropout(Dropout(DropoutOverride ?? config.EmbeddingDropout));
        Tensor? update = null;
        for (int layer = 0; layer < blocks.Length; layer++)
        {
            if (input.WantHiddenStates)
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
        if (input.WantHiddenStates) hiddenStates.Add(hidden);
        return [hidden, .. hiddenStates, .. attentions];
    }

    private (Tensor Stream, Tensor Update, Tensor? Probabilities) Block(Gpt2Block block, Tensor stream, Tensor? update, BackboneInput input, Tensor? read)
    {
        if (!GradientCheckpointing || !Training || input.WantAttentions) return block.Forward(stream, update, input, read, DropoutOverride);
        Tensor[] next = Segment.Checkpoint(inputs =>
        {
            (Tensor nextStream, Tensor nextUpdate, _) = block.Forward(inputs[0]!, inputs[1], new BackboneInput(AttentionMask: inputs[2]), inputs[3], DropoutOverride);
            return [nextStream, nextUpdate];
        }, stream, update, input.AttentionMask, read);
        return (next[0], next[1], null);
    }
}

/// <summary>GPT2Model or GPT2LMHeadModel under Hugging Face's argument and output names.</summary>
public sealed class Gpt2Pretrained : PretrainedModel
{
    private readonly Gpt2Model model;
    private readonly bool head;
    private readonly Linear? untiedHead;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="head">Whether there is a language-model head.</param>
    public Gpt2Pretrained(HfConfig config, bool head)
    {
        this.head = head;
        model = Declare(head ? "transformer" : "", new Gpt2Model(config));
        if (head && !model.Settings.TiedHead)
            untiedHead = Declare("lm_head", new Linear(model.Width, model.Settings.VocabSize, bias: false, Initializers.Normal(model.Settings.InitializerRange)));
    }

    /// <inheritdoc/>
    public override Backbone Backbone => model;

    /// <inheritdoc/>
    public override string Prefix => head ? "transformer." : "";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> InputNames => ["input_ids", "attention_mask", "position_ids", "token_type_ids", "inputs_embeds", head ? "labels" : "loss_weight"];

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        inputs = Checked(inputs);
        Tensor vectors = inputs.TryGetValue("inputs_embeds", out Tensor? embedded) ? embedded.to(ScalarType.Float32) : model.EmbedTokens(inputs["input_ids"]);
        RememberInputs(vectors);
        Tensor summed = inputs.TryGetValue("token_type_ids", out Tensor? types) ? vectors + model.EmbedTokens(types) : vectors;
        BackboneOutput output = model.Forward(new BackboneInput(
            InputsEmbeds: summed, AttentionMask: inputs.GetValueOrDefault("attention_mask"), PositionIds: inputs.GetValueOrDefault("position_ids"),
            WantHiddenStates: true, WantAttentions: true));

        var outputs = new Dictionary<string, Tensor>();
        for (int i = 0; i < output.HiddenStates.Count; i++) outputs[$"hidden_states.{i}"] = output.HiddenStates[i];
        for (int i = 0; i < output.Attentions.Count; i++) outputs[$"attentions.{i}"] = output.Attentions[i];
        outputs["last_hidden_state"] = output.LastHiddenState;
        if (!head)
        {
            // DESIGN section 5: where a model has no loss, loss_weight (B, T, C) defines one, averaged over the batch.
            if (inputs.TryGetValue("loss_weight", out Tensor? weight) && !weight.shape.AsSpan().SequenceEqual(output.LastHiddenState.shape))
                throw new PermafrostException($"loss_weight is {weight.Describe()}; it must be (B, T, C) = {TensorExtensions.FormatShape(output.LastHiddenState.shape)}");
            if (weight is not null) outputs["loss"] = (output.LastHiddenState * weight).sum() / weight.size(0);
            return outputs;
        }
        Tensor logits = Logits(output.LastHiddenState);
        outputs["logits"] = logits;
        if (inputs.TryGetValue("labels", out Tensor? labels))
        {
            (long T, long V) = (logits.size(1), logits.size(2));
            if (T < 2) throw new PermafrostException("labels need at least two tokens: each is predicted from those before it");
            // Token t predicts label t + 1; -100 does not count.
            outputs["loss"] = torch.nn.functional.cross_entropy(logits.narrow(1, 0, T - 1).reshape(-1, V), labels.narrow(1, 1, T - 1).reshape(-1));
        }
        return outputs;
    }

    /// <inheritdoc/>
    public override Tensor Generate(IReadOnlyDictionary<string, Tensor> inputs, int newTokens)
    {
        if (!head) throw new PermafrostException($"{model.Config.Source} names no language-model head (architectures: GPT2LMHeadModel), so it cannot generate");
        if (!inputs.ContainsKey("input_ids")) throw new PermafrostException("input_ids is not among the inputs; generating starts from it");
        inputs = Checked(inputs);
        Tensor prompt = inputs["input_ids"];
        if (prompt.size(1) + newTokens > model.MaxPositions)
            throw new PermafrostException($"{prompt.size(1)} tokens and {newTokens} new ones do not fit the backbone's {model.MaxPositions} positions");
        using var noGrad = torch.no_grad();
        using var outer = torch.NewDisposeScope();
        Tensor ids = prompt;
        Tensor? mask = inputs.GetValueOrDefault("attention_mask"), types = inputs.GetValueOrDefault("token_type_ids");
        if (mask is not null && !mask.ne(0).to(ScalarType.Int64).ValuesEqual(mask.eq(1).to(ScalarType.Int64)))
            throw new PermafrostException("attention_mask holds other numbers than 1 for tokens and 0 for padding, and tokens cannot be generated behind half a token");
        mask = mask?.to(ScalarType.Int64);
        for (int i = 0; i < newTokens; i++)
        {
            using var scope = torch.NewDisposeScope();
            // Positions count tokens, not padding, as Hugging Face's generate does.
            Tensor? positions = mask is null ? null : (mask.cumsum(1) - 1).masked_fill(mask.eq(0), 1);
            Tensor vectors = types is null ? model.EmbedTokens(ids) : model.EmbedTokens(ids) + model.EmbedTokens(types);
            Tensor last = model.Forward(new BackboneInput(InputsEmbeds: vectors, AttentionMask: mask, PositionIds: positions)).LastHiddenState.narrow(1, ids.size(1) - 1, 1);
            Tensor next = Logits(last).argmax(-1);  // (B, 1)
            ids = scope.MoveToOuter(torch.cat([ids, next], 1));
            if (mask is not null) mask = scope.MoveToOuter(torch.cat([mask, torch.ones([mask.size(0), 1], mask.dtype, mask.device)], 1));
            if (types is not null) types = scope.MoveToOuter(torch.cat([types, types.narrow(1, types.size(1) - 1, 1)], 1));  // a new token is of the last one's type
        }
        return outer.MoveToOuter(ids);
    }

    // Ids as int64, positions with a batch dimension; and one sentence here instead of libtorch's words from somewhere inside.
    private Dictionary<string, Tensor> Checked(IReadOnlyDictionary<string, Tensor> given)
    {
        var inputs = new Dictionary<string, Tensor>(given);
        foreach (string name in new[] { "input_ids", "position_ids", "token_type_ids", "labels" })
            if (inputs.TryGetValue(name, out Tensor? tensor) && !tensor.dtype.IsFloatingPoint()) inputs[name] = tensor.to(ScalarType.Int64);
        if (inputs.TryGetValue("position_ids", out Tensor? row) && row.Dimensions == 1) inputs["position_ids"] = row.unsqueeze(0);
        Tensor? ids = inputs.GetValueOrDefault("input_ids");
        Tensor? vectors = inputs.GetValueOrDefault("inputs_embeds");
        if (ids is null == vectors is null)
            throw new PermafrostException(ids is null
                ? "neither input_ids nor inputs_embeds is among the inputs; gpt2 needs one of them"
                : "both input_ids and inputs_embeds are among the inputs; give one of them");
        Tensor first = ids ?? vectors!;
        if (first.Dimensions != (ids is null ? 3 : 2) || first.NumberOfElements == 0)
            throw new PermafrostException(ids is null
                ? $"inputs_embeds is {first.Describe()}; it must be (B, T, {model.Width})"
                : $"input_ids is {first.Describe()}; it must be (B, T)");
        (long B, long T) = (first.size(0), first.size(1));
        foreach (string name in new[] { "attention_mask", "position_ids", "token_type_ids", "labels" })
        {
            if (!inputs.TryGetValue(name, out Tensor? tensor)) continue;
            bool shared = name is "position_ids" or "token_type_ids" && tensor.Dimensions == 2 && tensor.size(0) == 1;
            if (tensor.Dimensions != 2 || tensor.size(1) != T || (tensor.size(0) != B && !shared))
                throw new PermafrostException($"{name} is {tensor.Describe()}; it must be (B, T) = ({B}, {T})");
        }
        if (inputs.TryGetValue("labels", out Tensor? labels)) CheckRange("labels", labels.masked_fill(labels.eq(-100), 0), model.Settings.VocabSize);
        CheckRange("input_ids", ids, model.Settings.VocabSize);
        CheckRange("token_type_ids", inputs.GetValueOrDefault("token_type_ids"), model.Settings.VocabSize);
        CheckRange("position_ids", inputs.GetValueOrDefault("position_ids"), model.Settings.Positions);
        return inputs;
    }

    private static void CheckRange(string name, Tensor? ids, int rows)
    {
        if (ids is null) return;
        if (ids.dtype.IsFloatingPoint()) throw new PermafrostException($"{name} is {ids.Describe()}; ids are whole numbers");
        (long low, long high) = (ids.min().Integer(), ids.max().Integer());
        if (low < 0 || high >= rows) throw new PermafrostException($"{name} holds {(low < 0 ? low : high)}; the model has 0 to {rows - 1}");
    }

    private Tensor Logits(Tensor hidden) => torch.nn.functional.linear(hidden, untiedHead is null ? model.Tokens.Weight.Value : untiedHead.Weight.Value);
}
