using System.Security.Cryptography;
using System.Text;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>What <c>--backbone REF</c> stands for: a model folder, a model in the Hugging Face cache, or, with a random init, a preset.</summary>
/// <param name="Reference">REF as it was given.</param>
/// <param name="Config">The configuration.</param>
/// <param name="Folder">Where the weights are; null for a preset.</param>
public sealed record BackboneSource(string Reference, HfConfig Config, string? Folder)
{
    /// <summary>Whether a reference means a folder. One that only happens to be called like a preset or a cached model, such as one of runs, does not hide it.</summary>
    public static bool IsFolder(string reference) =>
        Directory.Exists(reference)
        && (File.Exists(Path.Combine(reference, "config.json")) || (ModelRegistry.Presets.All(preset => preset.Name != reference) && HubCache.Find(reference) is null));

    /// <summary>Finds a backbone.</summary>
    /// <exception cref="PermafrostException">Nothing has that name.</exception>
    public static BackboneSource Resolve(string reference)
    {
        if (IsFolder(reference)) return new BackboneSource(reference, HfConfig.Load(reference), reference);
        if (ModelRegistry.Presets.FirstOrDefault(preset => preset.Name == reference) is { } known && HubCache.Find(reference) is null)
            return new BackboneSource(reference, known.Config, null);
        if (HubCache.Find(reference) is { } snapshot) return new BackboneSource(reference, HfConfig.Load(snapshot), snapshot);
        string presets = string.Join(", ", ModelRegistry.Presets.Select(preset => preset.Name));
        throw new PermafrostException(
            $"'{reference}' is no backbone: no folder of that name, no preset ({presets}), and not in the Hugging Face cache ({HubCache.Folder})");
    }

    /// <summary>Makes the headless model with its weights.</summary>
    /// <param name="init">One of <see cref="BackboneInit.All"/>.</param>
    /// <param name="seed">The body's seed, for inits that draw.</param>
    /// <param name="loaded">Told of each parameter as soon as its value is there, so that it can be packed or dropped before the next one takes memory.</param>
    /// <exception cref="PermafrostException">The weights are missing or do not fit.</exception>
    /// <exception cref="UsageException">The init does not exist, or needs weights that the reference does not have.</exception>
    public Backbone Load(string init, long seed, Action<Backbone, string, Parameter>? loaded = null)
    {
        if (BackboneInit.All.All(known => known.Name != init))
            throw new UsageException($"--init {init} does not exist; there are {string.Join(", ", BackboneInit.All.Select(known => known.Name))}");
        if (init == "random-gpt2-2021" && Config.ModelType != "gpt2")
            throw new UsageException($"--init random-gpt2-2021 is a scheme of gpt2, not of {Config.ModelType}; use --init random");
        if (Folder is null && BackboneInit.NeedsWeights(init))
            throw new UsageException($"'{Reference}' is a preset without weights, so --init {init} has nothing to start from; use --init random, or a model folder as --backbone");
        Architecture architecture = ModelRegistry.Find(Config);
        Backbone backbone = architecture.Backbone(Config);
        using var noGrad = torch.no_grad();
        try
        {
            void Ready(string name, Parameter parameter)
            {
                BackboneInit.Redraw(init, backbone, name, parameter, seed);
                loaded?.Invoke(backbone, name, parameter);
            }
            if (BackboneInit.NeedsWeights(init)) WeightLoader.Load(backbone, architecture, "", Folder!, Ready);
            else BackboneInit.DrawRandom(backbone, seed, unscaled: init == "random-gpt2-2021", Config.Number("initializer_range", 0.02), Ready);
            return backbone;
        }
        catch
        {
            backbone.Dispose();
            throw;
        }
    }

    /// <summary>SHA-256 over name, type, shape and bytes of a parameter as it is stored.</summary>
    public static byte[] Sha256(string name, Parameter parameter)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{name}\0{parameter.Stored.Describe()}\0"));
        parameter.Stored.ReadBytes(bytes => hash.AppendData(bytes));
        return hash.GetHashAndReset();
    }

    /// <summary>SHA-256 over the parameters' own hashes, in the order of their names, as lower-case hex.</summary>
    public static string Sha256(IEnumerable<(string Name, byte[] Hash)> parameters)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((_, byte[] one) in parameters.OrderBy(pair => pair.Name, StringComparer.Ordinal)) hash.AppendData(one);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>SHA-256 over all parameters that have a value, in the order of their names, as lower-case hex.</summary>
    public static string Sha256(IEnumerable<(string Name, Parameter Parameter)> parameters) =>
        Sha256(parameters.Where(pair => pair.Parameter.HasValue).Select(pair => (pair.Name, Sha256(pair.Name, pair.Parameter))));
}
