using System.Security.Cryptography;
using Permafrost.Formats;
using Permafrost.Formats.Web;

namespace Permafrost.Data.Published;

/// <summary>One fetching of a data set into its folder.</summary>
internal sealed class DataSetFetch(PublishedDataSet set, string folder, string? mirror, WebPatience patience, IProgress<DownloadProgress>? progress)
{
    private static readonly TimeSpan Glance = TimeSpan.FromSeconds(0.1);

    // Less than this is fetched again as quickly as it is asked for.
    private const long WorthKeeping = 1 << 20;

    // Of a file whose length nobody has published, and of what an archive holds.
    private const long MostBytes = 64L << 30;

    private const string Partial = ".incomplete", Unpacking = ".unpacking.";

    /// <summary>Whether a file or folder of that name is what a fetch has begun.</summary>
    public static bool IsPartial(string name) => name.EndsWith(Partial, StringComparison.Ordinal) || name.StartsWith(Unpacking, StringComparison.Ordinal);

    public async Task RunAsync(CancellationToken cancellation)
    {
        using var web = new WebSource(patience);
        try
        {
            // Beside the folder, which is to hold nothing but the data.
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(folder))!);
            using FileStream held = await LockAsync($"{folder.TrimEnd(Path.DirectorySeparatorChar)}.lock", cancellation).ConfigureAwait(false);
            Directory.CreateDirectory(folder);
            try
            {
                await FetchAsync(web, cancellation).ConfigureAwait(false);
            }
            finally
            {
                // An empty folder would look like the data.
                if (!Directory.EnumerateFileSystemEntries(folder).Any()) Directory.Delete(folder);
            }
        }
        catch (Exception error) when (AtomicFile.IsRefusal(error))
        {
            string hint = AtomicFile.IsFull(error) ? "free some space, or choose another place with PERMAFROST_HOME" : "choose another place with PERMAFROST_HOME";
            throw new PermafrostException($"cannot write {folder}: {AtomicFile.Reason(error)}; {hint}", error);
        }
    }

    private async Task FetchAsync(WebSource web, CancellationToken cancellation)
    {
        var record = FetchRecord.Read(folder);
        foreach (PublishedFile file in set.Files)
        {
            if (!PublishedDataSet.Verify(folder, file, record).Any(verdict => PublishedDataSet.IsWrong(verdict.Verdict))) continue;
            string address = mirror is null ? file.Address : $"{mirror.TrimEnd('/')}/{file.Name}";
            await FetchAsync(web, file, address, record, cancellation).ConfigureAwait(false);
        }
    }

    private async Task FetchAsync(WebSource web, PublishedFile file, string address, FetchRecord record, CancellationToken cancellation)
    {
        if (!Uri.TryCreate(address, UriKind.Absolute, out Uri? at)) throw new UsageException($"`from` {address} is not an address");
        string partial = Path.Combine(folder, file.Name + Partial);
        // What an earlier call left is gone on with where its end can be checked: by a published checksum, or by those within an archive.
        bool isCheckable = file.Sha256 is not null || file.Parts is not null, keeps = false;
        bool resumed = isCheckable && new FileInfo(partial) is { Exists: true, Length: > 0 };
        if (!resumed) File.Delete(partial);
        try
        {
            await DownloadAsync(web, file, at, partial, cancellation).ConfigureAwait(false);
            if (resumed && file.Sha256 is { } known && !PublishedDataSet.IsPublished(partial, known))
            {
                File.Delete(partial);
                await DownloadAsync(web, file, at, partial, cancellation).ConfigureAwait(false);
            }
            Keep(file, address, partial, record, cancellation);
        }
        catch (WebFailure failure)
        {
            keeps = isCheckable && failure.IsTransient && IsWorthKeeping(partial);
            string kept = keeps ? "what came is kept; try again to go on" : "nothing was kept; try again";
            throw new PermafrostException($"cannot fetch {address}: {failure.Message}; {kept}, or another address with `from`");
        }
        catch (OperationCanceledException)
        {
            keeps = isCheckable && IsWorthKeeping(partial);
            throw;
        }
        finally
        {
            if (!keeps) File.Delete(partial);
        }
    }

    private async Task DownloadAsync(WebSource web, PublishedFile file, Uri at, string partial, CancellationToken cancellation)
    {
        // A server may send anything; reading stops a little beyond the published length.
        var download = new FileDownload(web, at) { MostBytes = file.Bytes * 5 / 4 ?? MostBytes, Progress = Tell };
        using var stream = new FileStream(partial, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None, 0);
        Tell(stream.Length, null);
        await download.WriteAsync(stream, cancellation).ConfigureAwait(false);

        void Tell(long bytes, long? total) => progress?.Report(new DownloadProgress(at.OriginalString, bytes, total));
    }

    private void Keep(PublishedFile file, string address, string partial, FetchRecord record, CancellationToken cancellation)
    {
        const string Other = "nothing was kept; try another address with `from`";
        string target = Path.Combine(folder, file.Name);
        if (file.Sha256 is { } published)
        {
            if (!PublishedDataSet.IsPublished(partial, published))
                throw new PermafrostException($"{address} is not the published file (its content has another SHA-256); {Other}");
            File.Move(partial, target, overwrite: true);
            return;
        }
        long bytes = new FileInfo(partial).Length;
        if (bytes == 0 || IsPage(partial)) throw new PermafrostException($"{address} is {(bytes == 0 ? "empty" : "a page for browsers, and not the file")}; {Other}");
        string hash = Hash(partial);
        if (record.Source(file.Name) is { } before && before != hash)
        {
            throw new PermafrostException(
                $"{address} is not what was fetched first (its SHA-256 is {hash}, and {Path.Combine(folder, FetchRecord.FileName)} has recorded {before}); {Other}, or delete " +
                "that record");
        }
        if (file.Parts is not { } parts)
        {
            File.Move(partial, target, overwrite: true);
            record.Add(file.Name, hash, bytes, address, [(file.Name, hash)]);
            return;
        }
        try
        {
            record.Add(file.Name, hash, bytes, address, Unpack(partial, parts, cancellation));
        }
        catch (PermafrostException error)
        {
            throw new PermafrostException($"{address}: {error.Message.Replace(partial, file.Name, StringComparison.Ordinal)}; {Other}", error);
        }
    }

    // Into a folder of its own; what is in that one is then put in place by its name, folders as wholes, so that nobody sees a part of them.
    private List<(string Name, string Sha256)> Unpack(string archive, IReadOnlyList<ArchivePart> parts, CancellationToken cancellation)
    {
        string apart = Path.Combine(folder, $"{Unpacking}{Environment.ProcessId}.tmp");
        try
        {
            IReadOnlyList<string> files = Archive.Unpack(archive, apart, parts, MostBytes, cancellation);
            List<(string, string)> contents = [.. files.Select(file => (file, Hash(Path.Combine(apart, file))))];
            foreach (string unpacked in Directory.GetFileSystemEntries(apart))
            {
                string target = Path.Combine(folder, Path.GetFileName(unpacked));
                if (Directory.Exists(target)) Directory.Delete(target, recursive: true);
                if (Directory.Exists(unpacked)) Directory.Move(unpacked, target);
                else File.Move(unpacked, target, overwrite: true);
            }
            return contents;
        }
        finally
        {
            if (Directory.Exists(apart)) Directory.Delete(apart, recursive: true);
        }
    }

    private static bool IsWorthKeeping(string partial) => new FileInfo(partial) is { Exists: true, Length: >= WorthKeeping };

    private static string Hash(string path)
    {
        using FileStream stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    // What a login, or a page of "not here any more", sends under the name of a file.
    private static bool IsPage(string path)
    {
        using var reader = new StreamReader(path);
        var start = new char[200];
        string text = new string(start, 0, reader.ReadBlock(start)).TrimStart().ToUpperInvariant();
        return text.StartsWith("<!DOCTYPE HTML", StringComparison.Ordinal) || text.StartsWith("<HTML", StringComparison.Ordinal);
    }

    private static async Task<FileStream> LockAsync(string path, CancellationToken cancellation)
    {
        while (true)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 0, FileOptions.DeleteOnClose);
            }
            catch (IOException error) when (FileLock.IsHeld(error))
            {
                await Task.Delay(Glance, cancellation).ConfigureAwait(false);
            }
        }
    }
}
