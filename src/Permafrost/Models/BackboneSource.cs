using Permafrost.Formats;

namespace Permafrost.Models;

/// <summary>
/// What <c>--backbone REF</c> stands for: a model folder, a body that a package carries (<see cref="BundledBackbone"/>), one of this project's own
/// (<see cref="OwnBackbone"/>), a model in the Hugging Face cache, or, with a random init, a preset. <c>REF:N</c> is its first N layers alone.
/// </summary>
/// <param name="Reference">REF as it was given.</param>
/// <param name="Config">The configuration.</param>
/// <param name="Folder">Where the weights are; null for a preset.</param>
public sealed record BackboneSource(string Reference, HfConfig Config, string? Folder)
{
    /// <summary>Whether a reference means a folder. One that only happens to be called like a preset or a cached model, such as one of runs, does not hide it.</summary>
    public static bool IsFolder(string reference) =>
        Directory.Exists(reference)
        && (File.Exists(Path.Combine(reference, "config.json"))
            || (ModelRegistry.Presets.All(preset => preset.Name != reference) && BundledBackbone.Find(reference) is null && OwnBackbone.Find(reference) is null
                && HubCache.Find(reference) is null));

    /// <summary>
    /// What the user should hear of it, in a sentence; null for nothing. What else could have been meant: a folder goes first, as for Hugging Face's own library, but one that
    /// happens to lie in the current folder hides a preset or a cached model of the same name, and another body trains. Or that a damaged folder was written again.
    /// </summary>
    public string? Note { get; private init; }

    /// <summary>Patterns of the checkpoint's tensors that the configuration no longer has, where the reference names fewer layers than there are; null for none.</summary>
    internal string? Beyond { get; private init; }

    /// <summary>What is to be left out of the checkpoint: what somebody asks for, and the layers beyond those that the reference names.</summary>
    /// <param name="skipWeights">Patterns with commas, such as <c>v_head.*</c>; null for none.</param>
    /// <returns>Patterns with commas; null for none.</returns>
    public string? Skipping(string? skipWeights) => Beyond is null ? skipWeights : skipWeights is null ? Beyond : $"{skipWeights},{Beyond}";

    /// <summary>How to get the weights that a preset lacks, as the end of a sentence; empty for a folder, and for a preset whose name no model of Hugging Face's has.</summary>
    public string FetchHint => Folder is null && PresetsOnHub.Contains(BackboneDepth.Split(Reference).Name) ? HubCache.FetchHint(BackboneDepth.Split(Reference).Name) : "";

    // Others of Hugging Face's have longer names, such as bert-base-uncased and facebook/bart-base, and are asked for by them.
    private static readonly string[] PresetsOnHub =
        ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "roberta-base", "roberta-large", "t5-small", "t5-base", "t5-large"];

    /// <summary>Whether a body can be had without fetching or making anything: its weights lie somewhere, or are drawn.</summary>
    /// <param name="reference">What names it.</param>
    /// <param name="init">One of <see cref="BackboneInit.All"/>.</param>
    internal static bool IsAtHand(string reference, string init)
    {
        (string name, _) = BackboneDepth.Split(reference);
        if (IsFolder(name) || BundledBackbone.Find(name) is not null || OwnBackbone.Find(name) is not null || HubCache.Find(name) is not null) return true;
        return !BackboneInit.NeedsWeights(init) && ModelRegistry.Presets.Any(preset => preset.Name == name);
    }

    /// <summary>Finds a backbone.</summary>
    /// <exception cref="PermafrostException">Nothing has that name.</exception>
    public static BackboneSource Resolve(string reference)
    {
        if (BackboneDepth.Split(reference) is (var whole, { } layers))
        {
            BackboneSource found = Resolve(whole);
            (HfConfig config, string? beyond) = BackboneDepth.Cut(found.Config, reference, layers);
            return found with { Reference = reference, Config = config, Beyond = beyond };
        }
        if (IsFolder(reference)) return new BackboneSource(reference, HfConfig.Load(reference), reference) { Note = HiddenBy(reference) };
        if (ModelRegistry.Presets.FirstOrDefault(preset => preset.Name == reference) is { } known && HubCache.Find(reference) is null)
            return new BackboneSource(reference, known.Config, null);
        if (BundledBackbone.Find(reference) is { } bundled)
        {
            (string folder, string? note) = bundled.Bring();
            return new BackboneSource(reference, HfConfig.Load(folder), folder) { Note = note };
        }
        if (OwnBackbone.Find(reference) is { } own) return new BackboneSource(reference, HfConfig.Load(own.Folder), own.Folder);
        if (HubCache.Find(reference) is { } snapshot) return new BackboneSource(reference, HfConfig.Load(snapshot), snapshot);
        string presets = string.Join(", ", ModelRegistry.Presets.Select(preset => preset.Name));
        string bodies = string.Join(", ", BundledBackbone.All.Select(body => body.Name).Concat(OwnBackbone.All.Select(body => body.Name)));
        if (File.Exists(reference))
            throw new PermafrostException($"{reference} is a file; a backbone is a folder with config.json, model.safetensors or pytorch_model.bin, so name its folder");
        throw new PermafrostException(
            $"'{reference}' is no backbone: no folder of that name, not {bodies}, no preset ({presets}), and not in the Hugging Face cache ({HubCache.Folder})"
            + HubCache.FetchHint(reference));
    }

    private static string? HiddenBy(string folder)
    {
        string? hidden = HubCache.Find(folder) is { } snapshot ? $"the model of that name in the Hugging Face cache ({snapshot})"
            : ModelRegistry.Presets.Any(preset => preset.Name == folder) ? "the preset of that name"
            : (BundledBackbone.Find(folder)?.Folder ?? OwnBackbone.Find(folder)?.Folder) is { } body ? $"the body of that name in {body}" : null;
        return hidden is null ? null
            : $"'{folder}' is taken for the folder {Path.GetFullPath(folder)}, not for {hidden}; write ./{folder} if that is meant, else rename the folder or work in another";
    }
}
