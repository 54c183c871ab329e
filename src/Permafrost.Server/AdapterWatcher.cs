namespace Permafrost.Server;

/// <summary>
/// Loads what was named at the start, and then looks at the folder of adapters again and again. A folder is loaded once it has stayed the same between two looks: one that is
/// still being copied is waited for. What had its name is served until then, and on where the new one is damaged.
/// </summary>
internal sealed class AdapterWatcher(AdapterHost host, ServerOptions options) : BackgroundService
{
    private readonly Dictionary<string, string> seen = [];
    private readonly Dictionary<string, string> tried = [];
    private HashSet<string> named = [];

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        // In the background of nothing: whoever starts a server with a damaged run is told so at once.
        foreach ((string name, string folder) in options.Runs.Select(AdapterName.Parse))
        {
            if (!named.Add(name)) throw new UsageException($"two runs have the name '{name}'; write NAME=FOLDER for one of them");
            await Task.Run(() => host.Add(name, folder), cancellationToken).ConfigureAwait(false);
        }
        if (options.AdaptersFolder is not null) await Task.Run(() => Look(isFirst: true), cancellationToken).ConfigureAwait(false);
        host.IsReady = true;
        await base.StartAsync(cancellationToken).ConfigureAwait(false);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.AdaptersFolder is null) return;
        using var timer = new PeriodicTimer(options.Poll);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken).ConfigureAwait(false)) Look(isFirst: false);
        }
        catch (OperationCanceledException)
        {
            // The server stops.
        }
    }

    // At the start nothing is being copied, as far as one can know, and nobody wants to wait.
    private void Look(bool isFirst)
    {
        string[] folders;
        try
        {
            folders = [.. Directory.GetDirectories(Path.GetFullPath(options.AdaptersFolder!)).Where(folder => !Path.GetFileName(folder).StartsWith('.'))];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The folder itself is away for a moment, as where a disk is mounted anew: what is in memory is served on.
            return;
        }
        Dictionary<string, string> there = folders.ToDictionary(folder => Path.GetFileName(folder), folder => folder);
        foreach (string gone in seen.Keys.Where(name => !there.ContainsKey(name)).ToArray())
        {
            seen.Remove(gone);
            tried.Remove(gone);
            if (!named.Contains(gone)) host.Remove(gone);
        }
        foreach ((string name, string folder) in there)
        {
            if (named.Contains(name)) continue;
            string stamp = RunStamp.Of(folder);
            bool isSteady = isFirst || (seen.TryGetValue(name, out string? before) && before == stamp);
            seen[name] = stamp;
            if (!isSteady || tried.GetValueOrDefault(name) == stamp) continue;
            tried[name] = stamp;
            TryAdd(name, folder);
        }
    }

    private void TryAdd(string name, string folder)
    {
        try
        {
            host.Add(name, folder);
        }
        catch (PermafrostException error)
        {
            host.Refuse(name, error.Message);
        }
        catch (Exception error)
        {
            // A defect or a lack of memory at one folder; the others are looked after.
            host.Refuse(name, $"{folder} cannot be loaded ({error.GetType().Name}: {error.Message.ReplaceLineEndings(" ").TrimEnd('.')})");
        }
    }
}
