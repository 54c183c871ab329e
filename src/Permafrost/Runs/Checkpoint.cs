using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Training;
using Permafrost.Training.Optimizers;

namespace Permafrost.Runs;

/// <summary>
/// A folder <c>checkpoint-STEP</c> from which a training goes on as if it had never stopped: trained parameters, optimiser state, trainer state,
/// what the run was (to refuse going on as another run), and the best parameters so far where they are others. Written under another name
/// and renamed, with a manifest of SHA-256 sums inside, so that a crash leaves the old checkpoints or a whole new one.
/// </summary>
public static class Checkpoint
{
    /// <summary>Raised when the layout changes; a newer one is refused.</summary>
    public const int Version = 3;  // 3: without the state of libtorch's random generator, from which nothing is drawn

    private const int OldestVersion = 2;

    private const string Prefix = "checkpoint-";
    private const string Manifest = "manifest.json";
    private const string Weights = "adapter_model.safetensors";
    private const string OptimizerFile = "optimizer.safetensors";
    private const string StateFile = "trainer_state.json";
    private const string IdentityFile = "run_identity.json";
    private const string BestFile = "best_model.safetensors";
    private const string Aside = ".old";
    private const string Left = ".left";

    /// <summary>Writes a checkpoint.</summary>
    /// <exception cref="PermafrostException">The disk is full, for example; older checkpoints are untouched.</exception>
    /// <param name="folder">The run.</param>
    /// <param name="state">Where the training is.</param>
    /// <param name="logBytes">Bytes of metrics.jsonl that belong to it.</param>
    /// <param name="model">The model.</param>
    /// <param name="optimizer">Its optimiser.</param>
    /// <param name="identity">What the run is.</param>
    /// <param name="keepsBest">Whether the best parameters are kept too.</param>
    public static string Write(RunFolder folder, TrainerState state, long logBytes, AdaptedModel model, Optimizer optimizer, RunIdentity identity, bool keepsBest)
    {
        return Write(folder, state.Step, temporary =>
        {
            using var scope = torch.NewDisposeScope();
            (IReadOnlyDictionary<string, Tensor> slots, IReadOnlyDictionary<string, long> steps) = optimizer.State();
            SafetensorsWriter.Write(Path.Combine(temporary, Weights), model.Adapter());
            SafetensorsWriter.Write(Path.Combine(temporary, OptimizerFile), slots);
            RunFolder.WriteJson(Path.Combine(temporary, StateFile), TrainerStateJson.Of(state, logBytes, steps));
            RunFolder.WriteJson(Path.Combine(temporary, IdentityFile), identity.ToJson());
            // What is best now may not be what is in best/ when a killed run goes on.
            bool other = keepsBest && state.BestStep >= 0 && state.BestStep < state.Step;
            if (other) AtomicFile.Copy(AdapterFolder.WeightsOf(folder.Best), Path.Combine(temporary, BestFile));
            return other ? [.. Files, BestFile] : Files;
        });
    }

    /// <summary>Writes a checkpoint whose files somebody else writes.</summary>
    /// <param name="folder">The run.</param>
    /// <param name="step">Its number.</param>
    /// <param name="fill">Writes the files into a folder, and tells their names.</param>
    /// <exception cref="PermafrostException">The disk is full, for example; older checkpoints are untouched.</exception>
    internal static string Write(RunFolder folder, long step, Func<string, string[]> fill)
    {
        string target = Path.Combine(folder.Path, FormattableString.Invariant($"{Prefix}{step}"));
        string temporary = $"{target}.{Environment.ProcessId}.tmp";
        try
        {
            if (Directory.Exists(temporary)) Directory.Delete(temporary, recursive: true);
            Directory.CreateDirectory(temporary);
            var sums = new JsonObject();
            foreach (string file in fill(temporary)) sums[file] = Sha256(Path.Combine(temporary, file));
            RunFolder.WriteJson(Path.Combine(temporary, Manifest), new JsonObject { ["checkpoint_version"] = Version, ["sha256"] = sums });
            // The same step again (a stop right after a regular save): the whole new one replaces the whole old one, which a crash between leaves to Recover.
            string aside = target + Aside;
            bool replaces = Directory.Exists(target);
            if (replaces)
            {
                if (Directory.Exists(aside)) Directory.Delete(aside, recursive: true);
                Directory.Move(target, aside);
            }
            try
            {
                Directory.Move(temporary, target);
            }
            catch when (replaces && !Directory.Exists(target))
            {
                Directory.Move(aside, target);
                throw;
            }
            if (Directory.Exists(aside)) TryRemove(aside);
            return target;
        }
        catch (Exception error) when (AtomicFile.IsRefusal(error) || error is PermafrostException { InnerException: { } inner } && AtomicFile.IsRefusal(inner))
        {
            TryRemove(temporary);
            Exception cause = error is PermafrostException ? error.InnerException! : error;
            string reason = AtomicFile.Reason(cause).Replace(temporary, target, StringComparison.Ordinal);
            string remedy = AtomicFile.IsFull(cause) ? "free some space" : "put that right";
            throw new PermafrostException($"cannot write {target}: {reason}; {remedy}, then let the run go on", cause);
        }
        catch
        {
            TryRemove(temporary);
            throw;
        }
    }

