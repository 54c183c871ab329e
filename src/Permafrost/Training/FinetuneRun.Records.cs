using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Models;
using Permafrost.Tasks;

namespace Permafrost.Training;

// What a run writes down: predictions, results.json, adapter_config.json.
public sealed partial class FinetuneRun
{
    /// <summary>A prediction as a JSON object: one answer flat, several as lists.</summary>
    public static JsonObject ToJson(Prediction prediction, TaskShape shape)
    {
        JsonNode Name(long answer) => shape.Labels.Count > 0 ? JsonValue.Create(shape.Labels[(int)answer]) : JsonValue.Create(answer);
        JsonArray Row(float[] row) => [.. row.Select(p => float.IsFinite(p) ? (JsonNode)JsonValue.Create(Math.Round(p, 6)) : null)];
        bool single = prediction.Classes.Length == 1;
        var json = new JsonObject
        {
            ["index"] = prediction.Index,
            ["label"] = single ? Name(prediction.Classes[0]) : new JsonArray([.. prediction.Classes.Select(Name)]),
            ["probabilities"] = single ? Row(prediction.Probabilities[0]) : new JsonArray([.. prediction.Probabilities.Select(Row)]),
        };
        if (prediction.Targets is { } targets) json["target"] = single ? Name(targets[0]) : new JsonArray([.. targets.Select(t => t < 0 ? null : Name(t))]);
        return json;
    }

    private JsonObject Results(TrainerState state, long scoredStep, JsonObject metrics, JsonObject floors) => new()
    {
        ["task"] = Options.Task,
        ["task_version"] = Task.Version,
        ["backbone"] = Options.Backbone,
        ["backbone_sha256"] = BackboneSha256,
        ["init"] = Options.Init,
        ["init_seed"] = Options.InitSeed,
        ["policy"] = Options.Policy,
        ["seed"] = Options.Seed,
        ["steps"] = state.Step,
        ["scored_step"] = scoredStep,
        ["learning_rate"] = Options.LearningRate,
        ["micro_batch_size"] = MicroBatchSize,
        ["parameters"] = ParameterCounts(),
        ["metrics"] = metrics,
        ["floors"] = floors,
        ["frozen_unchanged"] = true,
        ["seconds"] = Math.Round(state.Seconds, 3),
        ["tokens_per_second"] = Math.Round(state.Tokens / Math.Max(1e-9, state.Seconds), 1),
        ["peak_memory_bytes"] = EnvironmentInfo.PeakMemoryBytes,
    };

    internal JsonObject AdapterConfig(long step) => new()
    {
        ["permafrost_version"] = EnvironmentInfo.Version,
        ["step"] = step,
        ["task"] = Options.Task,
        ["task_version"] = Task.Version,
        ["task_options"] = new JsonObject(Options.TaskOptions.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value))),
        ["policy"] = Options.Policy,
        ["input_layer"] = Options.InputLayer,
        ["readout"] = Model.Readout.ToString(),
        ["backbone"] = Options.Backbone,
        ["backbone_sha256"] = BackboneSha256,
        ["init"] = Options.Init,
        ["init_seed"] = Options.InitSeed,
        ["init_version"] = BackboneInit.Version,
        ["shape"] = new JsonObject
        {
            ["vector_size"] = Model.Shape.VectorSize,
            ["vocabulary"] = Model.Shape.Vocabulary,
            ["sequence_length"] = Model.Shape.SequenceLength,
            ["targets"] = Model.Shape.Targets,
            ["classes"] = Model.Shape.Classes,
            ["hard_metric"] = Model.Shape.HardMetric,
        },
        ["labels"] = new JsonArray([.. Model.Shape.Labels.Select(label => (JsonNode)label)]),
        ["preprocessing"] = new JsonObject(Model.Shape.Preprocessing.Select(fact => KeyValuePair.Create(fact.Key, (JsonNode?)fact.Value))),
    };

    private static TaskShape ShapeFrom(JsonObject config, string folder)
    {
        try
        {
            JsonNode shape = Given(config, "shape");
            string readout = (string)Given(config, "readout")!;
            _ = Tuning.Readout.Parse(readout);
            var made = new TaskShape
            {
                VectorSize = (int?)shape["vector_size"],
                Vocabulary = (int?)shape["vocabulary"],
                SequenceLength = (int)Given(shape, "sequence_length"),
                Targets = (int)Given(shape, "targets"),
                Classes = (int)Given(shape, "classes"),
                Readout = readout,
                HardMetric = (string?)shape["hard_metric"],
                Labels = [.. Given(config, "labels").AsArray().Select(label => (string?)label ?? throw new FormatException("no label"))],
            };
            bool fits = made.SequenceLength > 0 && made.Targets > 0 && made.Classes > 0 && (made.VectorSize ?? made.Vocabulary) > 0 && (made.Labels.Count == 0 || made.Labels.Count == made.Classes);
            return fits ? made : throw new FormatException("no such shape");
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException or JsonException or UsageException)
        {
            throw new PermafrostException($"{folder}: adapter_config.json lacks the shape, readout or labels of the task, or they do not fit together; it may be damaged");
        }
    }

    private static JsonNode Given(JsonNode node, string name) => node[name] ?? throw new FormatException($"no {name}");
}
