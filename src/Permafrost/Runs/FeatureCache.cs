using System.Security.Cryptography;
using System.Text;
using Permafrost.Data;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Runs;

/// <summary>
/// Features on disk: <c>$PERMAFROST_HOME/features/KEY.safetensors</c>, where KEY is the hash of all that they follow from. A file counts only when its
/// header names that key and its content has the SHA-256 that the header says; anything else is as if it were not there. To delete files is always safe.
/// </summary>
public static class FeatureCache
{
    /// <summary>Beyond so many bytes in all, the files that were not used for longest go.</summary>
    public const long MaxBytes = 10L << 30;

    /// <summary>The folder.</summary>
    public static string Folder => Path.Combine(DataHome.Home, "features");

    /// <summary>Number and bytes of the files there.</summary>
    public static (int Files, long Bytes) Size
    {
        get
        {
            FileInfo[] files = Files("*.safetensors");
            return (files.Length, files.Sum(file => file.Length));
        }
    }

    /// <summary>What was kept under a key, with its tensors in nobody's scope; null when there is nothing, or nothing that can be trusted.</summary>
    internal static (IReadOnlyDictionary<string, Tensor> Tensors, long Tokens)? Load(string key)
    {
        var tensors = new Dictionary<string, Tensor>();
        try
        {
            using var file = new SafetensorsFile(PathOf(key));
            foreach (string name in file.Entries.Keys) tensors[name] = file.Read(name).DetachFromDisposeScope();
            if (file.Metadata.GetValueOrDefault("key") == key && long.TryParse(file.Metadata.GetValueOrDefault("tokens"), out long tokens)
                && file.Metadata.GetValueOrDefault("sha256") == Sha256(tensors, tokens))
            {
                Touch(file.Path);
                return (tensors, tokens);
            }
        }
        catch (Exception error) when (error is PermafrostException or ArgumentException)
        {
            // Missing, cut short, or something else altogether: it is computed again and written over.
        }
        foreach (Tensor tensor in tensors.Values) tensor.Dispose();
        return null;
    }

    /// <summary>Keeps tensors under a key, and removes what was not used for longest.</summary>
    /// <exception cref="PermafrostException">The file cannot be written.</exception>
    internal static void Store(string key, IReadOnlyDictionary<string, Tensor> tensors, long tokens, long most = MaxBytes)
    {
        try
        {
            Directory.CreateDirectory(Folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot write {Folder}: {error.Message.TrimEnd('.')}");
        }
        SafetensorsWriter.Write(PathOf(key), tensors, new Dictionary<string, string>
        {
            ["key"] = key,
            ["tokens"] = FormattableString.Invariant($"{tokens}"),
            ["sha256"] = Sha256(tensors, tokens),
        });
        long total = 0;
        foreach (FileInfo file in Files("*.safetensors").OrderByDescending(file => file.FullName == Path.GetFullPath(PathOf(key))).ThenByDescending(file => file.LastWriteTimeUtc))
            if ((total += file.Length) > most && file.FullName != Path.GetFullPath(PathOf(key))) TryDelete(file);
        // Left by a process that was killed while writing.
        foreach (FileInfo file in Files("*.tmp").Where(file => file.LastWriteTimeUtc < DateTime.UtcNow.AddDays(-1))) TryDelete(file);
    }

    private static string PathOf(string key) => Path.Combine(Folder, key + ".safetensors");

    private static FileInfo[] Files(string pattern)
    {
        try
        {
            return new DirectoryInfo(Folder).GetFiles(pattern);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static string Sha256(IReadOnlyDictionary<string, Tensor> tensors, long tokens)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{tokens}\0")));
        foreach ((string name, Tensor tensor) in tensors.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}\0{tensor.Describe()}\0"));
            tensor.ReadBytes(bytes => hash.AppendData(bytes));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    // What is used is not what goes first.
    private static void Touch(string path)
    {
        try
        {
            File.SetLastWriteTimeUtc(path, DateTime.UtcNow);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A cache that can only be read is one all the same.
        }
    }

    private static void TryDelete(FileInfo file)
    {
        try
        {
            file.Delete();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Another process was faster, or it is not ours to delete.
        }
    }
}
