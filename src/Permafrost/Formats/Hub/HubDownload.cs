using Permafrost.Formats.Web;

namespace Permafrost.Formats.Hub;

/// <summary>
/// Fetches models from Hugging Face into its cache, in its client's own layout, so that Python finds them too. A model appears there once all of it is here and checked; what
/// breaks off stays as <c>blobs/ETAG.incomplete</c> and goes on from there. Several processes, Python's among them, wait for each other, file by file.
/// </summary>
public sealed class HubDownload
{
    private static readonly TimeSpan Glance = TimeSpan.FromSeconds(0.1);

    private static readonly Lock Linking = new();

    private readonly HubClient client;
    private readonly string name;
    private readonly string revision;
    private readonly string folder;
    private readonly IProgress<DownloadProgress>? progress;

    private HubDownload(HubClient client, string name, string revision, IProgress<DownloadProgress>? progress)
    {
        (this.client, this.name, this.revision, this.progress) = (client, name, revision, progress);
        folder = HubCache.FolderOf(name);
    }

    /// <summary>Fetches a model's configuration, tokenizer and weights, as far as they are not here.</summary>
    /// <param name="name">Its name, such as <c>gpt2</c> or <c>facebook/bart-base</c>.</param>
    /// <param name="revision">A branch, a tag or a commit.</param>
    /// <param name="progress">Hears of each piece.</param>
    /// <param name="cancellation">Stops it; what is here stays, and goes on with the next call.</param>
    /// <returns>The snapshot's folder.</returns>
    /// <exception cref="PermafrostException">The model is not there, not for this user, not readable as a backbone, or cannot be fetched or written.</exception>
    /// <exception cref="UsageException">The name or the revision cannot be one.</exception>
    public static Task<string> FetchAsync(string name, string revision = "main", IProgress<DownloadProgress>? progress = null, CancellationToken cancellation = default) =>
        FetchAsync(HubSettings.FromEnvironment(), name, revision, progress, cancellation);

    internal static async Task<string> FetchAsync(HubSettings settings, string name, string revision, IProgress<DownloadProgress>? progress, CancellationToken cancellation)
    {
        if (!HubCache.IsName(name)) throw new UsageException($"'{name}' cannot be a model's name; write NAME or ORGANISATION/NAME, such as gpt2 or facebook/bart-base");
        if (!HubCache.IsRevision(revision)) throw new UsageException($"`revision` '{revision}' cannot be a branch, a tag or a commit");
        if (settings.Offline)
        {
            return HubCache.Find(name, revision)
                ?? throw new PermafrostException(
                    $"{name} is not in the Hugging Face cache ({HubCache.Folder}), and HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids fetching it; unset it");
        }
        using var client = new HubClient(settings);
        var download = new HubDownload(client, name, revision, progress);
        try
        {
            return await download.RunAsync(cancellation).ConfigureAwait(false);
        }
        catch (Exception error) when (AtomicFile.IsRefusal(error))
        {
            string hint = AtomicFile.IsFull(error) ? "free some space, or choose another place with HF_HUB_CACHE" : "choose another place with HF_HUB_CACHE";
            throw new PermafrostException($"cannot write {download.folder}: {AtomicFile.Reason(error)}; {hint}", error);
        }
    }

    /// <summary>Compares a snapshot's files with the checksums that their contents are called by in the cache.</summary>
    /// <param name="snapshot">The snapshot's folder.</param>
    /// <returns>For each file <c>ok</c>, <c>damaged</c>, <c>missing</c> (its link leads nowhere) or <c>unknown</c> (it is no link).</returns>
    /// <exception cref="PermafrostException">A file cannot be read.</exception>
    public static IReadOnlyList<(string File, string Verdict)> Verify(string snapshot)
    {
        try
        {
            return [.. Directory.EnumerateFiles(snapshot).Order(StringComparer.Ordinal).Select(path => (Path.GetFileName(path), Verdict(path)))];
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(snapshot, error);
        }
    }

