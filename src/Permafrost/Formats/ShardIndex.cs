using System.Text.Json;

namespace Permafrost.Formats;

/// <summary>Which file of a sharded checkpoint holds which tensor, as <c>model.safetensors.index.json</c> and <c>pytorch_model.bin.index.json</c> say.</summary>
internal static class ShardIndex
{
    private const long MostBytes = 100_000_000;

    /// <summary>Tensors and their files, each a plain name: an index must not reach out of its folder.</summary>
    /// <exception cref="PermafrostException">The file is unreadable, or no index.</exception>
    public static IReadOnlyList<(string Tensor, string File)> Read(string index)
    {
        try
        {
            byte[] bytes = BoundedFile.Read(index, MostBytes) ?? throw new PermafrostException($"{index} is no index: it has more than {MostBytes:N0} bytes");
            if (WrongContent.Of(bytes) is { } what) throw new PermafrostException($"{index} is {what}");
            using JsonDocument document = JsonDocument.Parse(bytes);
            var shards = new List<(string, string)>();
            foreach (JsonProperty property in document.RootElement.GetProperty("weight_map").EnumerateObject())
            {
                string shard = property.Value.GetString() ?? "";
                if (!IsPlain(shard)) throw new PermafrostException($"{index}: '{shard}' is not the name of a file in the same folder");
                shards.Add((property.Name, shard));
            }
            return shards;
        }
        catch (Exception error) when (error is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new PermafrostException($"{index} is not a valid index: it needs a JSON object with \"weight_map\": {{\"tensor\": \"file\"}}");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(index, error);
        }
    }

    /// <summary>Whether a name is that of a file in the same folder, on any system.</summary>
    public static bool IsPlain(string name) => name is not ("" or "." or "..") && name.IndexOfAny(['/', '\\', ':']) < 0 && !name.Any(char.IsControl);
}
