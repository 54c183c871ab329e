// A backbone of one's own, of Permafrost's layers and of TorchSharp's operators: drawn at random, frozen, and adapted like any other.
using Permafrost.Adaptation;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tasks;
using Permafrost.Training;
using Permafrost.Training.Options;

var architecture = new Architecture { ModelType = "running-mean", Backbone = config => new RunningMean(config, layers: 2, width: 64) };
using var weights = FrozenWeights.Draw(architecture, HfConfig.Parse("{}", "running-mean"), seed: 1);
using TaskData data = new BitXor().Load(new TaskOptions(Settings: new Dictionary<string, string> { ["length"] = "2" }));
using var model = new AdaptedModel(weights, data.Spec);
Trainer.Fit(model, new TrainingData(data.Train, data.Validation), new TrainerOptions { Schedule = new ScheduleOptions { MaxSteps = 500 }, Optimizer = new OptimizerOptions { LearningRate = 1e-2 } });
Console.WriteLine($"{model.Counts}");
Console.WriteLine($"accuracy {Evaluator.Evaluate(model, data.Test!, 100, torch.CPU)["accuracy"]:P1}");

/// <summary>Every layer adds to each token a map of the mean over it and the tokens before.</summary>
internal sealed class RunningMean : Backbone
{
    private readonly (LayerNorm Norm, Linear Map)[] layers;

    public RunningMean(HfConfig config, int layers, int width)
    {
        Config = config;
        Traits = new BackboneTraits(width, layers) { Causal = true };
        this.layers = [.. Enumerable.Range(0, layers).Select(i => (Declare($"layer.{i}.norm", new LayerNorm(width, 1e-5)), Declare($"layer.{i}.map", new Linear(width, width))))];
    }

    public override HfConfig Config { get; }

    public override BackboneTraits Traits { get; }

    public override IReadOnlyList<GroupRule> Groups { get; } = [new("layer.{layer}.norm.*", GroupName.Ln), new("layer.{layer}.map.*", GroupName.Ff)];

    public override ModelOutputs Forward(ModelInputs inputs)
    {
        Tensor counts = torch.arange(1, inputs.InputsEmbeds!.size(1) + 1).view(1, -1, 1);
        Tensor hidden = Segment.Run(stream =>
        {
            foreach ((LayerNorm norm, Linear map) in layers)
            {
                // TorchSharp's operators stand inside Compose, which gives them their gradient.
                Tensor mean = Segment.Compose(given => given[0].cumsum(1) / counts, norm.Forward(stream, ScalarType.Float32));
                Tensor update = map.Forward(mean, Activations.Find("gelu", "running-mean"));
                stream = Segment.Compose(given => given[0] + given[1], stream, update);
            }
            return inputs.ReadPositions is { } read ? stream.Rows(read) : stream;
        }, inputs.InputsEmbeds);
        return new ModelOutputs(hidden, [], []);
    }
}
