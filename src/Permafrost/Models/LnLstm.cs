// The layer-normalised LSTM of the Frozen Pretrained Transformer's code: kzl/universal-computation, models/lstm.py (LNLSTM without conditioning), after Ba et al. 2016, "Layer
// Normalization". Checked against that code: every output and gradient. Gates are in the order input, forget, output, candidate; what inputs and state add to them is normed apart;
// the cell is carried normed; norms divide by the unbiased deviation, and their gain and bias are called alpha and beta.
// What differs: states begin at zero, where that code draws them anew for every call, evaluation included, so that no result of it can be had twice; padded steps pass the state
// on.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>The configuration of a layer-normalised LSTM.</summary>
public sealed record LnLstmConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be, or asks for a variant that is not known.</exception>
    public LnLstmConfig(HfConfig config)
    {
        Width = config.Int("hidden_size", 768, minimum: 2);
        Layers = config.Int("num_layers", 3, alias: "num_hidden_layers");
        Residual = config.Flag("residual", false);
        Positions = config.OptionalInt("max_position_embeddings");
        Dropout = config.Number("dropout", 0.1);
        Epsilon = config.Number("layer_norm_eps", 1e-6);
        InitializerRange = config.Number("initializer_range", 0.02);
        string norms = config.Text("norm_init", "uniform")!;
        UniformNorms = norms == "uniform";
        if (norms is not ("uniform" or "ones")) throw new PermafrostException($"{config.Source}: norm_init is '{norms}'; there are uniform (the code's) and ones (gain 1, bias 0)");
        if (Layers > 10_000 || Width > 1 << 20 || Positions > 1 << 24)
            throw new PermafrostException($"{config.Source}: num_layers, hidden_size or max_position_embeddings is beyond anything that exists");
        if (Dropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: dropout is {Dropout}; it must be at least 0 and below 1");
        if (Epsilon is not (> 0 and < 1)) throw new PermafrostException($"{config.Source}: layer_norm_eps is {Epsilon}; it must be between 0 and 1");
        if (InitializerRange < 0) throw new PermafrostException($"{config.Source}: initializer_range is {InitializerRange}; it must not be negative");
        if (config.Flag("bidirectional", false)) throw new PermafrostException($"{config.Source}: bidirectional is set; only the forward direction of lnlstm is known");
        if (config.OptionalInt("input_size") is { } input && input != Width)
            throw new PermafrostException($"{config.Source}: input_size is {input}; a backbone's inputs are as wide as its outputs, which is {Width} here");
    }

    /// <summary>C, and H of every layer.</summary>
    public int Width { get; }

    /// <summary>L.</summary>
    public int Layers { get; }

    /// <summary>Whether each layer's input is added to its states before the next layer reads them.</summary>
    public bool Residual { get; }

    /// <summary>Rows of a learned position table that is added to the inputs, and so the longest sequence; null for no table and any length.</summary>
    public int? Positions { get; }

    /// <summary>Dropout on every layer's states, those that its own next step reads included, as in the code.</summary>
    public double Dropout { get; }

    /// <summary>The norms' epsilon, added to the variance.</summary>
    public double Epsilon { get; }

    /// <summary>Standard deviation of the initial position vectors.</summary>
    public double InitializerRange { get; }

    /// <summary>Whether gains and biases of the norms start uniform within 1 / sqrt(n), as in the code; otherwise at one and zero.</summary>
    public bool UniformNorms { get; }
}

/// <summary>LayerNorm of models/lstm.py; the recurrence computes it where it belongs to the state.</summary>
internal sealed class LnLstmNorm : Module
{
    public LnLstmNorm(int width, bool uniform)
    {
        Initializer drawn = Initializers.LinearDefault(width);
        Gain = Declare("alpha", [1, width], uniform ? drawn : Initializers.Ones);
        Bias = Declare("beta", [1, width], uniform ? drawn : Initializers.Zeros);
    }

    public Parameter Gain { get; }

