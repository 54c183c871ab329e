using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Formats.Safetensors;

namespace Permafrost.Formats;

/// <summary>
/// The trained parameters of a run: <c>adapter_config.json</c> (task, policy, backbone and its SHA-256, shapes, labels) and
/// <c>adapter_model.safetensors</c> (<c>input_layer.*</c>, <c>output_layer.*</c>, and the backbone's own names).
/// </summary>
public static class AdapterFolder
{
    /// <summary>Raised when the layout changes; a newer one is refused.</summary>
    public const int Version = 1;

    private const string ConfigName = "adapter_config.json";
    private const string WeightsName = "adapter_model.safetensors";
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes an adapter; the configuration last, so that a folder with one is complete.</summary>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public static void Write(string folder, JsonObject config, IReadOnlyDictionary<string, Tensor> tensors)
    {
        WriteTensors(folder, tensors);
        config["adapter_version"] = Version;
        AtomicFile.WriteText(Path.Combine(folder, ConfigName), config.ToJsonString(Indented) + "\n");
    }

    /// <summary>Writes an adapter's tensors alone.</summary>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public static void WriteTensors(string folder, IReadOnlyDictionary<string, Tensor> tensors) => WriteFile(WeightsOf(folder), tensors);

    /// <summary>Writes tensors to a safetensors file, in a folder that is made where it is not there.</summary>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    public static void WriteFile(string path, IReadOnlyDictionary<string, Tensor> tensors)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot write {folder}: {error.Message.TrimEnd('.')}");
        }
        SafetensorsWriter.Write(path, tensors);
    }

    /// <summary>Reads an adapter's configuration.</summary>
    /// <exception cref="PermafrostException">It is missing, damaged or from a newer version.</exception>
    public static JsonObject ReadConfig(string folder)
    {
        string path = Path.Combine(folder, ConfigName);
        if (!File.Exists(path)) throw new PermafrostException($"{path} does not exist: the run has no adapter yet, or did not finish");
        JsonObject config = JsonFile.Read(path);
        if (config["adapter_version"] is not JsonValue value || !value.TryGetValue(out int version))
            throw new PermafrostException($"{path} is not an adapter's configuration: it has no adapter_version; it may be damaged");
        return version <= Version ? config : throw new PermafrostException($"{path} is of adapter version {version}; this program knows up to {Version}: update it");
    }

    /// <summary>Reads an adapter's tensors.</summary>
    /// <exception cref="PermafrostException">The file is missing or damaged.</exception>
    public static IReadOnlyDictionary<string, Tensor> ReadTensors(string folder) => ReadFile(WeightsOf(folder));

    /// <summary>The path of the file that holds an adapter's tensors.</summary>
    public static string WeightsOf(string folder) => Path.Combine(folder, WeightsName);

    /// <summary>Reads every tensor of a safetensors file.</summary>
    /// <exception cref="PermafrostException">The file is missing or damaged.</exception>
    public static IReadOnlyDictionary<string, Tensor> ReadFile(string path)
    {
        using var file = new SafetensorsFile(path);
        return file.Entries.Keys.ToDictionary(name => name, file.Read);
    }
}
