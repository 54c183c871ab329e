using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>GPT-2s small enough for hundreds of steps a second, as folders in Hugging Face's layout.</summary>
internal static class TinyGpt2
{
    /// <summary>A config.json; <paramref name="more"/> adds or replaces keys.</summary>
    public static string Json(int layers = 1, int width = 8, int positions = 16, int vocabulary = 11, string more = "") =>
        $$"""{"model_type": "gpt2", "architectures": ["GPT2Model"], "n_layer": {{layers}}, "n_embd": {{width}}, "n_head": 2, "n_positions": {{positions}}, "vocab_size": {{vocabulary}}{{more}}}""";

    /// <summary>A folder with a configuration only, for random bodies.</summary>
    public static string Configure(TemporaryFolder folder, string json)
    {
        folder.Write(Path.Combine("body", "config.json"), json);
        return folder["body"];
    }

    /// <summary>A folder with configuration and weights; <paramref name="change"/> may spoil them first.</summary>
    public static string Save(TemporaryFolder folder, string json, Action<Dictionary<string, Tensor>>? change = null)
    {
        string path = Configure(folder, json);
        using var scope = torch.NewDisposeScope();
        Dictionary<string, Tensor> weights = Weights(HfConfig.Load(path));
        change?.Invoke(weights);
        SafetensorsWriter.Write(Path.Combine(path, "model.safetensors"), weights);
        return path;
    }

    /// <summary>Weights under their Hugging Face names, every one of them normal with mean 0.1, biases and norms included.</summary>
    public static Dictionary<string, Tensor> Weights(HfConfig config)
    {
        var weights = new Dictionary<string, Tensor>();
        using var random = new Generator(123);
        foreach ((string name, Parameter parameter) in new Gpt2Model(config).NamedParameters()) weights[name] = torch.empty(parameter.Shape).normal_(0.1, 0.5, random);
        return weights;
    }

    /// <summary>Gives every parameter its shape and next to no memory: one zero, repeated.</summary>
    public static T WithoutMemory<T>(T model) where T : Module
    {
        foreach ((_, Parameter parameter) in model.NamedParameters())
        {
            using Tensor zero = torch.zeros([1]);
            parameter.Value = zero.expand(parameter.Shape);
        }
        return model;
    }
}
