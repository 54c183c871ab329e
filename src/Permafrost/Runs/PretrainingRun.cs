using System.Diagnostics;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Pretraining;
using Permafrost.Pretraining.Objectives;
using Permafrost.Tokenizers;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <summary>A pretraining told of its progress.</summary>
public abstract record PretrainingEvent;

/// <summary>A sentence worth reading.</summary>
/// <param name="Text">The sentence.</param>
public sealed record PretrainingNote(string Text) : PretrainingEvent;

/// <summary>Updates were done.</summary>
/// <param name="Report">The means since the last report.</param>
/// <param name="BitsPerByte">The training loss in bits for a byte of text; null where the objective does not compress.</param>
public sealed record PretrainingReport(StepReport Report, double? BitsPerByte) : PretrainingEvent;

/// <summary>Held-out text was scored.</summary>
/// <param name="Step">Updates done.</param>
/// <param name="File">The file whose held-out documents they are.</param>
/// <param name="Score">The score.</param>
public sealed record PretrainingScored(long Step, string File, HeldOutScore Score) : PretrainingEvent;

/// <summary>A pretraining as a thing on disk: it writes checkpoints, goes on from them, and leaves a model folder in Hugging Face's layout.</summary>
public sealed class PretrainingRun : IDisposable
{
    private readonly PretrainingOptions options;
    private readonly RunFolder folder;
    private readonly RunLock held;
    private readonly PretrainingData data;
    private readonly Objective objective;
    private readonly ObjectiveTokens tokens;
    private readonly LanguageModel model;
    private readonly Pretrainer trainer;
    private readonly SortedDictionary<string, string> identity;
    private readonly IProgress<PretrainingEvent>? progress;
    private readonly long logBytes;
    private readonly string command;

