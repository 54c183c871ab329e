using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Permafrost.Formats;
using Permafrost.Kernels;
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
    // Steps after which several processes make sure that they still have the same weights.
    private const int CheckedEvery = 100;

    private readonly PretrainingOptions options;
    private readonly RunFolder folder;
    private readonly RunLock? held;
    private readonly ProcessGroup group;
    private readonly PretrainingData data;
    private readonly Objective objective;
    private readonly ObjectiveTokens tokens;
    private readonly LanguageModel model;
    private readonly Pretrainer trainer;
    private readonly SortedDictionary<string, string> identity;
    private readonly IProgress<PretrainingEvent>? progress;
    private readonly long logBytes;
    private readonly string command;

    // Of several processes only the first has the folder's lock, writes, and tells of its progress.
    private PretrainingRun(
        PretrainingOptions options, RunFolder folder, RunLock? held, bool resumes, string command, ProcessGroup group, IProgress<PretrainingEvent>? progress,
        CancellationToken cancellation)
    {
        (this.options, this.folder, this.held, this.command, this.group) = (options, folder, held, command, group);
        this.progress = group.IsFirst ? progress : null;
        Tokenizer tokenizer = TokenizerFiles.Load(options.Tokenizer);
        tokens = PretrainingConfig.Tokens(options, tokenizer);
        objective = PretrainingConfig.Objective(options, tokens);
        HfConfig config = PretrainingConfig.Create(options, tokenizer);
        // The first cuts the text into tokens; the others find that done, where they share its disk.
        if (!group.IsFirst) group.Wait();
        data = PretrainingData.Open(options, tokenizer, tokens.Separator, progress: Note, cancellation: cancellation);
        if (group.IsFirst) group.Wait();
        try
        {
            ScalarType type = options.Dtype == "bfloat16" ? ScalarType.BFloat16 : ScalarType.Float32;
            model = new LanguageModel(config, options.Seed, options.Dropout, type);
            trainer = new Pretrainer(options, model, objective, data.Train, group);
            identity = PretrainingCheckpoint.Identity(options, data);
            if (resumes && !IsNew())
            {
                string checkpoint = Checkpoint.Newest(folder, Note);
                PretrainingCheckpoint.CheckSame(checkpoint, identity);
                logBytes = PretrainingCheckpoint.Restore(checkpoint, trainer, model);
                CheckTogether();
                if (group.IsFirst) Checkpoint.PutAside(folder, trainer.State.Step);
                Note($"going on from {checkpoint}");
                int before = PretrainingCheckpoint.Processes(checkpoint);
                if (before != group.Size) Note($"{before} process(es) computed it so far, and {group.Size} do from here on: losses are the same within rounding, not bit for bit");
                return;
            }
            if (resumes) Note($"{folder.Path} was ended before its first checkpoint: it begins again");
            CheckTogether();
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
    /// <param name="group">The processes that train together, each of which calls this; null for this one alone.</param>
    /// <param name="cancellation">Ends the preparation.</param>
    /// <exception cref="PermafrostException">Something cannot be read or written, or does not fit.</exception>
    /// <exception cref="UsageException">An option cannot be, or the folder holds a run.</exception>
    public static PretrainingRun Begin(
        PretrainingOptions options, string command, IProgress<PretrainingEvent>? progress = null, ProcessGroup? group = null, CancellationToken cancellation = default)
    {
        group ??= ProcessGroup.Alone;
        options.Validate();
        if (options.ObjectiveName == PretrainingOptions.BitMemory) throw new ArgumentException($"{nameof(BitMemoryPretraining)} trains without text", nameof(options));
        string place = options.OutputDir ?? System.IO.Path.Combine("runs", FormattableString.Invariant(
            $"pretrain-{options.Preset ?? PretrainingConfig.Families.First(one => one.ModelType == options.Architecture).Default}-s{options.Seed}-{DateTime.Now:yyyyMMdd-HHmmss}"));
        if (!group.IsFirst) return new PretrainingRun(options, RunFolder.At(place), null, resumes: false, command, group, progress, cancellation);
        RunFolder folder = options.OutputDir is null ? RunFolder.CreateUnused(place) : RunFolder.Create(place);
        options = options with { OutputDir = folder.Path };
        var held = new RunLock(folder.Path);
        try
        {
            folder.CheckNew();
            var run = new PretrainingRun(options, folder, held, resumes: false, command, group, progress, cancellation);
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
    /// <param name="group">The processes that train together, each of which calls this and sees the folder; null for this one alone.</param>
    /// <param name="cancellation">Ends the preparation.</param>
    /// <exception cref="PermafrostException">There is no sound checkpoint, or something cannot be read.</exception>
    /// <exception cref="UsageException">Options or data are others than they were.</exception>
    public static PretrainingRun Resume(
        string path, Func<PretrainingOptions, PretrainingOptions> change, string command, IProgress<PretrainingEvent>? progress = null, ProcessGroup? group = null,
        CancellationToken cancellation = default)
    {
        group ??= ProcessGroup.Alone;
        RunFolder folder = RunFolder.Open(path);
        if (!IsIn(path)) throw new PermafrostException($"{path} is no pretraining's folder");
        PretrainingOptions options = change(PretrainingOptionTable.Load(folder.Config, new PretrainingOptions())) with { OutputDir = path };
        options.Validate();
        RunLock? held = group.IsFirst ? new RunLock(path) : null;
        try
        {
            // The first puts right what was cut off; then the others look.
            if (held is not null) Checkpoint.Recover(folder);
            group.Wait();
            var run = new PretrainingRun(options, folder, held, resumes: true, command, group, progress, cancellation);
            if (held is not null) File.AppendAllText(folder.Command, command + "\n");
            return run;
        }
        catch
        {
            held?.Dispose();
            throw;
        }
    }

    /// <summary>Trains to the end, or until it is asked to stop.</summary>
    /// <returns>What it came to, which <c>results.json</c> holds too; the scores only in the first of several processes.</returns>
    /// <exception cref="StoppedException">It was asked to stop, or its time has passed; it has written a checkpoint.</exception>
    /// <exception cref="DivergedException">The loss is not finite, and that was to stop it.</exception>
    public PretrainingResult Train(StopRequest stop)
    {
        long began = Stopwatch.GetTimestamp(), saved = began;
        TimeSpan? limit = options.MaxDuration;
        using MetricsLog? log = group.IsFirst ? new MetricsLog(folder.Metrics, logBytes) : null;
        Note(FormattableString.Invariant(
            $"{model.ParameterCount:N0} parameters; {data.Train.Length:N0} tokens of {data.Train.Bytes:N0} bytes in {data.Train.Count:N0} documents; an epoch has ") +
            FormattableString.Invariant($"{trainer.StepsPerEpoch:N0} steps"));
        if (group.Size > 1) Note($"{group.Size} processes, with {options.BatchSize} sequences of each update between them");
        if (data.Replaced > 0) Note($"{data.Replaced:N0} byte sequence(s) were not UTF-8, and stand as U+FFFD");
        foreach ((string file, TokenStream documents) in data.HeldOut)
        {
            string more = documents.Count > 8 ? $" and {documents.Count - 8} more" : "";
            Note($"held out of {file}: {string.Join(", ", documents.Documents.Take(8).Select(one => one.Document.Name))}{more}");
        }
        // A checkpoint that was written where a scoring had been broken off has it still to come.
        ScoreOnTheWay(log, stop.Token);
        while (trainer.State.Step < options.MaxSteps)
        {
            if (limit is { } most && Stopwatch.GetElapsedTime(began) > most) stop.Ask(StopReason.OutOfTime);
            if (IsToStop(stop)) Stop(stop, log);
            PretrainingUpdate update = trainer.Step();
            if (update.Skipped is { } why) Note($"{why}: this update is passed over");
            long step = trainer.State.Step;
            bool last = step == options.MaxSteps;
            if (step % options.LoggingSteps == 0 || last) Report(log, update.LearningRate);
            bool due = (options.SaveSteps > 0 && step % options.SaveSteps == 0) || (options.SaveMinutes > 0 && Stopwatch.GetElapsedTime(saved).TotalMinutes >= options.SaveMinutes);
            ScoreOnTheWay(log, stop.Token);
            if (last || step % CheckedEvery == 0) CheckTogether();
            if (!due && !last) continue;
            Save(log);
            saved = Stopwatch.GetTimestamp();
        }
        return Finish(log, stop);
    }

    /// <summary>Frees model, optimiser, data and the folder's lock.</summary>
    public void Dispose()
    {
        trainer?.Dispose();
        model?.Dispose();
        data.Dispose();
        held?.Dispose();
    }

    private bool IsNew() => Checkpoint.All(folder).Count == 0;

    private void Note(string text) => progress?.Report(new PretrainingNote(text));

    // Whoever is asked to stop, all do, after the same update. A wish that comes while the processes exchange theirs waits for the next update: the others do not know of it yet.
    private bool IsToStop(StopRequest stop)
    {
        group.Wait();
        StopReason reason = group.Gather(stop.Reason).Max();
        if (reason != StopReason.None) stop.Ask(reason);
        return reason != StopReason.None;
    }

    // Processes with other text, options, kernels or weights would train apart without a sign.
    private void CheckTogether()
    {
        if (group.Size == 1) return;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string key, string value) in identity) hash.AppendData(Encoding.UTF8.GetBytes($"{key}={value};"));
        hash.AppendData(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{KernelSet.Name};{trainer.State.Step};")));
        foreach ((_, Tensor tensor) in model.Parameters) tensor.ReadBytes(bytes => hash.AppendData(bytes));
        if (group.FirstUnlike(hash.GetHashAndReset()) is not { } other) return;
        throw new PermafrostException(
            $"process {other} of {group.Size} has other text, options, kernels or weights than process 0 at step {trainer.State.Step}; " +
            "give all processes the same files and processors of the same kind");
    }

    private void Save(MetricsLog? log)
    {
        if (log is null) return;
        PretrainingCheckpoint.Write(folder, trainer, model, identity, log.Length);
        Checkpoint.RemoveOldCheckpoints(folder, options.SaveTotalLimit);
    }

    private void Stop(StopRequest stop, MetricsLog? log)
    {
        Save(log);
        group.Wait();
        throw new StoppedException(FormattableString.Invariant($"stopped by {stop.Why} at step {trainer.State.Step} of {options.MaxSteps}"), stop.Reason, folder.Path);
    }

    private void Report(MetricsLog? log, double rate)
    {
        if (log is null) return;
        PretrainingState state = trainer.State;
        PretrainingSums sums = state.SinceReport;
        double perSecond = (state.Step - sums.Step) * (double)options.BatchSize * objective.TokensPerWindow / Math.Max(1e-9, state.Seconds - sums.Seconds);
        double loss = sums.Updates == 0 ? double.NaN : sums.Loss / sums.Updates;
        var report = new StepReport(state.Step, options.MaxSteps, loss, sums.GradientNorm / Math.Max(1, sums.Updates), rate, perSecond, sums.DataSeconds);
        log.Write(report);
        progress?.Report(new PretrainingReport(report, objective.Compresses ? loss / Math.Log(2) * data.Train.Length / data.Train.Bytes : null));
        trainer.State = state with { SinceReport = new PretrainingSums(state.Step, state.Seconds) };
    }

    private void ScoreOnTheWay(MetricsLog? log, CancellationToken cancellation)
    {
        if (log is null) return;
        long step = trainer.State.Step;
        if (options.EvalSteps == 0 || step == 0 || step % options.EvalSteps != 0 || step == options.MaxSteps || step == trainer.State.EvaluatedAt) return;
        if (Score(log, options.EvalTokens, cancellation) is not null) trainer.State = trainer.State with { EvaluatedAt = step };
    }

    // The scores by file; null, and nothing in the log, where it was asked to stop: that is seen to before the next step.
    private HeldOutScore[]? Score(MetricsLog log, long? most, CancellationToken cancellation)
    {
        var scores = new List<HeldOutScore>();
        foreach ((string file, TokenStream documents) in data.HeldOut)
        {
            try
            {
                scores.Add(HeldOutScore.Of(model, objective, documents, options.Context, tokens.Padding, options.MicroBatch, most, cancellation));
            }
            catch (OperationCanceledException)
            {
                return null;
            }
            progress?.Report(new PretrainingScored(trainer.State.Step, file, scores[^1]));
        }
        foreach (((string file, _), HeldOutScore score) in data.HeldOut.Zip(scores))
        {
            (string, double)[] compressed = score.BitsPerByte is { } bits ? [($"eval/{file}/bits_per_byte", bits)] : [];
            log.Write(trainer.State.Step, [($"eval/{file}/loss", score.Loss), .. compressed]);
        }
        return [.. scores];
    }

    private PretrainingResult Finish(MetricsLog? log, StopRequest stop)
    {
        if (log is null)
        {
            group.Wait();
            return Result([]);
        }
        PretrainedFolder.Write(ModelPath, model, options);
        Note($"the model is in {ModelPath}; scoring all held-out text");
        if (Baselines(stop.Token) is not { } baselines || Score(log, null, stop.Token) is not { } scores)
        {
            Stop(stop, log);
            throw new UnreachableException();
        }
        PretrainingResult result = Result([.. data.HeldOut.Select((pair, i) =>
            new HeldOutResult(pair.File, scores[i], baselines.Bigrams[i], [.. pair.Documents.Documents.Select(one => one.Document.Name)]) { XzBitsPerByte = baselines.Xz[i] })]);
        RunFolder.WriteJson(folder.Results, result.ToJson());
        AtomicFile.WriteText(System.IO.Path.Combine(ModelPath, "README.md"), ModelCard.Of(options, result, folder.Metrics, command));
        group.Wait();
        return result;
    }

    private PretrainingResult Result(IReadOnlyList<HeldOutResult> heldOut) => new()
    {
        Architecture = options.Architecture,
        Objective = objective.Name,
        Parameters = model.ParameterCount,
        State = trainer.State,
        TrainingTokens = data.Train.Length,
        TrainingBytes = data.Train.Bytes,
        Replaced = data.Replaced,
        PeakMemoryBytes = ProcessMemory.Peak,
        HeldOut = heldOut,
        Model = ModelPath,
    };

    private (double[] Bigrams, double?[] Xz)? Baselines(CancellationToken cancellation)
    {
        try
        {
            TokenStream[] heldOut = [.. data.HeldOut.Select(pair => pair.Documents)];
            return (BigramBaseline.BitsPerByte(data.Train, heldOut, tokens.Vocabulary, cancellation), XzBaseline.BitsPerByte(heldOut, cancellation: cancellation));
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }
}
