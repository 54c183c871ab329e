using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench;

/// <summary>Our side of an embedding benchmark: texts to embeddings, by the generator that programs use.</summary>
internal sealed class EmbedWork : IDisposable
{
    private readonly SentenceEmbedder embedder;
    private readonly EmbedTexts texts;
    private int next;

    public EmbedWork(JsonObject command, ScalarType frozenType)
    {
        embedder = SentenceEmbedder.Load((string)command["folder"]!, frozenType);
        texts = EmbedTexts.Read((string)command["texts"]!, (int)command["batch"]!);
    }

    public double Step() => Embed(texts.Batch(next++))[^1][^1];

    public JsonObject Write(string file)
    {
        EmbedTexts.Write(file, Embed(texts.All));
        return new JsonObject { ["ok"] = true };
    }

    public void Dispose() => embedder.Dispose();

    private float[][] Embed(string[] values) => [.. embedder.GenerateAsync(values).GetAwaiter().GetResult().Select(one => one.Vector.ToArray())];
}
