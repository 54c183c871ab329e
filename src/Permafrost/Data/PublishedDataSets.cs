using System.Security.Cryptography;
using Permafrost.Formats;
using Permafrost.Formats.Web;

namespace Permafrost.Data;

/// <summary>A published file of a data set.</summary>
/// <param name="Name">The file's name, as published (packed with gzip).</param>
/// <param name="Bytes">Its published length; a download may be a quarter longer, in case it was packed again.</param>
/// <param name="Sha256">SHA-256 of its unpacked content, so that plain and re-packed files are the same to us.</param>
public sealed record PublishedFile(string Name, long Bytes, string Sha256);

/// <summary>A data set that can be fetched and checked.</summary>
/// <param name="Name">Its name, which is also the name of its folder.</param>
/// <param name="Summary">What it is, in one line.</param>
/// <param name="Address">The URL below which its files are published.</param>
/// <param name="Files">Its files, with their lengths and checksums.</param>
public sealed record PublishedDataSet(string Name, string Summary, string Address, IReadOnlyList<PublishedFile> Files)
{
    /// <summary>Checks a folder: <c>ok</c>, <c>missing</c>, <c>damaged</c> or <c>different</c> for each file. Unpacked and re-packed files are accepted.</summary>
    public IReadOnlyList<(string File, string Verdict)> Verify(string folder)
    {
        var verdicts = new List<(string, string)>();
        foreach (PublishedFile file in Files)
        {
            string? path = Find(folder, file);
            verdicts.Add((path is null ? file.Name : Path.GetFileName(path), path is null ? "missing" : Verdict(path, file)));
        }
        return verdicts;
    }

    /// <summary>Downloads what is missing or wrong, checks it, and only then puts it in place.</summary>
    /// <param name="folder">Where to; made where it is not there.</param>
    /// <param name="mirror">Another address to fetch from; null for the published one.</param>
    /// <param name="progress">Hears of each piece, with the address as the file's name.</param>
    /// <param name="cancellation">Stops it; whole files stay.</param>
    /// <exception cref="PermafrostException">A file cannot be had, or is not the published one.</exception>
    public async Task FetchAsync(string folder, string? mirror = null, IProgress<DownloadProgress>? progress = null, CancellationToken cancellation = default)
    {
        if (mirror is not null && !(Uri.TryCreate(mirror, UriKind.Absolute, out Uri? source) && source.Scheme is "http" or "https"))
            throw new UsageException($"`from` '{mirror}' is not an address; write http:// or https://");
        using var web = new WebSource(new WebPatience());
        try
        {
            Directory.CreateDirectory(folder);
            foreach (PublishedFile file in Files)
            {
                if (Find(folder, file) is { } here && Verdict(here, file) == "ok") continue;
                await FetchAsync(web, file, Path.Combine(folder, file.Name), $"{(mirror ?? Address).TrimEnd('/')}/{file.Name}", progress, cancellation).ConfigureAwait(false);
            }
        }
        catch (Exception error) when (AtomicFile.IsRefusal(error))
        {
            throw new PermafrostException($"cannot write {folder}: {AtomicFile.Reason(error)}; choose another place with PERMAFROST_HOME", error);
        }
        finally
        {
            // An empty folder would look like the data.
            if (Directory.Exists(folder) && !Directory.EnumerateFileSystemEntries(folder).Any()) Directory.Delete(folder);
        }
    }

    private static async Task FetchAsync(WebSource web, PublishedFile file, string target, string address, IProgress<DownloadProgress>? progress, CancellationToken cancellation)
    {
        // A file of this process's own until it is known to be sound: another one may fetch the same.
        string temporary = $"{target}.{Environment.ProcessId}.tmp";
        try
        {
            // A server may send anything; reading stops a little beyond the published length.
            if (!Uri.TryCreate(address, UriKind.Absolute, out Uri? at)) throw new UsageException($"`from` {address} is not an address");
            var download = new FileDownload(web, at) { MostBytes = file.Bytes * 5 / 4, Progress = Tell };
            Tell(0, null);
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 0))
                await download.WriteAsync(stream, cancellation).ConfigureAwait(false);
            if (Verdict(temporary, file) != "ok")
                throw new PermafrostException($"{address} is not the published file (its content has another SHA-256); nothing was kept; try another address with `from`");
            File.Move(temporary, target, overwrite: true);
        }
        catch (WebFailure failure)
        {
            throw new PermafrostException($"cannot fetch {address}: {failure.Message}; nothing was kept; try again, or another address with `from`");
        }
        finally
        {
            File.Delete(temporary);
        }

        void Tell(long bytes, long? total) => progress?.Report(new DownloadProgress(address, bytes, total));
    }

    // The file that a task would read: that of the published name goes before the one that says it is unpacked. What it really is, its content says.
    private static string? Find(string folder, PublishedFile file)
    {
        string[] paths = [Path.Combine(folder, file.Name), Path.Combine(folder, Path.GetFileNameWithoutExtension(file.Name))];
        return Array.Find(paths, File.Exists);
    }

    private static string Verdict(string path, PublishedFile file)
    {
        try
        {
            using FileStream stream = File.OpenRead(path);
            return Hash(stream) switch
            {
                null => "damaged",
                string hash => hash == file.Sha256 ? "ok" : "different",
            };
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    // The SHA-256 of the content, unpacked where it is packed; null when it cannot be unpacked.
    private static string? Hash(Stream content)
    {
        try
        {
            using Stream unpacked = Gzip.Unpacked(content);
            return Convert.ToHexStringLower(SHA256.HashData(unpacked));
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }
}

/// <summary>The data sets known by checksum.</summary>
public static class PublishedDataSets
{
    /// <summary>Every data set that can be fetched.</summary>
    public static IReadOnlyList<PublishedDataSet> All { get; } =
    [
        new("mnist", "MNIST: 60,000 and 10,000 handwritten digits of 28x28", "https://ossci-datasets.s3.amazonaws.com/mnist",
        [
            new("train-images-idx3-ubyte.gz", 9912422, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            new("train-labels-idx1-ubyte.gz", 28881, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            new("t10k-images-idx3-ubyte.gz", 1648877, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            new("t10k-labels-idx1-ubyte.gz", 4542, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ]),
    ];
}
