// LSTM: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", with the forget gate of Gers et al. 2000; in the form, and under the names, of torch.nn.LSTM.
// Checked against PyTorch 1.13, torch/nn/modules/rnn.py: every output and gradient, several layers, both directions, a given starting state.
// What differs: the inputs' products of all steps are one; padded steps pass the state on, so that a row's result depends neither on its padding nor on the side it stands on.

using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>An LSTM's configuration: the arguments of torch.nn.LSTM, <c>num_layers</c> also as <c>num_hidden_layers</c>.</summary>
public sealed record LstmConfig
{
    /// <summary>Reads the keys of a configuration.</summary>
    /// <exception cref="PermafrostException">A key holds a value that cannot be, or asks for a variant that is not known.</exception>
    public LstmConfig(HfConfig config)
    {
        Hidden = config.Int("hidden_size", 768);
        Layers = config.Int("num_layers", 3, alias: "num_hidden_layers");
        Bidirectional = config.Flag("bidirectional", false);
        Bias = config.Flag("bias", true);
        Dropout = config.Number("dropout", 0);
        if (Layers > 10_000 || Hidden > 1 << 20) throw new PermafrostException($"{config.Source}: num_layers or hidden_size is beyond anything that exists");
        if (Dropout is not (>= 0 and < 1)) throw new PermafrostException($"{config.Source}: dropout is {Dropout}; it must be at least 0 and below 1");
        if (config.OptionalInt("proj_size", minimum: 0) is > 0) throw new PermafrostException($"{config.Source}: proj_size is not 0; LSTMs that project their state are not known");
        if (config.OptionalInt("input_size") is { } input && input != Width)
            throw new PermafrostException($"{config.Source}: input_size is {input}; a backbone's inputs are as wide as its outputs, which is {Width} here");
    }

    /// <summary>H, the numbers of a state of one direction.</summary>
    public int Hidden { get; }

    /// <summary>L.</summary>
    public int Layers { get; }

    /// <summary>Whether every layer also goes over the sequence backward.</summary>
    public bool Bidirectional { get; }

    /// <summary>Whether there are biases.</summary>
    public bool Bias { get; }

    /// <summary>Dropout between the layers.</summary>
    public double Dropout { get; }

    /// <summary>C: the states of both directions side by side.</summary>
    public int Width => (Bidirectional ? 2 : 1) * Hidden;
}

/// <summary>One direction of one layer.</summary>
internal sealed class LstmDirection : Module
{
    private readonly int hidden;
    private readonly bool reverse;
    private readonly Parameter inputWeight, stateWeight;
    private readonly Parameter? inputBias, stateBias;

    public LstmDirection(int layer, int inputs, int hidden, bool bias, bool reverse)
    {
        (this.hidden, this.reverse) = (hidden, reverse);
        string suffix = reverse ? "_reverse" : "";
        // torch.nn.LSTM draws everything alike (reset_parameters).
        Initializer uniform = Initializers.LinearDefault(hidden);
        inputWeight = Declare($"weight_ih_l{layer}{suffix}", [4 * hidden, inputs], uniform, MatrixLayout.OutputsFirst);
        stateWeight = Declare($"weight_hh_l{layer}{suffix}", [4 * hidden, hidden], uniform, MatrixLayout.OutputsFirst);
        if (!bias) return;
        inputBias = Declare($"bias_ih_l{layer}{suffix}", [4 * hidden], uniform);
        stateBias = Declare($"bias_hh_l{layer}{suffix}", [4 * hidden], uniform);
    }

    public DropoutDraw Draw(double probability) => Dropout(probability);

    public (Tensor States, Tensor Cells) Forward(Tensor x, Tensor? mask, Tensor? state, Tensor? cell)
    {
        Tensor gates = LinearMap.Apply(x, inputWeight, inputBias, 4 * hidden, null, ScalarType.Float32);  // (B, T, 4 H)
        return gates.Recur(new LstmWeights(stateWeight.Stored, stateBias?.Value), state, cell, new LstmSweep(reverse, mask));
    }
}

/// <summary>The layers of torch.nn.LSTM with batch_first.</summary>
internal sealed class LstmStack : Module
{
    private readonly LstmDirection[][] layers;

    public LstmStack(int inputs, int hidden, int layers, bool bidirectional, bool bias = true)
    {
        int directions = bidirectional ? 2 : 1;
        this.layers = [.. Enumerable.Range(0, layers).Select(layer => Enumerable.Range(0, directions).Select(
            way => Declare("", new LstmDirection(layer, layer == 0 ? inputs : directions * hidden, hidden, bias, reverse: way == 1))).ToArray())];
    }

