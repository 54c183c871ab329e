using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Formats;

namespace Permafrost.Runs;

/// <summary>A run's folder and the names of the files in it.</summary>
public sealed class RunFolder
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private RunFolder(string path) => Path = path;

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>The resolved options.</summary>
    public string Config => System.IO.Path.Combine(Path, "config.yaml");

    /// <summary>The command line, and those it went on with.</summary>
    public string Command => System.IO.Path.Combine(Path, "command.txt");

    /// <summary>How the run came to be what it is.</summary>
    public string History => System.IO.Path.Combine(Path, "history.json");

    /// <summary>One JSON object a line: losses, norms, scores.</summary>
    public string Metrics => System.IO.Path.Combine(Path, "metrics.jsonl");

    /// <summary>The final scores.</summary>
    public string Results => System.IO.Path.Combine(Path, "results.json");

    /// <summary>The trained parameters at the best validation so far.</summary>
    public string Best => System.IO.Path.Combine(Path, "best");

    /// <summary>The trained parameters.</summary>
    public string Adapter => System.IO.Path.Combine(Path, "adapter");

    /// <summary>The folder at a path, whatever is there.</summary>
    public static RunFolder At(string path) => new(path);

    /// <summary>Makes a new run's folder, before anything is computed.</summary>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    /// <exception cref="UsageException">It holds a run already.</exception>
    public static RunFolder Create(string path)
    {
        var folder = new RunFolder(path);
        folder.CheckNew();
        for (string? part = System.IO.Path.GetFullPath(path); part is not null; part = System.IO.Path.GetDirectoryName(part))
            if (File.Exists(part)) throw new PermafrostException($"`output_dir` {path} cannot be made: {part} is a file, not a folder; choose another folder");
        try
        {
            Directory.CreateDirectory(path);
            string probe = System.IO.Path.Combine(path, $".{System.IO.Path.GetRandomFileName()}.probe");
            File.WriteAllText(probe, "");
            File.Delete(probe);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"`output_dir` {path} cannot be written: {error.Message.TrimEnd('.')}; choose another folder");
        }
        return folder;
    }

    /// <summary>Makes a new run's folder at a path or with -2, -3, ... behind it: one that no other run has, even of those that begin at the same moment.</summary>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    public static RunFolder CreateUnused(string path)
    {
        while (true)
        {
            RunFolder folder = Create(Unused(path));
            string mine = System.IO.Path.Combine(folder.Path, ".lock");
            try
            {
                // Of two that made the same folder, one makes the file.
                new FileStream(mine, FileMode.CreateNew).Dispose();
                return folder;
            }
            catch (IOException) when (File.Exists(mine))
            {
                // The other one's.
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                throw new PermafrostException($"`output_dir` {folder.Path} cannot be written: {error.Message.TrimEnd('.')}; choose another folder");
            }
        }
    }

    /// <summary>Refuses a folder that another process has begun a run in since <see cref="Create"/> looked; to be asked again once it is locked.</summary>
    /// <exception cref="UsageException">It holds a run.</exception>
    public void CheckNew()
    {
        if (File.Exists(Config) || File.Exists(Results))
            throw new UsageException(
                $"`output_dir` {Path} holds a run already; choose another folder, remove it, " +
                $"or go on with it: `resume_from_checkpoint` {ShellWord.Quoted(Path)}");
    }

    /// <summary>Refuses to go on in a folder that somebody has removed meanwhile: what is written from now on would be no whole run.</summary>
    /// <exception cref="PermafrostException">It is gone.</exception>
    public void CheckStillThere()
    {
        if (!File.Exists(Config) || !File.Exists(Metrics))
            throw new PermafrostException(
                $"{Path} was removed, or files were removed from it, while the run was writing there; " +
                "start it again, and leave its folder alone meanwhile");
    }

    /// <summary>
    /// The options in <see cref="Config"/>. A backbone or data that are no longer where they were, but are there by the same way from this folder as once, as where a
    /// folder was moved with all that is in it, are looked for there.
    /// </summary>
    /// <exception cref="PermafrostException">The file cannot be read, or holds something else.</exception>
    public RunOptions ReadOptions()
    {
        RunOptions options = RunConfig.Load(Config, new RunOptions());
        if (options.Data.Task.Length == 0 || options.Model.Backbone.Length == 0)
            throw new PermafrostException($"{Config} is damaged: it names no {(options.Data.Task.Length == 0 ? "task" : "backbone")}");
        string? once = options.Checkpoints.OutputDir;
        string? Found(string? place)
        {
            if (place is null || !System.IO.Path.IsPathRooted(place) || System.IO.Path.Exists(place) || !System.IO.Path.IsPathRooted(once)) return place;
            string moved = System.IO.Path.GetFullPath(System.IO.Path.Combine(Path, System.IO.Path.GetRelativePath(once!, place)));
            return System.IO.Path.Exists(moved) ? moved : place;
        }
        return options with
        {
            Model = options.Model with { Backbone = Found(options.Model.Backbone)!, InitAdapter = Found(options.Model.InitAdapter) },
            Data = options.Data with { Path = Found(options.Data.Path) },
        };
    }

    /// <summary>Puts aside what a finished run has said, when it trains on: the files and the adapter get the step into their names.</summary>
    /// <param name="step">The step, where results.json does not tell.</param>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public void PutResultsAside(long step)
    {
        if (File.Exists(Results) && JsonFile.Read(Results)["steps"] is JsonValue value && value.TryGetValue(out long told)) step = told;
        try
        {
            // results.json last: whatever ends the process in between, the rest is found with the same step again.
            foreach (string name in new[] { "predictions.jsonl", "report.html", "adapter", "results.json" })
            {
                string path = System.IO.Path.Combine(Path, name), stem = FormattableString.Invariant($"{System.IO.Path.GetFileNameWithoutExtension(name)}-{step}");
                if (!System.IO.Path.Exists(path)) continue;
                string aside = System.IO.Path.Combine(Path, stem + System.IO.Path.GetExtension(name));
                for (int i = 2; System.IO.Path.Exists(aside); i++) aside = System.IO.Path.Combine(Path, $"{stem}-{i}{System.IO.Path.GetExtension(name)}");
                Directory.Move(path, aside);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"the results in {Path} cannot be put aside: {error.Message.TrimEnd('.')}");
        }
    }

    /// <summary>A path as every folder knows it, without a slash at its end.</summary>
    public static string Full(string path) => System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(path));

    /// <summary>Whether nothing but the beginning of a run is here: no checkpoint, no result of now or before.</summary>
    public bool HasOnlyBegun() =>
        Checkpoint.All(this).Count == 0
        && !File.Exists(Results) && !Directory.Exists(Adapter)
        && !Directory.EnumerateFileSystemEntries(Path, "results-*.json").Any() && !Directory.EnumerateDirectories(Path, "adapter-*").Any();

    /// <summary>Removes a folder in which nothing but the lock was made.</summary>
    public void RemoveIfUnused()
    {
        try
        {
            if (Directory.EnumerateFileSystemEntries(Path).Any(entry => System.IO.Path.GetFileName(entry) != ".lock")) return;
            File.Delete(System.IO.Path.Combine(Path, ".lock"));
            Directory.Delete(Path);
            string? parent = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path));
            if (System.IO.Path.GetFileName(parent) == "runs" && !Directory.EnumerateFileSystemEntries(parent!).Any()) Directory.Delete(parent!);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // An empty folder harms nothing.
        }
    }

    /// <summary>Opens a finished run's folder.</summary>
    /// <exception cref="PermafrostException">It is no run, or has no adapter.</exception>
    public static RunFolder Open(string path)
    {
        var folder = new RunFolder(path);
        if (File.Exists(path)) throw new PermafrostException($"{path} is a file, not a run's folder; `permafrost ls runs` lists the runs");
        if (!Directory.Exists(path)) throw new PermafrostException($"{path} does not exist; `permafrost ls runs` lists the runs");
        if (!File.Exists(folder.Config)) throw new PermafrostException($"{path} is no run: it has no config.yaml");
        return folder;
    }

    /// <summary>A path for something new: itself, or with -2, -3, ... where it is taken, as when two runs begin within a second or the clock was set back.</summary>
    public static string Unused(string path) =>
        !System.IO.Path.Exists(path) ? path : Enumerable.Range(2, int.MaxValue - 2).Select(i => $"{path}-{i}").First(other => !System.IO.Path.Exists(other));

    /// <summary>The default place: <c>runs/task-backbone-policy-sSEED-time</c>.</summary>
    public static string DefaultPath(RunOptions options, DateTime now)
    {
        string backbone = System.IO.Path.GetFileName(options.Model.Backbone.TrimEnd('/'));
        string policy = options.Model.Policy == "*" ? "all" : options.Model.Policy;
        string name = FormattableString.Invariant($"{options.Data.Told().Task}-{backbone}-{policy}-s{options.Seed}-{now:yyyyMMdd-HHmmss}");
        return System.IO.Path.Combine("runs", string.Concat(name.Select(c => char.IsLetterOrDigit(c) || c is '-' or '_' or '.' or '@' ? c : '_')));
    }

    /// <summary>Writes a JSON object, indented, atomically.</summary>
    public static void WriteJson(string path, JsonObject json) => AtomicFile.WriteText(path, json.ToJsonString(Indented) + "\n");
}
