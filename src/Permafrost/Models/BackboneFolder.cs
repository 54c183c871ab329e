using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>Writes a backbone as a Hugging Face model folder, to be used as <c>--backbone</c> or by other software.</summary>
public static class BackboneFolder
{
    /// <summary>Writes <c>model.safetensors</c>, then <c>config.json</c>.</summary>
    /// <param name="backbone">The model, of which the trained weights are taken.</param>
    /// <param name="weights">What it was made of, of which the others are.</param>
    /// <param name="folder">The folder.</param>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public static void Save(Backbone backbone, FrozenWeights weights, string folder)
    {
        AtomicFile.MakeFolder(folder);
        using var scope = torch.NewDisposeScope();
        (string Name, Parameter Parameter)[] all = [.. backbone.NamedParameters()];
        IReadOnlyDictionary<string, Tensor> frozen = weights.Copy([.. all.Where(p => !p.Parameter.IsTrained).Select(p => p.Name)]);
        SafetensorsWriter.Write(
            Path.Combine(folder, "model.safetensors"), all.Select(p => KeyValuePair.Create(p.Name, p.Parameter.IsTrained ? p.Parameter.Value.cpu() : frozen[p.Name])));
        AtomicFile.WriteText(Path.Combine(folder, "config.json"), backbone.Config.ToJson() + "\n");
    }
}