    public Parameter Bias { get; }

    // libtorch's norm divides by the biased deviation.
    public Tensor Forward(Tensor x, double epsilon)
    {
        long n = x.size(-1);
        double share = (n - 1) / (double)n;
        return Segment.Compose(
            inputs => torch.nn.functional.layer_norm(inputs[0], [n], inputs[1].view(-1).Times(Math.Sqrt(share)), inputs[2].view(-1), epsilon * share), x, Gain.Value, Bias.Value);
    }
}

/// <summary>LayerNormLSTM: one layer.</summary>
internal sealed class LnLstmLayer : Module
{
    private readonly LnLstmConfig config;
    private readonly Linear input, state;
    private readonly LnLstmNorm stateNorm, inputNorm, cellNorm;

    public LnLstmLayer(LnLstmConfig config)
    {
        this.config = config;
        Initializer uniform = Initializers.LinearDefault(config.Width);
        input = Declare("i2h", new Linear(config.Width, 4 * config.Width, true, uniform, uniform));
        state = Declare("h2h", new Linear(config.Width, 4 * config.Width, true, uniform, uniform));
        stateNorm = Declare("ln_h2h", new LnLstmNorm(4 * config.Width, config.UniformNorms));
        inputNorm = Declare("ln_i2h", new LnLstmNorm(4 * config.Width, config.UniformNorms));
        cellNorm = Declare("ln_cell", new LnLstmNorm(config.Width, config.UniformNorms));
    }

    /// <summary>States and cells (B, T, H).</summary>
    public (Tensor States, Tensor Cells) Forward(Tensor x, Tensor? mask, double? dropoutOverride, Tensor? start = null, Tensor? startCell = null)
    {
        Tensor gates = inputNorm.Forward(LinearMap.Apply(x, input.Weight, input.Bias, 4 * config.Width, null, ScalarType.Float32), config.Epsilon);  // (B, T, 4 H)
        DropoutDraw dropout = Dropout(dropoutOverride ?? config.Dropout);
        var norms = new LstmNorms(stateNorm.Gain.Value, stateNorm.Bias.Value, cellNorm.Gain.Value, cellNorm.Bias.Value, config.Epsilon);
        var sweep = new LstmSweep(Mask: mask, Factors: dropout.Active ? Factors(x, dropout) : null);
        return gates.Recur(new LstmWeights(state.Weight.Stored, state.Bias!.Value, CandidateLast: true, norms), start, startCell, sweep);
    }

    // (B, T, H): 0, or 1 / (1 - p).
    private static Tensor Factors(Tensor x, DropoutDraw dropout)
    {
        using var noGrad = torch.no_grad();
        return torch.ones(x.shape, device: x.device).FusedDropout(dropout);
    }
}