    /// <summary>
    /// Puts checkpoints after a step aside: of a course that the run leaves, by going on from an earlier one. They go with the next <see cref="RemoveOldCheckpoints"/>.
    /// </summary>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public static void PutAside(RunFolder folder, long step)
    {
        try
        {
            foreach (string path in All(folder).Where(path => StepOf(path) > step))
            {
                if (Directory.Exists(path + Left)) Directory.Delete(path + Left, recursive: true);
                Directory.Move(path, path + Left);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"checkpoints in {folder.Path} cannot be put aside: {error.Message.TrimEnd('.')}");
        }
    }

    /// <summary>Deletes all but the newest <paramref name="keep"/> checkpoints, those of a course that was left, and what crashes left half-written.</summary>
    public static void RemoveOldCheckpoints(RunFolder folder, int keep)
    {
        foreach (string path in All(folder).SkipLast(keep)) TryRemove(path);
        foreach (string leftover in Directory.EnumerateDirectories(folder.Path, Prefix + "*.tmp")) TryRemove(leftover);
        foreach (string leftover in Directory.EnumerateDirectories(folder.Path, Prefix + "*" + Aside)) TryRemove(leftover);
        foreach (string left in Directory.EnumerateDirectories(folder.Path, Prefix + "*" + Left)) TryRemove(left);
    }

    /// <summary>The checkpoint folders of a run, oldest first.</summary>
    public static IReadOnlyList<string> All(RunFolder folder) =>
        [.. Directory.EnumerateDirectories(folder.Path, Prefix + "*").Where(path => StepOf(path) is not null).OrderBy(path => StepOf(path)!.Value)];

    /// <summary>Whether a path is named like a checkpoint.</summary>
    public static bool IsCheckpointPath(string path) => StepOf(path.TrimEnd('/')) is not null;

    /// <summary>The newest sound checkpoint of a run; damaged ones are reported through <paramref name="warn"/> and passed over.</summary>
    /// <exception cref="PermafrostException">There is none.</exception>
    public static string Newest(RunFolder folder, Action<string> warn)
    {
        Recover(folder);
        foreach (string path in All(folder).Reverse())
        {
            try
            {
                Verify(path);
                return path;
            }
            catch (PermafrostException error)
            {
                warn($"{error.Message}; trying the one before");
            }
        }
        throw new PermafrostException($"{folder.Path} has no sound checkpoint to go on from; choose another `output_dir` to start anew");
    }

    /// <summary>Checks every file against the manifest.</summary>
    /// <exception cref="PermafrostException">A file is missing or damaged, or the checkpoint is from a newer version.</exception>
    public static void Verify(string path)
    {
        if (!Directory.Exists(path)) throw new PermafrostException(File.Exists(path) ? $"{path} is a file, not a checkpoint's folder" : $"{path} does not exist");
        string manifest = Path.Combine(path, Manifest);
        if (!File.Exists(manifest)) throw new PermafrostException($"{path} is no whole checkpoint: it has no {Manifest}");
        JsonObject json = JsonFile.Read(manifest);
        if (json["checkpoint_version"] is not JsonValue value || !value.TryGetValue(out int version))
            throw new PermafrostException($"{manifest} is damaged: it has no checkpoint_version");
        if (version > Version) throw new PermafrostException($"{path} is of checkpoint version {version}; this program knows up to {Version}: update it");
        if (version < OldestVersion)
            throw new PermafrostException(
                $"{path} was written by an earlier version, whose engine drew other random numbers, so its run cannot be continued to the same result: " +
                "start it again, or evaluate its adapter");
        string[] files = json["sha256"]?[PretrainingFiles[0]] is not null ? PretrainingFiles : json["sha256"]?[BestFile] is null ? Files : [.. Files, BestFile];
        foreach (string file in files)
        {
            string full = Path.Combine(path, file);
            if (!File.Exists(full)) throw new PermafrostException($"{path} is damaged: {file} is missing");
            if (json["sha256"]?[file]?.ToString() != Sha256(full)) throw new PermafrostException($"{path} is damaged: {file} is not what was written (its SHA-256 differs)");
        }
    }

