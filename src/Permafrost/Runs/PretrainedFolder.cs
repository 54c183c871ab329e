using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Pretraining;
using Permafrost.Tokenizers;

namespace Permafrost.Runs;

/// <summary>Writes a pretrained model as a folder in Hugging Face's layout, with its tokenizer.</summary>
internal static class PretrainedFolder
{
    /// <summary>Writes <c>model.safetensors</c>, the tokenizer's files, and <c>config.json</c> last.</summary>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public static void Write(string folder, LanguageModel model, PretrainingOptions options)
    {
        AtomicFile.MakeFolder(folder);
        using DisposeScope scope = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        ScalarType type = options.SaveDtype == "bfloat16" ? ScalarType.BFloat16 : ScalarType.Float32;
        SafetensorsWriter.Write(Path.Combine(folder, "model.safetensors"), model.Parameters.Select(pair => KeyValuePair.Create(pair.Name, pair.Tensor.detach().to(type))));
        foreach ((string file, string name) in TokenizerFiles.FilesOf(options.Tokenizer))
            if (name != TokenizerFiles.ModelConfig) AtomicFile.Copy(file, Path.Combine(folder, name));
        AtomicFile.WriteText(Path.Combine(folder, "config.json"), model.Config.ToJson() + "\n");
    }
}
