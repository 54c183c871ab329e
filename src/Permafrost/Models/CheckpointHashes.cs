using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Permafrost.Formats;

namespace Permafrost.Models;

/// <summary>
/// The hashes of a large checkpoint's weights, remembered in <c>$PERMAFROST_HOME/hashes</c> for as long as its files keep their length and time: computing them takes longer than
/// reading the weights. Never of files that were written within the last seconds, whose next change could leave no trace in their time.
/// </summary>
internal sealed class CheckpointHashes
{
    // Raised where WeightHash computes otherwise.
    private const int Version = 1;

    // Hashing less takes no time that anybody would notice.
    private const long LeastBytes = 32 << 20;
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(5);

    private readonly string path;
    private readonly string key;
    private readonly Dictionary<string, byte[]> known;

    private CheckpointHashes(string path, string key)
    {
        (this.path, this.key) = (path, key);
        known = Read();
    }

    /// <summary>What is remembered of a folder; null where its files are small, or too new.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="config">Its configuration, which says what the weights' shapes must be.</param>
    /// <param name="files">Its weight files, as they were opened.</param>
    public static CheckpointHashes? Of(string folder, HfConfig config, IReadOnlyList<FileStamp> files)
    {
        if (files.Sum(file => file.Length) < LeastBytes || files.Any(file => DateTime.UtcNow - file.Written < Settled)) return null;
        string name = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Path.GetFullPath(folder))));
        string configured = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(config.ToJson())));
        string key = string.Join('\n', [$"version {Version} {configured}", .. files.Select(Describe).Order(StringComparer.Ordinal)]);
        return new CheckpointHashes(Path.Combine(CacheHome.Folder, "hashes", name + ".json"), key);
    }

    /// <summary>A weight's hash, as <see cref="WeightHash"/> computes it; null where it is not remembered.</summary>
    public byte[]? Find(string name) => known.GetValueOrDefault(name);

    /// <summary>Remembers hashes; where the place cannot be written, they will be computed again.</summary>
    public void Save(IReadOnlyDictionary<string, byte[]> hashes)
    {
        if (hashes.Keys.All(known.ContainsKey)) return;
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            var texts = hashes.ToDictionary(pair => pair.Key, pair => Convert.ToHexStringLower(pair.Value));
            AtomicFile.WriteText(path, JsonSerializer.Serialize(new Remembered(key, texts), HashesJson.Default.Remembered));
        }
        catch (Exception error) when (error is PermafrostException or IOException or UnauthorizedAccessException)
        {
            // Only time is lost.
        }
    }

    private static string Describe(FileStamp file) => FormattableString.Invariant($"{file.Path} {file.Length} {file.Written.Ticks}");

    private Dictionary<string, byte[]> Read()
    {
        try
        {
            Remembered? saved = File.Exists(path) ? JsonSerializer.Deserialize(File.ReadAllBytes(path), HashesJson.Default.Remembered) : null;
            return saved is { Key: { } files, Hashes: { } hashes } && files == key ? hashes.ToDictionary(pair => pair.Key, pair => Convert.FromHexString(pair.Value)) : [];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or JsonException or FormatException or ArgumentException)
        {
            return [];
        }
    }

    internal sealed record Remembered(string Key, Dictionary<string, string> Hashes);
}

[JsonSerializable(typeof(CheckpointHashes.Remembered))]
internal sealed partial class HashesJson : JsonSerializerContext;