/// <summary>A stack of layer-normalised LSTM layers as a backbone. It takes vectors only.</summary>
/// <remarks>
/// <c>lnlstm</c> is the code's own: 3 layers of 768, no residual connections, no positions, gains and biases of the norms drawn uniform within 1 / sqrt(n), so that signals start
/// near zero (kzl/universal-computation, fpt.py and models/lstm.py, read first-hand). <c>lstm-star</c> is the paper's LSTM*, 12 layers with residual connections and positions (Lu
/// et al. 2021, section 3.3, known from a reading note; how its norms and positions started is not known), here as a fair control: gains 1, biases 0, states from zero, positions
/// normal(0, 0.02) like GPT-2's. Its learning rate must be tuned; the paper's LSTMs had 3e-4 (appendix C, second-hand).
/// </remarks>
public sealed class LnLstmModel : Backbone
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "lnlstm",
        Backbone = config => new LnLstmModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>> { ["LNLSTM"] = config => new VectorPretrained(new LnLstmModel(config)) },
    };

    /// <summary>The code's own, and the fair one.</summary>
    public static IReadOnlyList<Preset> Presets { get; } =
    [
        new("lnlstm", "LSTM with layer norms of the FPT code, 3 layers of 768, any length, vectors only",
            """{"model_type": "lnlstm", "architectures": ["LNLSTM"], "num_layers": 3, "hidden_size": 768, "dropout": 0.1, "norm_init": "uniform"}"""),
        Star("lstm-star-tiny", 4, 128), Star("lstm-star", 12, 768),
    ];

    private readonly LnLstmConfig config;
    private readonly Embedding? positions;
    private readonly LnLstmLayer[] layers;

    /// <summary>A model without weights yet: load or draw them.</summary>
    public LnLstmModel(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new LnLstmConfig(hfConfig);
        Traits = new BackboneTraits(config.Width, config.Layers) { LongestInput = config.Positions, Causal = true, GradientCheckpointing = true };
        if (config.Positions is { } rows) positions = Declare("wpe", new Embedding(rows, config.Width, Initializers.Normal(config.InitializerRange)));
        layers = [.. Enumerable.Range(0, config.Layers).Select(layer => Declare($"params.{layer}", new LnLstmLayer(config)))];
        GroupRule[] rules =
        [
            new("params.{layer}.i2h.*", GroupName.Recurrent), new("params.{layer}.h2h.*", GroupName.Recurrent),
            new("params.{layer}.ln_i2h.*", GroupName.Ln), new("params.{layer}.ln_h2h.*", GroupName.Ln), new("params.{layer}.ln_cell.*", GroupName.Ln),
        ];
        Groups = positions is null ? rules : [new("wpe.weight", GroupName.Pos), .. rules];
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; }

    private static Preset Star(string name, int layers, int width) => new(
        name, $"LSTM* of the FPT paper, {layers} residual layers of {width}, 1024 positions, vectors only",
        $$"""{"model_type": "lnlstm", "architectures": ["LNLSTM"], "num_layers": {{layers}}, "hidden_size": {{width}}, "dropout": 0.1,""" +
        """ "residual": true, "max_position_embeddings": 1024, "norm_init": "ones"}""");

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        Tensor vectors = Vectors(input.InputIds, input.InputsEmbeds);
        if (vectors.size(1) > Traits.LongestInput) throw TooLong(vectors.size(1), Traits.LongestInput.Value);
        Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input), vectors);
        return new ModelOutputs(outputs[0], outputs[1..], []);
    }

    /// <summary>One layer: states, with the input added where the model has residual connections, and cells, both (B, T, H).</summary>
    internal (Tensor States, Tensor Cells) Layer(int layer, Tensor x, Tensor? mask, Tensor? start = null, Tensor? startCell = null)
    {
        (Tensor states, Tensor cells) = layers[layer].Forward(x, mask, DropoutOverride, start, startCell);
        return (config.Residual ? Segment.Compose(inputs => inputs[0].Plus(inputs[1]), x, states) : states, cells);
    }

    // The last states; the states before, between and after the layers, where they are wanted.
    private Tensor[] RunLayers(Tensor vectors, ModelInputs input)
    {
        var hiddenStates = new List<Tensor>();
        Tensor stream = positions is null ? vectors : vectors.AddPositions(positions.Weight.Value, input.PositionIds);
        Tensor? mask = input.AttentionMask?.ne(0.Hold()).to(ScalarType.Byte);
        for (int layer = 0; layer < layers.Length; layer++)
        {
            if (input.OutputHiddenStates) hiddenStates.Add(stream);
            int number = layer;
            stream = GradientCheckpointing && training
                ? Segment.Checkpoint(inputs => [Scoped(number, inputs[0]!, inputs[1])], stream, mask)[0]
                : Scoped(layer, stream, mask);
        }
        if (input.ReadPositions is { } read) stream = stream.Rows(read);
        return input.OutputHiddenStates ? [stream, .. hiddenStates, stream] : [stream];
    }

    private Tensor Scoped(int layer, Tensor x, Tensor? mask)
    {
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        return scope.MoveToOuter(Layer(layer, x, mask).States);
    }
}