    private PretrainingRun(
        PretrainingOptions options, RunFolder folder, RunLock held, bool resumes, string command, IProgress<PretrainingEvent>? progress, CancellationToken cancellation)
    {
        (this.options, this.folder, this.held, this.command, this.progress) = (options, folder, held, command, progress);
        Tokenizer tokenizer = TokenizerFiles.Load(options.Tokenizer);
        tokens = PretrainingConfig.Tokens(options, tokenizer);
        objective = PretrainingConfig.Objective(options, tokens);
        HfConfig config = PretrainingConfig.Create(options, tokenizer);
        data = PretrainingData.Open(options, tokenizer, tokens.Separator, progress: Note, cancellation: cancellation);
        try
        {
            ScalarType type = options.Dtype == "bfloat16" ? ScalarType.BFloat16 : ScalarType.Float32;
            model = new LanguageModel(config, options.Seed, options.Dropout, type);
            trainer = new Pretrainer(options, model, objective, data.Train);
            identity = PretrainingCheckpoint.Identity(options, data);
            if (resumes && !IsNew())
            {
                string checkpoint = Checkpoint.Newest(folder, Note);
                PretrainingCheckpoint.CheckSame(checkpoint, identity);
                logBytes = PretrainingCheckpoint.Restore(checkpoint, trainer, model);
                Checkpoint.Leave(folder, trainer.State.Step);
                Note($"going on from {checkpoint}");
            }
            else if (resumes) Note($"{folder.Path} was ended before its first checkpoint: it begins again");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The run's folder.</summary>
    public string Path => folder.Path;

    /// <summary>Whether a folder holds a pretraining, not a training on a task.</summary>
    public static bool IsIn(string path)
    {
        string config = RunFolder.At(path).Config;
        return File.Exists(config) && File.ReadLines(config).Take(64).Any(line => line.StartsWith("cross_documents:", StringComparison.Ordinal));
    }

    /// <summary>The model's folder, in Hugging Face's layout.</summary>
    public string ModelPath => System.IO.Path.Combine(folder.Path, "model");

    /// <summary>Begins a pretraining.</summary>
    /// <param name="options">How.</param>
    /// <param name="command">The command line, for the records.</param>
    /// <param name="progress">Told of what happens.</param>
    /// <param name="cancellation">Ends the preparation.</param>
    /// <exception cref="PermafrostException">Something cannot be read or written, or does not fit.</exception>
    /// <exception cref="UsageException">An option cannot be, or the folder holds a run.</exception>
    public static PretrainingRun Begin(PretrainingOptions options, string command, IProgress<PretrainingEvent>? progress = null, CancellationToken cancellation = default)
    {
        options.Validate();
        string place = options.OutputDir ?? System.IO.Path.Combine("runs", FormattableString.Invariant(
            $"pretrain-{options.Preset ?? PretrainingConfig.Families.First(one => one.ModelType == options.Architecture).Default}-s{options.Seed}-{DateTime.Now:yyyyMMdd-HHmmss}"));
        RunFolder folder = options.OutputDir is null ? RunFolder.CreateUnused(place) : RunFolder.Create(place);
        options = options with { OutputDir = folder.Path };
        var held = new RunLock(folder.Path);
        try
        {
            folder.CheckNew();
            var run = new PretrainingRun(options, folder, held, resumes: false, command, progress, cancellation);
            AtomicFile.WriteText(folder.Config, PretrainingOptionTable.ToYaml(options, command));
            AtomicFile.WriteText(folder.Command, command + "\n");
            RunFolder.WriteJson(System.IO.Path.Combine(folder.Path, "env.json"), EnvironmentInfo.Collect());
            return run;
        }
        catch
        {
            held.Dispose();
            folder.RemoveIfUnused();
            throw;
        }
    }

    /// <summary>Goes on with a pretraining from its newest sound checkpoint.</summary>
    /// <param name="path">Its folder.</param>
    /// <param name="change">Changes options that the result does not depend on.</param>
    /// <param name="command">The command line, for the records.</param>
    /// <param name="progress">Told of what happens.</param>
    /// <param name="cancellation">Ends the preparation.</param>
    /// <exception cref="PermafrostException">There is no sound checkpoint, or something cannot be read.</exception>
    /// <exception cref="UsageException">Options or data are others than they were.</exception>
    public static PretrainingRun Resume(
        string path, Func<PretrainingOptions, PretrainingOptions> change, string command, IProgress<PretrainingEvent>? progress = null, CancellationToken cancellation = default)
    {
        RunFolder folder = RunFolder.Open(path);
        if (!IsIn(path)) throw new PermafrostException($"{path} is no pretraining's folder");
        PretrainingOptions options = change(PretrainingOptionTable.Load(folder.Config, new PretrainingOptions())) with { OutputDir = path };
        options.Validate();
        var held = new RunLock(path);
        try
        {
            Checkpoint.Recover(folder);
            var run = new PretrainingRun(options, folder, held, resumes: true, command, progress, cancellation);
            File.AppendAllText(folder.Command, command + "\n");
            return run;
        }
        catch
        {
            held.Dispose();
            throw;
        }
    }

    /// <summary>Trains to the end, or until it is asked to stop.</summary>
    /// <returns>The results, as <c>results.json</c> holds them.</returns>
    /// <exception cref="StoppedException">It was asked to stop, or its time has passed; it has written a checkpoint.</exception>
    /// <exception cref="DivergedException">The loss is not finite, and that was to stop it.</exception>
    public JsonObject Train(StopRequest stop)
    {
        long began = Stopwatch.GetTimestamp(), saved = began;
        TimeSpan? limit = options.MaxDuration;
        using var log = new MetricsLog(folder.Metrics, logBytes);
        Note(FormattableString.Invariant(
            $"{model.ParameterCount:N0} parameters; {data.Train.Length:N0} tokens of {data.Train.Bytes:N0} bytes in {data.Train.Count:N0} documents; an epoch has ") +
            FormattableString.Invariant($"{trainer.StepsPerEpoch:N0} steps"));
        if (data.Replaced > 0) Note($"{data.Replaced:N0} byte sequence(s) were not UTF-8, and stand as U+FFFD");
        foreach ((string file, TokenStream documents) in data.HeldOut)
        {
            string more = documents.Count > 8 ? $" and {documents.Count - 8} more" : "";
            Note($"held out of {file}: {string.Join(", ", documents.Documents.Take(8).Select(one => one.Document.Name))}{more}");
        }
        double loss = 0, norm = 0, waited = 0, rate = 0;
        TimeSpan pause = TimeSpan.Zero;
        long reported = trainer.State.Step, counted = 0, since = began;
        while (trainer.State.Step < options.MaxSteps)
        {
            if (limit is { } most && Stopwatch.GetElapsedTime(began) > most) stop.Ask(StopReason.OutOfTime);
            if (stop.Reason != StopReason.None) Stop(stop, log);
            PretrainingUpdate update = trainer.Step();
            if (update.Skipped is { } why) Note($"{why}: this update is passed over");
            else (loss, norm, counted) = (loss + update.Loss, norm + update.GradientNorm, counted + 1);
            (waited, rate) = (waited + update.DataSeconds, update.LearningRate);
            long step = trainer.State.Step;
            bool last = step == options.MaxSteps;
            if (step % options.LoggingSteps == 0 || last)
            {
                double seconds = (Stopwatch.GetElapsedTime(since) - pause).TotalSeconds;
                double perSecond = (step - reported) * (double)options.BatchSize * objective.TokensPerWindow / seconds;
                var report = new StepReport(step, options.MaxSteps, counted == 0 ? double.NaN : loss / counted, norm / Math.Max(1, counted), rate, perSecond, waited);
                log.Write(report);
                progress?.Report(new PretrainingReport(report, objective.Compresses ? report.Loss / Math.Log(2) * data.Train.Length / data.Train.Bytes : null));
                (loss, norm, waited, counted, reported, pause) = (0, 0, 0, 0, step, TimeSpan.Zero);
                since = Stopwatch.GetTimestamp();
            }
            long paused = Stopwatch.GetTimestamp();
            bool due = (options.SaveSteps > 0 && step % options.SaveSteps == 0) || (options.SaveMinutes > 0 && Stopwatch.GetElapsedTime(saved).TotalMinutes >= options.SaveMinutes);
            if (options.EvalSteps > 0 && step % options.EvalSteps == 0 && !last) Evaluate(log, options.EvalTokens, stop.Token);
            if (due || last)
            {
                Save(log);
                saved = Stopwatch.GetTimestamp();
            }
            // What evaluations and checkpoints take is none of the rate; what was counted since the last report stays in the next one's means.
            if (due || (options.EvalSteps > 0 && step % options.EvalSteps == 0)) pause += Stopwatch.GetElapsedTime(paused);
        }
        return Finish(log, stop);
    }

    /// <summary>Frees model, optimiser, data and the folder's lock.</summary>
    public void Dispose()
    {
        trainer?.Dispose();
        model?.Dispose();
        data.Dispose();
        held.Dispose();
    }

    private bool IsNew() => Checkpoint.All(folder).Count == 0;

    private void Note(string text) => progress?.Report(new PretrainingNote(text));

    private void Save(MetricsLog log)
    {
        PretrainingCheckpoint.Write(folder, trainer, model, identity, log.Length);
        Checkpoint.RemoveOld(folder, options.SaveTotalLimit);
    }

    private void Stop(StopRequest stop, MetricsLog log)
    {
        Save(log);
        throw new StoppedException(FormattableString.Invariant($"stopped by {stop.Why} at step {trainer.State.Step} of {options.MaxSteps}"), stop.Reason, folder.Path);
    }

    private JsonObject Evaluate(MetricsLog log, long? most, CancellationToken cancellation)
    {
        var scores = new JsonObject();
        foreach ((string file, TokenStream documents) in data.HeldOut)
        {
            HeldOutScore score;
            try
            {
                score = HeldOutScore.Of(model, objective, documents, options.Context, tokens.Padding, options.MicroBatch, most, cancellation);
            }
            catch (OperationCanceledException)
            {
                // Asked to stop: that is seen to before the next step.
                return scores;
            }
            string name = file.Split('.')[0];
            (string, double)[] compressed = score.BitsPerByte is { } bits ? [($"eval/{name}/bits_per_byte", bits)] : [];
            log.Write(trainer.State.Step, [($"eval/{name}/loss", score.Loss), .. compressed]);
            progress?.Report(new PretrainingScored(trainer.State.Step, file, score));
            // What is no number, as of weights that have grown beyond all bounds, JSON has no word for.
            double? Finite(double? number) => number is { } value && double.IsFinite(value) ? value : null;
            scores[file] = new JsonObject { ["loss"] = Finite(score.Loss), ["answers"] = score.Answers, ["bits_per_byte"] = Finite(score.BitsPerByte) };
        }
        return scores;
    }

    private JsonObject Finish(MetricsLog log, StopRequest stop)
    {
        PretrainedFolder.Write(ModelPath, model, options);
        Note($"the model is in {ModelPath}; scoring all held-out text");
        JsonObject scores = Evaluate(log, null, stop.Token);
        if (stop.Reason != StopReason.None) Stop(stop, log);
        PretrainingState state = trainer.State;
        var results = new JsonObject
        {
            ["architecture"] = options.Architecture, ["objective"] = objective.Name, ["parameters"] = model.ParameterCount, ["steps"] = state.Step, ["tokens"] = state.Tokens,
            ["skipped"] = state.Skipped,
            ["training_tokens"] = data.Train.Length, ["training_bytes"] = data.Train.Bytes, ["replaced"] = data.Replaced,
            ["seconds"] = Math.Round(state.Seconds, 1),
            ["tokens_per_second"] = Math.Round(state.Tokens / Math.Max(1e-9, state.Seconds), 1), ["peak_memory_bytes"] = ProcessMemory.Peak, ["held_out"] = scores,
            ["held_out_documents"] = new JsonObject(data.HeldOut.Select(pair => KeyValuePair.Create(
                pair.File, (JsonNode?)new JsonArray([.. pair.Documents.Documents.Select(one => (JsonNode?)one.Document.Name)])))),
            ["model"] = ModelPath,
        };
        RunFolder.WriteJson(folder.Results, results);
        AtomicFile.WriteText(System.IO.Path.Combine(ModelPath, "README.md"), ModelCard.Of(options, results, folder.Metrics, command));
        return results;
    }
}