    private static string Verdict(string path)
    {
        if (new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true) is not { } target) return "unknown";
        if (!target.Exists) return "missing";
        if (target.Name.Length is not (40 or 64) || !target.Name.All(char.IsAsciiHexDigitLower)) return "unknown";
        return HubBlob.Matches(target.FullName, target.Name) ? "ok" : "damaged";
    }

    private async Task<string> RunAsync(CancellationToken cancellation)
    {
        HubModel model = await client.GetModelAsync(name, revision, cancellation).ConfigureAwait(false);
        IReadOnlyList<string> described = HubChoice.Described(name, model.Files);
        string weight = HubChoice.Weight(name, model.Files);
        foreach (string part in new[] { "blobs", "refs", "snapshots" }) Directory.CreateDirectory(Path.Combine(folder, part));
        var here = new List<HubFile>();
        foreach (string file in described) here.Add(await BringAsync(model, file, cancellation).ConfigureAwait(false));
        HubFile weights = await BringAsync(model, weight, cancellation).ConfigureAwait(false);
        // Before the configuration, whose presence says that the rest is here.
        here.Insert(0, weights);
        if (weight.EndsWith(".json", StringComparison.Ordinal))
            foreach (string shard in HubChoice.Shards(name, Blob(weights), model.Files)) here.Insert(0, await BringAsync(model, shard, cancellation).ConfigureAwait(false));
        string snapshot = Path.Combine(folder, "snapshots", model.Commit);
        // Temporary names are those of a process, which may fetch the same model twice at once.
        lock (Linking)
        {
            Directory.CreateDirectory(snapshot);
            foreach (HubFile file in here) Link(snapshot, file);
            if (revision != model.Commit) Point(model.Commit);
        }
        return snapshot;
    }

    private string Blob(HubFile file) => Path.Combine(folder, "blobs", file.Etag);

    private async Task<HubFile> BringAsync(HubModel model, string name, CancellationToken cancellation)
    {
        HubFile file = await client.GetFileAsync(this.name, model.Commit, name, cancellation).ConfigureAwait(false);
        if (IsHere(file)) return file;
        // Python's client locks the same file in the same way (flock).
        using FileStream held = await LockAsync(file, cancellation).ConfigureAwait(false);
        if (!IsHere(file)) await FetchAsync(file, cancellation).ConfigureAwait(false);
        return file;
    }

    // Its content is looked at too: fetching again is what a damaged file is told to be mended by.
    private bool IsHere(HubFile file) => new FileInfo(Blob(file)) is { Exists: true } blob && blob.Length == file.Bytes && HubBlob.Matches(blob.FullName, file.Etag);

    private async Task FetchAsync(HubFile file, CancellationToken cancellation)
    {
        string partial = Blob(file) + ".incomplete";
        bool resumed = File.Exists(partial);
        try
        {
            await DownloadAsync(file, partial, cancellation).ConfigureAwait(false);
            // What an earlier attempt left may be at fault; then the file as a whole may come better.
            if (resumed && !HubBlob.Matches(partial, file.Etag))
            {
                File.Delete(partial);
                await DownloadAsync(file, partial, cancellation).ConfigureAwait(false);
            }
        }
        catch (WebFailure failure)
        {
            if (new FileInfo(partial) is { Exists: true, Length: 0 }) File.Delete(partial);
            throw client.Explain(failure, name, revision, file.Address);
        }
        if (!HubBlob.Matches(partial, file.Etag))
        {
            File.Delete(partial);
            throw new PermafrostException($"{file.Address} is not the file that the server announced (its checksum is not {file.Etag}); nothing of it was kept; try again");
        }
        File.Move(partial, Blob(file), overwrite: true);
    }

    private async Task DownloadAsync(HubFile file, string partial, CancellationToken cancellation)
    {
        using var target = new FileStream(partial, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, 0);
        var download = new FileDownload(client.Web, file.Address) { Bytes = file.Bytes, Progress = (bytes, _) => Tell(bytes) };
        Tell(target.Length);
        await download.WriteAsync(target, cancellation).ConfigureAwait(false);

        void Tell(long bytes) => progress?.Report(new DownloadProgress(file.Name, bytes, file.Bytes));
    }

    private async Task<FileStream> LockAsync(HubFile file, CancellationToken cancellation)
    {
        string locks = Path.Combine(HubCache.Folder, ".locks", HubCache.FolderName(name));
        Directory.CreateDirectory(locks);
        while (true)
        {
            try
            {
                return new FileStream(Path.Combine(locks, file.Etag + ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 0);
            }
            catch (IOException error) when (FileLock.IsHeld(error))
            {
                await Task.Delay(Glance, cancellation).ConfigureAwait(false);
            }
        }
    }

    // snapshots/COMMIT/FILE -> ../../blobs/ETAG. A link is made under another name and renamed: whoever looks finds the old one or the new one.
    private void Link(string snapshot, HubFile file)
    {
        string path = Path.Combine(snapshot, file.Name), blob = Path.Combine("..", "..", "blobs", file.Etag);
        if (new FileInfo(path).LinkTarget == blob) return;
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        File.Delete(temporary);
        try
        {
            File.CreateSymbolicLink(temporary, blob);
        }
        catch (Exception error) when (OperatingSystem.IsWindows() && error is IOException or UnauthorizedAccessException)
        {
            // Where links need a privilege, Hugging Face's client puts the file itself in the place.
            File.Copy(Blob(file), temporary);
        }
        File.Move(temporary, path, overwrite: true);
    }

    private void Point(string commit)
    {
        string path = Path.Combine(folder, "refs", Path.Combine(revision.Split('/')));
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        AtomicFile.WriteText(path, commit);
    }
}