    /// <summary>What the run was that wrote a checkpoint.</summary>
    /// <exception cref="PermafrostException">The file is damaged.</exception>
    public static RunIdentity Identity(string path) => RunIdentity.FromJson(JsonFile.Read(Path.Combine(path, IdentityFile)), Path.Combine(path, IdentityFile));

    /// <summary>How much of metrics.jsonl had been written by then.</summary>
    public static long LogBytes(string path) => TrainerStateJson.Read(Path.Combine(path, StateFile)).LogBytes;

    /// <summary>Puts a verified checkpoint's weights and optimiser back.</summary>
    /// <returns>The trainer's state.</returns>
    /// <exception cref="PermafrostException">A part does not fit this run.</exception>
    public static TrainerState Restore(string path, AdaptedModel model, Optimizer optimizer)
    {
        using var scope = torch.NewDisposeScope();
        model.LoadAdapter(AdapterFolder.ReadFile(Path.Combine(path, Weights)), path, complete: true);
        (TrainerState state, _, IReadOnlyDictionary<string, long> steps) = TrainerStateJson.Read(Path.Combine(path, StateFile));
        try
        {
            optimizer.Restore(AdapterFolder.ReadFile(Path.Combine(path, OptimizerFile)), steps);
        }
        catch (Exception error) when (error is ArgumentException or ExternalException)
        {
            throw new PermafrostException($"{path} does not fit this run: {error.Message.ReplaceLineEndings(" ")}");
        }
        return state;
    }

    /// <summary>Makes <c>best/</c> what it was when a verified checkpoint was written: it may have been improved since, or damaged.</summary>
    /// <param name="path">The checkpoint. Where it holds no best parameters, its own are the best.</param>
    /// <param name="folder">The run.</param>
    /// <param name="state">The checkpoint's.</param>
    /// <param name="adapterConfig">Describes the best parameters.</param>
    /// <exception cref="PermafrostException">They are nowhere, or cannot be read or written.</exception>
    public static void RestoreBest(string path, RunFolder folder, TrainerState state, JsonObject adapterConfig)
    {
        using var scope = torch.NewDisposeScope();
        string best = Path.Combine(path, BestFile), own = Path.Combine(path, Weights);
        if (File.Exists(best)) AdapterFolder.Write(folder.Best, adapterConfig, AdapterFolder.ReadFile(best));
        else if (state.BestStep == state.Step) AdapterFolder.Write(folder.Best, adapterConfig, AdapterFolder.ReadFile(own));
        else
            throw new PermafrostException(
                $"{path} has its best validation at step {state.BestStep}, and not the parameters of then; " +
                "go on without them, with `load_best_model_at_end` off and that change allowed");
    }

    /// <summary>The files of a pretraining's checkpoint: all weights, in Hugging Face's layout, optimiser, state, identity.</summary>
    internal static readonly string[] PretrainingFiles = ["model.safetensors", OptimizerFile, StateFile, IdentityFile];

    private static string[] Files => [Weights, OptimizerFile, StateFile, IdentityFile];

    private static long? StepOf(string path)
    {
        string name = Path.GetFileName(path);
        if (!name.StartsWith(Prefix, StringComparison.Ordinal)) return null;
        return long.TryParse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long step) ? step : null;
    }

    private static string Sha256(string path)
    {
        using FileStream stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    /// <summary>Puts back a whole checkpoint that a crash, while the same step was written again, has left aside.</summary>
    public static void Recover(RunFolder folder)
    {
        foreach (string aside in Directory.EnumerateDirectories(folder.Path, Prefix + "*" + Aside))
        {
            string path = aside[..^Aside.Length];
            if (StepOf(path) is null || Directory.Exists(path)) continue;
            try
            {
                Verify(aside);
                Directory.Move(aside, path);
            }
            catch (Exception error) when (error is PermafrostException or IOException or UnauthorizedAccessException)
            {
                // Half deleted already: the older ones are there.
            }
        }
    }

    // Renamed first: a crash while deleting leaves no folder that looks like a checkpoint.
    private static void Remove(string path)
    {
        string aside = path + Aside;
        if (Directory.Exists(aside)) Directory.Delete(aside, recursive: true);
        Directory.Move(path, aside);
        Directory.Delete(aside, recursive: true);
    }

    private static void TryRemove(string path)
    {
        try
        {
            bool isLeftover = path.EndsWith(".tmp", StringComparison.Ordinal) || path.EndsWith(Aside, StringComparison.Ordinal) || path.EndsWith(Left, StringComparison.Ordinal);
            if (isLeftover) Directory.Delete(path, recursive: true);
            else Remove(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // An old checkpoint that cannot be deleted costs space, nothing else.
        }
    }
}
