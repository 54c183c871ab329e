using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>Writes a backbone as a Hugging Face model folder, to be used as <c>--backbone</c> or by other software.</summary>
public static class BackboneFolder
{
    /// <summary>Writes <c>model.safetensors</c>, then <c>config.json</c>.</summary>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public static void Save(Backbone backbone, string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot write {folder}: {error.Message.TrimEnd('.')}");
        }
        IEnumerable<(string Name, Parameter Parameter)> parameters = backbone.NamedParameters();
        SafetensorsWriter.Write(Path.Combine(folder, "model.safetensors"), parameters.Select(p => KeyValuePair.Create(p.Name, p.Parameter.Value)));
        AtomicFile.WriteText(Path.Combine(folder, "config.json"), backbone.Config.ToJson() + "\n");
    }
}
