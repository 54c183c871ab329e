using System.Collections.Concurrent;
using Permafrost.Models;
using Permafrost.Runs;

namespace Permafrost.Server;

/// <summary>
/// Any number of adapters over one body in memory. They can be added, replaced and removed while requests run: a request ends with the model that it began with. What one adapter
/// takes beside the body is its trained parameters.
/// </summary>
public sealed partial class AdapterHost : IDisposable
{
    private readonly ServerOptions options;
    private readonly ILogger<AdapterHost> logger;
    private readonly ConcurrentDictionary<string, ServedAdapter> served = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> refused = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Traffic> traffic = new(StringComparer.Ordinal);
    private readonly Lock loading = new();
    private FrozenWeights? body;

    /// <summary>A host without adapters.</summary>
    /// <param name="options">What is served, and within which limits.</param>
    /// <param name="logger">Told of every adapter that comes and goes.</param>
    public AdapterHost(ServerOptions options, ILogger<AdapterHost> logger)
    {
        (this.options, this.logger) = (options, logger);
        Queue = new BatchQueue(options);
        Inputs = new InputFiles(options);
    }

    /// <summary>The names of the adapters that are served, in order.</summary>
    public IReadOnlyList<string> Names => [.. served.Keys.Order(StringComparer.Ordinal)];

    /// <summary>Folders that are not served, by name, and why: one sentence each.</summary>
    public IReadOnlyDictionary<string, string> Refused => refused;

    /// <summary>The body that all share; null before the first adapter.</summary>
    public FrozenWeights? Body => body;

    /// <summary>Whether every adapter that was named at the start is there.</summary>
    public bool IsReady { get; internal set; }

    internal BatchQueue Queue { get; }

    internal InputFiles Inputs { get; }

    internal IEnumerable<ServedAdapter> Served => served.Values.OrderBy(adapter => adapter.Name, StringComparer.Ordinal);

    /// <summary>Loads a run's adapter, and serves it from then on in place of what had its name.</summary>
    /// <param name="name">Its name (<see cref="AdapterName.Rule"/>).</param>
    /// <param name="folder">The run's folder: config.yaml and adapter/ are needed, results.json is shown.</param>
    /// <exception cref="PermafrostException">The folder is missing, half-copied or damaged, or the run has another body; what had the name is served on.</exception>
    public void Add(string name, string folder)
    {
        if (!AdapterName.IsValid(name)) throw new PermafrostException($"'{name}' cannot name an adapter ({AdapterName.Rule}); rename the folder");
        try
        {
            ServedAdapter? before;
            lock (loading)
            {
                ServedAdapter adapter = Load(name, folder);
                served.TryGetValue(name, out before);
                served[name] = adapter;
            }
            refused.TryRemove(name, out _);
            before?.Release();
            if (before is null) LogAdded(logger, name, folder);
            else LogReplaced(logger, name, folder);
        }
        catch (PermafrostException error)
        {
            refused[name] = error.Message;
            LogRefused(logger, name, error.Message);
            throw;
        }
    }

    /// <summary>No longer serves an adapter; requests that have begun with it end.</summary>
    /// <returns>Whether there was one.</returns>
    public bool Remove(string name)
    {
        refused.TryRemove(name, out _);
        if (!served.TryRemove(name, out ServedAdapter? adapter)) return false;
        adapter.Release();
        LogRemoved(logger, name);
        return true;
    }

    /// <summary>Says why a folder is not served.</summary>
    internal void Refuse(string name, string reason) => refused[name] = reason;

    /// <summary>An adapter by name, to be released; null where none has it.</summary>
    internal ServedAdapter? Use(string name)
    {
        // One that was freed between the two has a successor, or is gone.
        while (served.TryGetValue(name, out ServedAdapter? adapter)) if (adapter.TryUse()) return adapter;
        return null;
    }

    internal bool Serves(string name) => served.ContainsKey(name);

    internal Traffic TrafficOf(string name) => traffic.GetOrAdd(name, static own => new Traffic(own));

    /// <summary>Frees all adapters and the body.</summary>
    public void Dispose()
    {
        Queue.Dispose();
        foreach (string name in served.Keys) if (served.TryRemove(name, out ServedAdapter? adapter)) adapter.Release();
        body?.Dispose();
        Inputs.Dispose();
    }

    private ServedAdapter Load(string name, string folder)
    {
        RunOptions saved = RunFolder.Open(folder).ReadOptions();
        var config = AdapterConfig.Read(RunFolder.At(folder).Adapter);
        FrozenWeights? loaded = null;
        try
        {
            if (body is null)
            {
                ModelOptions model = saved.Model;
                loaded = FrozenWeights.Load(BackboneSource.Resolve(options.Backbone ?? model.Backbone), model.Init, model.InitSeed, model.SkipWeights);
            }
            FrozenWeights shared = body ?? loaded!;
            // Before a model is made, which another body's configuration may not even allow.
            if (body is not null && config.BackboneSha256 is { } own && own != shared.Sha256)
                throw new PermafrostException(
                    $"{folder} was trained on another body, {config.Backbone ?? "which it does not name"}, than the one served here, {shared.Reference}; "
                    + "start another server for it");
            // Threads and device belong to the machine that serves, not to the one that trained.
            Finetuning run = Finetuning.Open(folder, withData: false, changed => changed with
            {
                Model = changed.Model with { Backbone = options.Backbone ?? shared.Reference, Threads = 0, Device = options.Device, FeatureCache = "none" },
            }, shared);
            try
            {
                var adapter = new ServedAdapter(name, folder, run, TrafficOf(name));
                body = shared;
                return adapter;
            }
            catch
            {
                run.Dispose();
                throw;
            }
        }
        catch (Exception error)
        {
            loaded?.Dispose();
            // Files that are copied or taken away meanwhile.
            if (error is IOException or UnauthorizedAccessException) throw new PermafrostException($"{folder} cannot be read: {error.Message.TrimEnd('.')}", error);
            throw;
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Adapter} is served, from {Folder}")]
    private static partial void LogAdded(ILogger logger, string adapter, string folder);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Adapter} is replaced, from {Folder}")]
    private static partial void LogReplaced(ILogger logger, string adapter, string folder);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Adapter} is no longer served")]
    private static partial void LogRemoved(ILogger logger, string adapter);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Adapter} is not served: {Reason}")]
    private static partial void LogRefused(ILogger logger, string adapter, string reason);
}
