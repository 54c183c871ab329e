using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>
/// A model of one's own, which no registry knows, keeps every family's promises: each token learns of the others by their mean. It is not causal, has neither attention nor
/// positions, and takes vectors only.
/// </summary>
public class MeanMixerContract : ArchitectureContract
{
    protected override string Config => """{"model_type": "mean-mixer", "hidden_size": 16, "num_hidden_layers": 2}""";

    protected override Architecture Architecture => new() { ModelType = "mean-mixer", Backbone = config => new MeanMixer(config) };

    protected override int Heads => 0;

    private sealed class MeanMixer : Backbone
    {
        private readonly Layer[] layers;
        private readonly LayerNorm norm;

        public MeanMixer(HfConfig config)
        {
            Config = config;
            Traits = new BackboneTraits(config.Int("hidden_size", 16), config.Int("num_hidden_layers", 2)) { GradientCheckpointing = true };
            layers = [.. Enumerable.Range(0, Traits.Layers).Select(number => Declare($"layers.{number}", new Layer(Traits.Width)))];
            norm = Declare("norm", new LayerNorm(Traits.Width, 1e-5));
        }

        public override HfConfig Config { get; }

        public override BackboneTraits Traits { get; }

        public override IReadOnlyList<GroupRule> Groups { get; } =
            [new("layers.{layer}.norm.*", GroupName.Ln), new("layers.{layer}.mix.*", GroupName.Ff), new("norm.*", GroupName.Ln)];

        public override ModelOutputs Forward(ModelInputs input)
        {
            Tensor vectors = input.InputsEmbeds ?? EmbedTokens(input.InputIds!);
            if (vectors.size(2) != Traits.Width) throw new PermafrostException($"the inputs are vectors of {vectors.size(2)} numbers, the backbone's width is {Traits.Width}");
            Tensor[] outputs = Segment.Run(inputs => RunLayers(inputs[0]!, input), vectors);
            return new ModelOutputs(outputs[0], outputs[1..], []);
        }

        private Tensor[] RunLayers(Tensor stream, ModelInputs input)
        {
            var states = new List<Tensor>();
            foreach (Layer layer in layers)
            {
                states.Add(stream);
                stream = GradientCheckpointing && training
                    ? Segment.Checkpoint(inputs => [layer.Forward(inputs[0]!, inputs[1], DropoutOverride ?? 0.1)], stream, input.AttentionMask)[0]
                    : layer.Forward(stream, input.AttentionMask, DropoutOverride ?? 0.1);
            }
            if (input.ReadPositions is { } positions) stream = stream.Rows(positions);
            Tensor hidden = norm.Forward(stream, ScalarType.Float32);
            return input.OutputHiddenStates ? [hidden, .. states, hidden] : [hidden];
        }
    }

    private sealed class Layer : Module
    {
        private readonly LayerNorm norm;
        private readonly Linear mix;

        public Layer(int width)
        {
            norm = Declare("norm", new LayerNorm(width, 1e-5));
            mix = Declare("mix", new Linear(width, width));
        }

        public Tensor Forward(Tensor stream, Tensor? mask, double dropout)
        {
            Tensor mixed = Segment.Compose(inputs => Mixed(inputs[0], mask), norm.Forward(stream, ScalarType.Float32));
            Tensor update = mix.Forward(mixed, Activations.Find("gelu_new", "here")).FusedDropout(Dropout(dropout));
            return Segment.Compose(inputs => inputs[0] + inputs[1].to(ScalarType.Float32), stream, update);
        }

        // (B, T, C): a token and the mean of those that are no padding.
        private Tensor Mixed(Tensor tokens, Tensor? mask)
        {
            Tensor weights = mask is null ? torch.ones([1, tokens.size(1), 1]) : mask.to(ScalarType.Float32).unsqueeze(2);
            return (tokens + (tokens * weights).sum(1, keepdim: true) / weights.sum(1, keepdim: true)).to(ActivationType);
        }
    }
}
