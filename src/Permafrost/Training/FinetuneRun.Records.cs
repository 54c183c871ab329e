using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;

namespace Permafrost.Training;

// What a run writes down: options, command, environment, predictions, results.json, adapter_config.json.
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

    private void Describe(RunFolder folder, string command)
    {
        AtomicFile.WriteText(folder.Config, RunConfig.ToYaml(Options, $"{command}\nAgain: permafrost finetune --config {ShellWord.Quoted(folder.Config)} --output-dir ANOTHER"));
        AtomicFile.WriteText(folder.Command, command + "\n");
        RunFolder.WriteJson(Path.Combine(folder.Path, "env.json"), EnvironmentInfo.Collect());
    }

    // A run that goes on with other steps, or with changes that were allowed, is described by what it goes on with, and so is the checkpoint it goes on from:
    // whatever stops it from now on, the two belong together.
    private void DescribeAgain(RunFolder folder, string command, TrainingLoop loop)
    {
        string old = File.ReadAllText(folder.Config);
        // The same things in another place are the same.
        RunOptions saved = Located(folder.ReadOptions()) with { OutputDir = Options.OutputDir };
        RunOptions now = Options;
        string[] changed = [.. OptionTable.All.Select(field => field.Key).Where(key => Text(saved, key) != Text(now, key))];
        AtomicFile.WriteText(folder.Command, (File.Exists(folder.Command) ? File.ReadAllText(folder.Command) : "") + command + "\n");
        if (changed.Length == 0)
        {
            Redescribe(folder, now);
            return;
        }
        loop.SaveAgain();
        long from = loop.State.Step;
        IEnumerable<string> header = old.Split('\n').TakeWhile(line => line.StartsWith('#')).Select(line => line.TrimStart('#').TrimStart());
        // Two courses under one name: to run what is written here again gives neither. So is one with a validation where it first meant to end, which counts for the best.
        bool extra = loop.State.EvaluatedStep == from && (Options.EvalSteps == 0 || from % Options.EvalSteps != 0);
        if (!changed.All(key => key != "init_adapter" && HarmlessOptions.Contains(key) || IsOnlyLength(key) && !extra)) header = header.Where(line => !line.StartsWith("Again:", StringComparison.Ordinal));
        static string Named(string text) => text.Length == 0 ? "not set" : text;
        string what = string.Join("; ", changed.Select(key => $"{key} was {Named(Text(saved, key))}, is {Named(Text(now, key))}"));
        AtomicFile.WriteText(folder.Config, RunConfig.ToYaml(now, string.Join('\n', header.Append($"Gone on from step {from} with: {command} ({what})"))));
    }

    // Other options under the same heading.
    private static void Redescribe(RunFolder folder, RunOptions options)
    {
        IEnumerable<string> header = File.ReadLines(folder.Config).TakeWhile(line => line.StartsWith('#')).Select(line => line.TrimStart('#').TrimStart());
        AtomicFile.WriteText(folder.Config, RunConfig.ToYaml(options, string.Join('\n', header)));
    }

    // A folder as it would be typed here.
    private static string Shown(string backbone)
    {
        if (!Path.IsPathRooted(backbone)) return backbone;
        string near = Path.GetRelativePath(Environment.CurrentDirectory, backbone);
        return near.StartsWith("..", StringComparison.Ordinal) ? backbone : near;
    }

    private static string Text(RunOptions options, string key) => OptionTable.All.First(field => field.Key == key).FormatAny(options);

    private JsonObject Results(TrainerState state, long scoredStep, JsonObject metrics, JsonObject floors) => new()
    {
        ["task"] = Options.Task,
        ["task_version"] = Task.Version,
        ["backbone"] = Shown(Options.Backbone),
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
        ["backbone"] = Shown(Options.Backbone),
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
            JsonNode shape = JsonFile.Given(config, "shape");
            string readout = (string)JsonFile.Given(config, "readout")!;
            _ = Tuning.Readout.Parse(readout);
            var made = new TaskShape
            {
                VectorSize = (int?)shape["vector_size"],
                Vocabulary = (int?)shape["vocabulary"],
                SequenceLength = (int)JsonFile.Given(shape, "sequence_length"),
                Targets = (int)JsonFile.Given(shape, "targets"),
                Classes = (int)JsonFile.Given(shape, "classes"),
                Readout = readout,
                HardMetric = (string?)shape["hard_metric"],
                Labels = [.. JsonFile.Given(config, "labels").AsArray().Select(label => (string?)label ?? throw new FormatException("no label"))],
            };
            bool fits = made.SequenceLength > 0 && made.Targets > 0 && made.Classes > 0 && (made.VectorSize ?? made.Vocabulary) > 0 && (made.Labels.Count == 0 || made.Labels.Count == made.Classes);
            return fits ? made : throw new FormatException("no such shape");
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException or JsonException or UsageException)
        {
            throw new PermafrostException($"{folder}: adapter_config.json lacks the shape, readout or labels of the task, or they do not fit together; it may be damaged");
        }
    }

    // Of files every example counts, since they can change under the same name; generated ones follow from the task's version, and the first and last are enough to notice another.
    private string DataSha256()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{Data!.Train.Count}|{Data.Validation?.Count}|{Data.Test?.Count}"));
        if (!Task.IsGenerated)
        {
            foreach (IExamples? split in new[] { Data.Train, Data.Validation, Data.Test })
                if (split is not null) hash.AppendData(Encoding.UTF8.GetBytes(features.DataSha256(split, CancellationToken.None)));
            return Convert.ToHexStringLower(hash.GetHashAndReset());
        }
        using var scope = torch.NewDisposeScope();
        long count = Data.Train.Count ?? 64;
        foreach (long start in new[] { 0, Math.Max(0, count - 16) })
        {
            Batch batch = Data.Train.Get([.. Enumerable.Range(0, (int)Math.Min(16, count)).Select(i => start + i)]);
            batch.Inputs.ReadBytes(bytes => hash.AppendData(bytes));
            batch.Targets.ReadBytes(bytes => hash.AppendData(bytes));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
