using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Pretraining;
using Permafrost.Training.Options;

namespace Permafrost.Runs;

/// <summary>A folder <c>checkpoint-STEP</c> from which a pretraining goes on as if it had never stopped.</summary>
internal static class PretrainingCheckpoint
{
    // The order of the files: not in older checkpoints, which are taken as they are.
    private const string DataOrder = "data_order";

    private const string ProcessCount = "processes";

    private static string Weights => Checkpoint.PretrainingFiles[0];

    private static string OptimizerFile => Checkpoint.PretrainingFiles[1];

    private static string StateFile => Checkpoint.PretrainingFiles[2];

    private static string IdentityFile => Checkpoint.PretrainingFiles[3];

    /// <summary>What a pretraining follows from, by name: options, texts, tokenizer, program.</summary>
    public static SortedDictionary<string, string> Identity(PretrainingOptions options, PretrainingData data)
    {
        var identity = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (PretrainingOptionField field in PretrainingOptionTable.All)
            if (field.Affects == Affects.Result || (field.Affects == Affects.Length && options.RateDependsOnLength)) identity[field.Key] = field.Format(options);
        identity["tokenizer_sha256"] = PretrainingData.TokenizerSha256(options.Tokenizer);
        foreach (CorpusFile file in data.Files) identity[$"data {file.Name}"] = file.Sha256;
        identity[DataOrder] = string.Join(", ", data.Files.Select(file => file.Name));
        identity["training_tokens"] = FormattableString.Invariant($"{data.Train.Length}");
        identity["permafrost_version"] = EnvironmentInfo.Version.Split('-', '+')[0];
        identity["libtorch_version"] = Engine.Version;
        return identity;
    }

    /// <summary>Writes a checkpoint.</summary>
    /// <exception cref="PermafrostException">The disk is full, for example; older checkpoints are untouched.</exception>
    public static string Write(RunFolder folder, Pretrainer trainer, LanguageModel model, IReadOnlyDictionary<string, string> identity, long logBytes) =>
        Checkpoint.Write(folder, trainer.State.Step, temporary =>
        {
            using var scope = torch.NewDisposeScope();
            (IReadOnlyDictionary<string, Tensor> slots, IReadOnlyDictionary<string, long> steps) = trainer.Optimizer.State();
            SafetensorsWriter.Write(Path.Combine(temporary, Weights), model.Parameters.Select(pair => KeyValuePair.Create(pair.Name, pair.Tensor.detach())));
            SafetensorsWriter.Write(Path.Combine(temporary, OptimizerFile), slots);
            PretrainingSums sums = trainer.State.SinceReport;
            var state = new JsonObject
            {
                ["step"] = trainer.State.Step,
                [ProcessCount] = trainer.Processes,
                ["tokens"] = trainer.State.Tokens,
                ["mean_loss"] = trainer.State.MeanLoss,
                ["skipped"] = trainer.State.Skipped,
                ["seconds"] = trainer.State.Seconds,
                ["log_bytes"] = logBytes,
                ["evaluated_at"] = trainer.State.EvaluatedAt,
                ["since_report"] = new JsonObject
                {
                    ["step"] = sums.Step,
                    ["seconds"] = sums.Seconds,
                    ["updates"] = sums.Updates,
                    ["loss"] = sums.Loss,
                    ["gradient_norm"] = sums.GradientNorm,
                    ["data_seconds"] = sums.DataSeconds,
                },
                ["optimizer_steps"] = new JsonObject(steps.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)pair.Value))),
            };
            RunFolder.WriteJson(Path.Combine(temporary, StateFile), state);
            RunFolder.WriteJson(Path.Combine(temporary, IdentityFile), new JsonObject(identity.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)pair.Value))));
            return Checkpoint.PretrainingFiles;
        });

    private static PretrainingSums Sums(JsonNode json)
    {
        double Number(string key) => JsonFile.Given(json, key).GetValue<double>();
        return new PretrainingSums(
            JsonFile.Given(json, "step").GetValue<long>(), Number("seconds"), JsonFile.Given(json, "updates").GetValue<long>(), Number("loss"), Number("gradient_norm"),
            Number("data_seconds"));
    }

    /// <summary>Refuses a checkpoint of another pretraining.</summary>
    /// <exception cref="UsageException">Something differs.</exception>
    public static void CheckSame(string path, IReadOnlyDictionary<string, string> identity)
    {
        JsonObject saved = JsonFile.Read(Path.Combine(path, IdentityFile));
        // An option that is younger than the checkpoint was at its default.
        string Then(string key) => saved[key]?.ToString() ?? PretrainingOptionTable.All.FirstOrDefault(field => field.Key == key)?.Format(new PretrainingOptions()) ?? "";
        string Shown(string value) => value.Length == 0 ? "not there" : value.Length > 24 ? value[..12] + "..." : value;
        IEnumerable<string> keys = identity.Keys.Union(saved.Select(pair => pair.Key)).Where(key => key != DataOrder || saved.ContainsKey(key));
        string[] differences = [.. keys.Where(key => Then(key) != identity.GetValueOrDefault(key, ""))
            .Select(key => $"{key} was {Shown(Then(key))}, is {Shown(identity.GetValueOrDefault(key, ""))}")];
        if (differences.Length > 0)
            throw new UsageException($"{path} belongs to another pretraining: {string.Join("; ", differences)}; undo the change, or start anew in another `output_dir`");
    }

    /// <summary>How many processes computed the last update before a verified checkpoint.</summary>
    public static int Processes(string path) => (int?)JsonFile.Read(Path.Combine(path, StateFile))[ProcessCount] ?? 1;

    /// <summary>Puts a verified checkpoint's weights, optimiser and state back.</summary>
    /// <returns>Bytes of metrics.jsonl that belong to it.</returns>
    /// <exception cref="PermafrostException">A part does not fit.</exception>
    public static long Restore(string path, Pretrainer trainer, LanguageModel model)
    {
        using var scope = torch.NewDisposeScope();
        string statePath = Path.Combine(path, StateFile);
        JsonObject json = JsonFile.Read(statePath);
        model.Load(AdapterFolder.ReadFile(Path.Combine(path, Weights)), Path.Combine(path, Weights));
        try
        {
            var steps = JsonFile.Given(json, "optimizer_steps").AsObject().ToDictionary(pair => pair.Key, pair => pair.Value!.GetValue<long>());
            trainer.Optimizer.Restore(AdapterFolder.ReadFile(Path.Combine(path, OptimizerFile)), steps);
            (long step, double seconds) = (JsonFile.Given(json, "step").GetValue<long>(), JsonFile.Given(json, "seconds").GetValue<double>());
            // Older checkpoints do not tell what had added up, nor when text was scored: as if both had been done just then.
            bool tells = json["since_report"] is not null;
            trainer.State = new PretrainingState(
                step, JsonFile.Given(json, "tokens").GetValue<long>(), json["mean_loss"]?.GetValue<double>(), JsonFile.Given(json, "skipped").GetValue<long>(), seconds,
                tells ? json["evaluated_at"]?.GetValue<long>() : step)
            {
                SinceReport = tells ? Sums(JsonFile.Given(json, "since_report")) : new PretrainingSums(step, seconds),
            };
            return JsonFile.Given(json, "log_bytes").GetValue<long>();
        }
        catch (Exception error) when (error is FormatException or InvalidOperationException or ArgumentException or JsonException)
        {
            throw new PermafrostException($"{path} does not fit this pretraining: {error.Message.ReplaceLineEndings(" ").TrimEnd('.')}");
        }
    }
}
