using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Microsoft.ML.OnnxRuntime;
using Permafrost.Cli.Bench;
using Permafrost.Kernels;
using Permafrost.Tokenizers;

namespace Permafrost.Bench;

/// <summary>
/// all-MiniLM-L6-v2 in ONNX Runtime, float32, under the same commands as our own worker: texts to embeddings, with our tokenizer. Its settings are its best: all graph optimisations,
/// as many threads as ours, which spin while they wait (its default), and tensors in place.
/// </summary>
internal sealed class OnnxPeer : IDisposable
{
    private readonly RunOptions options = new();
    private readonly TokenizerPeer tokenizers = new();
    private InferenceSession? session;
    private Tokenizer? tokenizer;
    private EmbedTexts? texts;
    private string[] inputs = [];
    private int width;
    private int next;

    public JsonObject Answer(JsonObject command) => (string?)command["cmd"] switch
    {
        "tokenize" => tokenizers.Tokenize(command),
        "extract" => Extract((string)command["file"]!),
        "setup" => Setup(command),
        "run" => Run((int?)command["steps"] ?? 1),
        "embeddings" => Embeddings((string)command["file"]!),
        "memory" => new JsonObject { ["peak_bytes"] = ProcessMemory.Peak, ["current_bytes"] = ProcessMemory.Resident },
        _ => new JsonObject { ["error"] = $"unknown command {command["cmd"]}" },
    };

    public void Dispose()
    {
        session?.Dispose();
        options.Dispose();
    }

    private static JsonObject Extract(string file)
    {
        PackagedModel.WriteTo(file);
        return new JsonObject { ["ok"] = true };
    }

    private JsonObject Setup(JsonObject command)
    {
        int threads = (int?)command["threads"] ?? Environment.ProcessorCount;
        using var settings = new SessionOptions { GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL, IntraOpNumThreads = threads, InterOpNumThreads = 1 };
        session?.Dispose();
        session = new InferenceSession((string)command["model"]!, settings);
        inputs = [.. new[] { "input_ids", "attention_mask", "token_type_ids" }.Where(session.InputMetadata.ContainsKey)];
        tokenizer = TokenizerFiles.Load((string)command["folder"]!);
        texts = EmbedTexts.Read((string)command["texts"]!, (int)command["batch"]!);
        next = 0;
        return new JsonObject { ["ok"] = true, ["torch"] = $"ONNX Runtime {OrtEnv.Instance().GetVersionString()}", ["threads"] = threads };
    }

    private JsonObject Run(int steps)
    {
        if (texts is null) throw new InvalidOperationException("run before setup");
        var seconds = new JsonArray();
        float last = 0;
        for (int i = 0; i < steps; i++)
        {
            string[] batch = texts.Batch(next++);
            long start = Stopwatch.GetTimestamp();
            last = Embed(batch)[^1][^1];
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return new JsonObject { ["seconds"] = seconds, ["loss"] = last };
    }

    private JsonObject Embeddings(string file)
    {
        if (texts is null) throw new InvalidOperationException("embeddings before setup");
        EmbedTexts.Write(file, Embed(texts.All));
        return new JsonObject { ["ok"] = true };
    }

    // Sorted by length and in batches as our own generator makes them.
    private float[][] Embed(string[] values)
    {
        int[][] ids = [.. values.Select(text => tokenizer!.Encode(text, maxLength: SentenceEmbedder.UsualLength).Ids)];
        int[] order = [.. Enumerable.Range(0, values.Length).OrderByDescending(i => ids[i].Length)];
        var embeddings = new float[values.Length][];
        for (int first = 0; first < order.Length;)
        {
            int rows = Math.Min(EmbedTexts.RowsOfABatch(ids[order[first]].Length), order.Length - first);
            int[] part = order[first..(first + rows)];
            float[][] computed = Compute([.. part.Select(i => ids[i])]);
            for (int row = 0; row < rows; row++) embeddings[part[row]] = computed[row];
            first += rows;
        }
        return embeddings;
    }

    // Rows of ids, the longest first.
    private float[][] Compute(int[][] rows)
    {
        (int B, int T) = (rows.Length, rows[0].Length);
        (long[] ids, long[] present, long[] types) = (new long[B * T], new long[B * T], new long[B * T]);
        for (int row = 0; row < B; row++)
        {
            for (int i = 0; i < rows[row].Length; i++) (ids[row * T + i], present[row * T + i]) = (rows[row][i], 1);
        }
        OrtValue[] values = [.. inputs.Select(name => OrtValue.CreateTensorValueFromMemory(name == "input_ids" ? ids : name == "attention_mask" ? present : types, [B, T]))];
        try
        {
            using IDisposableReadOnlyCollection<OrtValue> outputs = session!.Run(options, inputs, values, ["last_hidden_state"]);
            ReadOnlySpan<float> hidden = outputs[0].GetTensorDataAsSpan<float>();
            width = hidden.Length / (B * T);
            var pooled = new float[B][];
            for (int row = 0; row < B; row++) pooled[row] = Pool(hidden.Slice(row * T * width, rows[row].Length * width));
            return pooled;
        }
        finally
        {
            foreach (OrtValue value in values) value.Dispose();
        }
    }

    // The mean of the positions, at unit length.
    private float[] Pool(ReadOnlySpan<float> positions)
    {
        var sum = new float[width];
        Span<Vector<float>> sums = MemoryMarshal.Cast<float, Vector<float>>(sum.AsSpan());
        for (int at = 0; at < positions.Length; at += width)
        {
            ReadOnlySpan<Vector<float>> one = MemoryMarshal.Cast<float, Vector<float>>(positions.Slice(at, width));
            for (int i = 0; i < sums.Length; i++) sums[i] += one[i];
        }
        double square = 0;
        foreach (float number in sum) square += (double)number * number;
        float scale = (float)(1 / Math.Sqrt(square));
        for (int i = 0; i < width; i++) sum[i] *= scale;
        return sum;
    }
}
