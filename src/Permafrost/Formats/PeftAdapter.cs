using System.Text.Json;
using System.Text.Json.Nodes;

namespace Permafrost.Formats;

/// <summary>
/// Adapters in the form of Hugging Face's PEFT that tunes norms (LN_TUNING, peft/tuners/ln_tuning): whole norm modules under <c>ln_tuning_layers</c>, other modules that train
/// as they are (<c>modules_to_save</c>), all behind the prefix <c>base_model.model.</c>
/// </summary>
public static class PeftAdapter
{
    /// <summary>The file beside PEFT's that holds what PEFT cannot name: the input and output layer, and parameters that are no module's <c>weight</c> or <c>bias</c>.</summary>
    public const string BesideName = "permafrost_layers.safetensors";

    /// <summary>The file that makes a folder an adapter's, PEFT's or ours.</summary>
    internal const string ConfigName = "adapter_config.json";

    private const string Type = "LN_TUNING", Prefix = "base_model.model.", Tuned = "ln_tuning_layers";
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>Start values by a body's own names: from a .safetensors file, or from the folder of an adapter, PEFT's or ours.</summary>
    /// <exception cref="PermafrostException">It is missing, damaged, an adapter of another kind, or names a tensor twice.</exception>
    public static IReadOnlyDictionary<string, Tensor> Read(string path)
    {
        if (!Directory.Exists(path)) return Plain(AdapterFolder.ReadFile(path), path);
        string config = Path.Combine(path, ConfigName), beside = Path.Combine(path, BesideName);
        if (!File.Exists(config)) throw new PermafrostException($"{path} holds no {ConfigName}, so it is no adapter; name a .safetensors file or an adapter's folder");
        if (JsonFile.Read(config)["peft_type"]?.ToString() is { } type && type != Type)
            throw new PermafrostException($"{path} is a PEFT adapter of the type {type}; of PEFT's, {Type} can be read, which trains norms where they are");
        var tensors = new Dictionary<string, Tensor>(AdapterFolder.ReadTensors(path));
        if (File.Exists(beside)) foreach ((string name, Tensor tensor) in AdapterFolder.ReadFile(beside)) Add(tensors, name, tensor, beside);
        return Plain(tensors, path);
    }

    /// <summary>Writes an adapter as PEFT does, and what PEFT cannot name beside it; the configuration last.</summary>
    /// <param name="folder">Where to; made where it is not there.</param>
    /// <param name="config">What the adapter says of itself.</param>
    /// <param name="norms">Parameters of norms, by the body's names.</param>
    /// <param name="saved">Parameters of other modules, all of each module's.</param>
    /// <param name="beside">All others.</param>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public static void Write(
        string folder, PeftConfig config, IReadOnlyDictionary<string, Tensor> norms, IReadOnlyDictionary<string, Tensor> saved, IReadOnlyDictionary<string, Tensor> beside)
    {
        var tensors = new Dictionary<string, Tensor>();
        foreach ((string name, Tensor tensor) in norms) tensors[$"{Prefix}{Module(name)}.{Tuned}{name[Module(name).Length..]}"] = tensor;
        foreach ((string name, Tensor tensor) in saved) tensors[Prefix + name] = tensor;
        AdapterFolder.WriteTensors(folder, tensors);
        if (beside.Count > 0) AdapterFolder.WriteFile(Path.Combine(folder, BesideName), beside);
        JsonArray? List(IReadOnlyList<string> modules) => modules.Count == 0 ? null : new JsonArray([.. modules.Select(module => (JsonNode)module)]);
        // PEFT sorts its keys.
        var json = new JsonObject
        {
            ["auto_mapping"] = null,
            ["base_model_name_or_path"] = config.BaseModel,
            ["exclude_modules"] = null,
            ["inference_mode"] = true,
            ["modules_to_save"] = List(config.ModulesToSave),
            ["peft_type"] = Type,
            ["revision"] = null,
            ["target_modules"] = List(config.TargetModules),
            ["task_type"] = "FEATURE_EXTRACTION",
        };
        AtomicFile.WriteText(Path.Combine(folder, ConfigName), json.ToJsonString(Indented) + "\n");
    }

    /// <summary>The module that a parameter belongs to: <c>h.0.ln_1</c> of <c>h.0.ln_1.weight</c>.</summary>
    public static string Module(string parameter) => parameter[..Math.Max(0, parameter.LastIndexOf('.'))];

    private static Dictionary<string, Tensor> Plain(IReadOnlyDictionary<string, Tensor> tensors, string source)
    {
        var plain = new Dictionary<string, Tensor>();
        foreach ((string stored, Tensor tensor) in tensors)
        {
            string name = stored.StartsWith(Prefix, StringComparison.Ordinal) ? stored[Prefix.Length..] : stored;
            Add(plain, name.Replace($".{Tuned}.", ".", StringComparison.Ordinal), tensor, source);
        }
        return plain;
    }

    private static void Add(Dictionary<string, Tensor> tensors, string name, Tensor tensor, string source)
    {
        if (!tensors.TryAdd(name, tensor)) throw new PermafrostException($"{source}: the tensor '{name}' appears twice; an adapter has one value for each");
    }
}

/// <summary>What a PEFT adapter says of itself.</summary>
/// <param name="BaseModel">The body as it was named.</param>
/// <param name="TargetModules">The norms that train, by their whole names in the body without a head.</param>
/// <param name="ModulesToSave">The other modules that train.</param>
public sealed record PeftConfig(string BaseModel, IReadOnlyList<string> TargetModules, IReadOnlyList<string> ModulesToSave);
