using Microsoft.ML.OnnxRuntime;
using Permafrost.Kernels;

namespace Permafrost.Tests.Models.Onnx;

/// <summary>Runs a model in ONNX Runtime: what the library, which only reads models, is held against.</summary>
internal sealed class OnnxOracle(string path) : IDisposable
{
    private readonly InferenceSession session = Open(path);

    /// <summary>Random rows of ids, of random lengths, padded.</summary>
    public static (long[] Ids, long[] Mask, long[] Types, int Rows, int Length) Batch(Random random, int words, int types, int longest)
    {
        int rows = random.Next(1, 5), length = random.Next(2, longest + 1);
        (var ids, var mask, var segments) = (new long[rows * length], new long[rows * length], new long[rows * length]);
        for (int row = 0; row < rows; row++)
        {
            int own = row == 0 ? length : random.Next(1, length + 1);
            for (int i = 0; i < own; i++)
            {
                ids[row * length + i] = random.Next(words);
                segments[row * length + i] = random.Next(types);
                mask[row * length + i] = 1;
            }
        }
        return (ids, mask, segments, rows, length);
    }

    /// <summary>An output's numbers.</summary>
    public Tensor Run(string output, long[] ids, long[] mask, long[] types, int rows, int length)
    {
        long[] shape = [rows, length];
        var inputs = new Dictionary<string, OrtValue>
        {
            ["input_ids"] = OrtValue.CreateTensorValueFromMemory(ids, shape),
            ["attention_mask"] = OrtValue.CreateTensorValueFromMemory(mask, shape),
        };
        if (session.InputMetadata.ContainsKey("token_type_ids")) inputs["token_type_ids"] = OrtValue.CreateTensorValueFromMemory(types, shape);
        if (session.InputMetadata.ContainsKey("position_ids"))
            inputs["position_ids"] = OrtValue.CreateTensorValueFromMemory(Enumerable.Range(0, rows * length).Select(i => (long)(i % length)).ToArray(), shape);
        using var options = new RunOptions();
        using IDisposableReadOnlyCollection<OrtValue> results = session.Run(options, inputs, [output]);
        foreach (OrtValue input in inputs.Values) input.Dispose();
        return Tensors.From(results[0].GetTensorDataAsSpan<float>().ToArray(), results[0].GetTensorTypeAndShape().Shape);
    }

    public bool Gives(string output) => session.OutputMetadata.ContainsKey(output);

    public void Dispose() => session.Dispose();

    private static InferenceSession Open(string path)
    {
        using var options = new SessionOptions { IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        return new InferenceSession(path, options);
    }
}