    /// <summary>One layer: states (B, T, H D), and the cells of each direction.</summary>
    /// <param name="layer">Its number.</param>
    /// <param name="x">(B, T, inputs).</param>
    /// <param name="mask">(B, T) bytes, or null.</param>
    /// <param name="start">State and cell (B, H) of each direction; null for zeros.</param>
    public (Tensor States, (Tensor States, Tensor Cells)[] Ways) Layer(int layer, Tensor x, Tensor? mask, (Tensor State, Tensor Cell)[]? start = null)
    {
        (Tensor States, Tensor Cells)[] ways = [.. layers[layer].Select((way, i) => way.Forward(x, mask, start?[i].State, start?[i].Cell))];
        return (ways.Length == 1 ? ways[0].States : Segment.Compose(inputs => torch.cat(inputs, 2), ways[0].States, ways[1].States), ways);
    }

    /// <summary>Dropout on what a layer passes to the next.</summary>
    public Tensor Drop(Tensor states, double probability, int layer) => states.FusedDropout(layers[layer][0].Draw(probability));
}

/// <summary>A stack of LSTM layers as a backbone. It takes vectors only; its first layer reads vectors as wide as its states.</summary>
public sealed class LstmModel : Backbone
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "lstm",
        Backbone = config => new LstmModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>> { ["LSTM"] = config => new VectorPretrained(new LstmModel(config)) },
    };

    /// <summary>The paper's size (Lu et al. 2021: 3 layers of 768), and a small one.</summary>
    public static IReadOnlyList<Preset> Presets { get; } = [Preset("lstm-tiny", 2, 128), Preset("lstm", 3, 768)];

    private readonly LstmConfig config;
    private readonly LstmStack stack;

    /// <summary>A model without weights yet: load or draw them.</summary>
    public LstmModel(HfConfig hfConfig)
    {
        Config = hfConfig;
        config = new LstmConfig(hfConfig);
        Traits = new BackboneTraits(config.Width, config.Layers) { Causal = !config.Bidirectional, GradientCheckpointing = true };
        stack = Declare("", new LstmStack(config.Width, config.Hidden, config.Layers, config.Bidirectional, config.Bias));
        Groups = [.. Rules(config)];
    }

    /// <inheritdoc/>
    public override HfConfig Config { get; }

    /// <inheritdoc/>
    public override BackboneTraits Traits { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups { get; }

    private static IEnumerable<GroupRule> Rules(LstmConfig config) =>
        from way in config.Bidirectional ? new[] { "", "_reverse" } : [""]
        from what in config.Bias ? new[] { "weight_ih", "weight_hh", "bias_ih", "bias_hh" } : ["weight_ih", "weight_hh"]
        select new GroupRule($"{what}_l{{layer}}{way}", GroupName.Recurrent);

    private static Preset Preset(string name, int layers, int width) => new(name, $"LSTM of PyTorch, {layers} layers of {width}, any length, vectors only",
        $$"""{"model_type": "lstm", "architectures": ["LSTM"], "num_layers": {{layers}}, "hidden_size": {{width}}, "dropout": 0.1}""");

    /// <inheritdoc/>
    public override ModelOutputs Forward(ModelInputs input)
    {
        Tensor vectors = Vectors(input.InputIds, input.InputsEmbeds);
        Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input), vectors);
        return new ModelOutputs(outputs[0], outputs[1..], []);
    }

    // The last states; the states before, between and after the layers, where they are wanted.
    private Tensor[] RunLayers(Tensor stream, ModelInputs input)
    {
        var hiddenStates = new List<Tensor>();
        Tensor? mask = input.AttentionMask?.ne(0.Hold()).to(ScalarType.Byte);
        for (int layer = 0; layer < config.Layers; layer++)
        {
            if (input.OutputHiddenStates) hiddenStates.Add(stream);
            int number = layer;
            stream = GradientCheckpointing && training
                ? Segment.Checkpoint(inputs => [Layer(number, inputs[0]!, inputs[1])], stream, mask)[0]
                : Layer(layer, stream, mask);
        }
        if (input.ReadPositions is { } positions) stream = stream.Rows(positions);
        return input.OutputHiddenStates ? [stream, .. hiddenStates, stream] : [stream];
    }

    private Tensor Layer(int layer, Tensor x, Tensor? mask)
    {
        // The scope frees what no gradient needs as soon as the layer is done.
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor states = stack.Layer(layer, x, mask).States;
        return scope.MoveToOuter(layer < config.Layers - 1 ? stack.Drop(states, DropoutOverride ?? config.Dropout, layer) : states);
    }
}
