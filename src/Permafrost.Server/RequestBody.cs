using System.Text.Json;
using System.Text.Unicode;

namespace Permafrost.Server;

/// <summary>Bodies of requests: read whole, up to the limit, and as JSON.</summary>
internal static class RequestBody
{
    private static readonly JsonDocumentOptions Strict = new() { MaxDepth = 16, AllowDuplicateProperties = false };

    /// <summary>The bytes of a body.</summary>
    /// <exception cref="RequestException">It is larger than the limit, or empty.</exception>
    public static async Task<byte[]> Read(HttpContext http, long most)
    {
        RequestException TooLarge() => new(
            StatusCodes.Status413PayloadTooLarge, $"the body has more than {most:N0} bytes, the most that this server takes; send the rows in parts");
        if (http.Request.ContentLength > most) throw TooLarge();
        // As it comes: a length that was only promised takes no memory.
        using var body = new MemoryStream();
        byte[] buffer = new byte[1 << 16];
        while (await http.Request.Body.ReadAsync(buffer, http.RequestAborted).ConfigureAwait(false) is > 0 and var count)
        {
            if (body.Length + count > most) throw TooLarge();
            body.Write(buffer, 0, count);
        }
        return body.Length > 0 ? body.ToArray() : throw RequestException.BadInput("the request has no body");
    }

    /// <summary>A body as a JSON object.</summary>
    /// <exception cref="RequestException">It is none.</exception>
    public static JsonDocument Json(ReadOnlyMemory<byte> body)
    {
        try
        {
            // Many programs put a byte order mark before UTF-8.
            if (body.Span.StartsWith("\uFEFF"u8)) body = body[3..];
            JsonDocument document = Parsed(body);
            if (document.RootElement.ValueKind == JsonValueKind.Object) return document;
            document.Dispose();
            throw RequestException.BadInput("the body is no JSON object");
        }
        catch (JsonException error)
        {
            throw RequestException.BadInput($"the body is not valid JSON: {error.Message.ReplaceLineEndings(" ").Split(". ")[0].TrimEnd('.')}{Place(error)}");
        }
    }

    /// <summary>The rows of a predict request: the list <c>rows</c> or <c>texts</c>.</summary>
    /// <exception cref="RequestException">There is no such list, or both, or something else.</exception>
    public static JsonElement[] Rows(JsonElement request)
    {
        foreach (JsonProperty property in request.EnumerateObject())
            if (property.Name is not ("rows" or "texts")) throw RequestException.BadInput("the object holds something else than `rows` or `texts`");
        bool hasRows = request.TryGetProperty("rows", out JsonElement rows), hasTexts = request.TryGetProperty("texts", out JsonElement texts);
        if (hasRows == hasTexts) throw RequestException.BadInput("give either `rows`, a list of rows, or `texts`, a list of texts");
        JsonElement list = hasRows ? rows : texts;
        if (list.ValueKind != JsonValueKind.Array) throw RequestException.BadInput($"`{(hasRows ? "rows" : "texts")}` is no list");
        JsonElement[] all = [.. list.EnumerateArray()];
        if (hasTexts) for (int i = 0; i < all.Length; i++) _ = RowText.Text(all[i], i);
        return all;
    }

    /// <summary>JSON lines as the list of their values.</summary>
    /// <exception cref="RequestException">A line is no JSON.</exception>
    public static JsonDocument Lines(ReadOnlyMemory<byte> body)
    {
        using var joined = new MemoryStream();
        joined.WriteByte((byte)'[');
        int number = 0;
        foreach (Range range in body.Span.Split((byte)'\n'))
        {
            number++;
            ReadOnlyMemory<byte> line = body[range];
            if (line.Span.Trim(" \t\r"u8).IsEmpty) continue;
            try
            {
                using JsonDocument _ = Parsed(line);
            }
            catch (JsonException error)
            {
                throw RequestException.BadInput($"line {number} is not valid JSON: {error.Message.ReplaceLineEndings(" ").Split(". ")[0].TrimEnd('.')}");
            }
            if (joined.Length > 1) joined.WriteByte((byte)',');
            joined.Write(line.Span);
        }
        joined.WriteByte((byte)']');
        return JsonDocument.Parse(joined.ToArray(), Strict with { MaxDepth = Strict.MaxDepth + 1 });
    }

    // What the parser leaves for later, where a name or text is read: whether it is text at all.
    private static JsonDocument Parsed(ReadOnlyMemory<byte> body)
    {
        if (!Utf8.IsValid(body.Span)) throw RequestException.BadInput("the body is not UTF-8");
        JsonDocument? document = null;
        try
        {
            document = JsonDocument.Parse(body, Strict);
            if (body.Span.IndexOf("\\ud"u8) < 0 && body.Span.IndexOf("\\uD"u8) < 0) return document;
            using var nowhere = new Utf8JsonWriter(Stream.Null);
            document.WriteTo(nowhere);
            return document;
        }
        catch (InvalidOperationException)
        {
            document?.Dispose();
            throw RequestException.BadInput("a text holds half of a character (an unpaired surrogate)");
        }
    }

    private static string Place(JsonException error) => error.LineNumber is { } line ? $" (line {line + 1}, byte {error.BytePositionInLine + 1})" : "";
}
