using System.Diagnostics;
using System.Reflection;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Permafrost.Adaptation;
using Permafrost.Runs;

namespace Permafrost.Server;

/// <summary>What is answered under which address.</summary>
internal sealed class Endpoints(AdapterHost host, ServerOptions options, Gatekeeper gate, IHostApplicationLifetime lifetime, ILogger<Endpoints> logger)
{
    private const string Json = "application/json; charset=utf-8";

    // Nothing here ends up in HTML: quotes and pluses stay as they are.
    private static readonly JsonSerializerOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly byte[] Page = Resource("Page/index.html"), Description = Resource("Page/openapi.json");

    public void Map(IEndpointRouteBuilder routes)
    {
        void Get(string path, Func<HttpContext, Task> answer) => routes.MapGet(path, http => Guarded(http, answer));
        void Post(string path, Func<HttpContext, string, Task<int>> answer) =>
            routes.MapPost(path, http => Guarded(http, given => Counted(given, answer)));

        Get("/", http => Write(http, "text/html; charset=utf-8", Page));
        Get("/openapi.json", http => Write(http, Json, Description));
        Get("/metrics", http =>
        {
            gate.Check(http, null);
            return Write(http, MetricsText.ContentType, System.Text.Encoding.UTF8.GetBytes(MetricsText.Of(host)));
        });
        Get("/v1/adapters", ListAdapters);
        Get("/v1/adapters/{name}", http => WithAdapter(http, adapter => WriteJson(http, AdapterInfo.Of(adapter), ServerJson.Readable.AdapterInfo)));
        Post("/v1/adapters/{name}/predict", Predict);
        Get("/v2", http => WriteJson(http, new ServerMetadata("permafrost", EnvironmentInfo.Version, []), ServerJson.Readable.ServerMetadata));
        Get("/v2/health/live", http => Health(http, "live", true));
        Get("/v2/health/ready", http => Health(http, "ready", host.IsReady && !lifetime.ApplicationStopping.IsCancellationRequested));
        Get("/v2/models/{name}", http => WithAdapter(http, adapter => WriteJson(http, OpenInference.Describe(adapter), ServerJson.Readable.ModelMetadata)));
        Get("/v2/models/{name}/ready", http => WithAdapter(http, adapter =>
            Write(http, Json, System.Text.Encoding.UTF8.GetBytes(new JsonObject { ["name"] = adapter.Name, ["ready"] = true }.ToJsonString()))));
        Post("/v2/models/{name}/infer", Infer);
    }

    /// <summary>An error as JSON, in one sentence.</summary>
    public static Task WriteError(HttpContext http, int status, string message)
    {
        if (http.Response.HasStarted) return Task.CompletedTask;
        http.Response.StatusCode = status;
        return WriteJson(http, new ErrorAnswer(message), ServerJson.Readable.ErrorAnswer);
    }

    private Task ListAdapters(HttpContext http)
    {
        IReadOnlyList<string> opened = gate.Opened(http);
        bool all = opened.Contains("*");
        AdapterInfo[] adapters = [.. host.Served.Where(adapter => all || opened.Contains(adapter.Name)).Select(AdapterInfo.Of)];
        RefusedAdapter[] refused = all ? [.. host.Refused.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => new RefusedAdapter(pair.Key, pair.Value))] : [];
        return WriteJson(http, new AdapterList(adapters, refused, host.Body?.Reference), ServerJson.Readable.AdapterList);
    }

    private static Task Health(HttpContext http, string what, bool well)
    {
        if (!well) http.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
        return Write(http, Json, System.Text.Encoding.UTF8.GetBytes(new JsonObject { [what] = well }.ToJsonString()));
    }

    // Returns the rows answered.
    private async Task<int> Predict(HttpContext http, string name)
    {
        byte[] body = await RequestBody.Read(http, options.MaxBodyBytes).ConfigureAwait(false);
        ServedAdapter adapter = Find(name);
        try
        {
            using ReadInput input = ReadPredict(http, adapter, body);
            Prediction[] predictions = await Ask(adapter, input, http.RequestAborted).ConfigureAwait(false);
            var answer = new JsonObject { ["adapter"] = name, ["predictions"] = new JsonArray([.. predictions.Select(PredictionJson.Of)]) };
            await Write(http, Json, System.Text.Encoding.UTF8.GetBytes(answer.ToJsonString(Readable))).ConfigureAwait(false);
            return predictions.Length;
        }
        finally
        {
            adapter.Release();
        }
    }

    private async Task<int> Infer(HttpContext http, string name)
    {
        if (http.Request.Headers.ContainsKey("Inference-Header-Content-Length"))
            throw RequestException.BadInput("binary tensors are not taken; send `data` as JSON");
        byte[] body = await RequestBody.Read(http, options.MaxBodyBytes).ConfigureAwait(false);
        using JsonDocument request = RequestBody.Json(body);
        ServedAdapter adapter = Find(name);
        try
        {
            (JsonDocument rows, string? id) = OpenInference.Read(request.RootElement);
            using JsonDocument own = rows;
            using ReadInput input = host.Inputs.FromRows(adapter, [.. rows.RootElement.EnumerateArray()]);
            Prediction[] predictions = await Ask(adapter, input, http.RequestAborted).ConfigureAwait(false);
            await WriteJson(http, OpenInference.Answer(adapter, id, predictions), ServerJson.Readable.InferAnswer).ConfigureAwait(false);
            return predictions.Length;
        }
        finally
        {
            adapter.Release();
        }
    }

    private async Task<Prediction[]> Ask(ServedAdapter adapter, ReadInput input, CancellationToken cancellation)
    {
        try
        {
            return await host.Queue.Ask(adapter, input.Rows, cancellation).ConfigureAwait(false);
        }
        catch (PermafrostException error) when (error is not RequestException && input.BadInput(error) is { } bad)
        {
            throw bad;
        }
    }

    private ReadInput ReadPredict(HttpContext http, ServedAdapter adapter, byte[] body)
    {
        string type = (http.Request.ContentType ?? "application/json").Split(';')[0].Trim().ToLowerInvariant();
        switch (type)
        {
            case "application/json":
                using (JsonDocument request = RequestBody.Json(body)) return host.Inputs.FromRows(adapter, RequestBody.Rows(request.RootElement));
            case "application/x-ndjson" or "application/jsonl" or "application/x-jsonlines":
                using (JsonDocument lines = RequestBody.Lines(body)) return host.Inputs.FromRows(adapter, [.. lines.RootElement.EnumerateArray()]);
            case "text/plain": return host.Inputs.FromFile(adapter, body, ".txt");
            case "text/csv": return host.Inputs.FromFile(adapter, body, ".csv");
            case "text/tab-separated-values": return host.Inputs.FromFile(adapter, body, ".tsv");
            case "image/png": return host.Inputs.FromFile(adapter, body, ".png");
            case "image/jpeg": return host.Inputs.FromFile(adapter, body, ".jpg");
            case "image/webp": return host.Inputs.FromFile(adapter, body, ".webp");
            case "application/octet-stream": return host.Inputs.FromFile(adapter, body, adapter.Run.Task is Tasks.TensorsTask ? ".safetensors" : ".bin");
            default:
                throw new RequestException(StatusCodes.Status415UnsupportedMediaType,
                    "the Content-Type must be application/json, application/jsonl, text/csv, text/plain, a picture's, or for other files application/octet-stream");
        }
    }

    // In use until it is released.
    private ServedAdapter Find(string name) => host.Use(name) ?? throw new RequestException(StatusCodes.Status404NotFound,
        host.Refused.ContainsKey(name) ? $"the adapter '{name}' is not served: its folder is damaged, incomplete or another body's; the server's log says more"
        : AdapterName.IsValid(name) ? $"there is no adapter '{name}' here; GET /v1/adapters lists them" : "there is no adapter of that name here; GET /v1/adapters lists them");

    private async Task WithAdapter(HttpContext http, Func<ServedAdapter, Task> answer)
    {
        string name = (string)http.Request.RouteValues["name"]!;
        gate.Check(http, name);
        ServedAdapter adapter = Find(name);
        try
        {
            await answer(adapter).ConfigureAwait(false);
        }
        finally
        {
            adapter.Release();
        }
    }

    // Of adapters that are there, so that names that were made up take no memory.
    private async Task Counted(HttpContext http, Func<HttpContext, string, Task<int>> answer)
    {
        string name = (string)http.Request.RouteValues["name"]!;
        long start = Stopwatch.GetTimestamp();
        int rows = 0, status = StatusCodes.Status500InternalServerError;
        try
        {
            gate.Check(http, name);
            gate.CheckRate(http);
            rows = await answer(http, name).ConfigureAwait(false);
            status = StatusCodes.Status200OK;
        }
        catch (Exception error)
        {
            status = StatusOf(http, error);
            throw;
        }
        finally
        {
            TimeSpan took = Stopwatch.GetElapsedTime(start);
            if (host.Serves(name)) host.TrafficOf(name).Add(status, rows, took);
            ServerLog.Answered(logger, name, status, rows, took.TotalMilliseconds);
        }
    }

    private static int StatusOf(HttpContext http, Exception error) => error switch
    {
        RequestException request => request.Status,
        BadHttpRequestException bad => bad.StatusCode,
        OperationCanceledException when http.RequestAborted.IsCancellationRequested => StatusCodes.Status499ClientClosedRequest,
        _ => StatusCodes.Status500InternalServerError,
    };

    private async Task Guarded(HttpContext http, Func<HttpContext, Task> answer)
    {
        try
        {
            await answer(http).ConfigureAwait(false);
        }
        catch (RequestException error)
        {
            if (error.RetryAfter is { } seconds) http.Response.Headers.RetryAfter = $"{seconds}";
            if (error.Status == StatusCodes.Status401Unauthorized) http.Response.Headers.WWWAuthenticate = "Bearer";
            await WriteError(http, error.Status, error.Message).ConfigureAwait(false);
        }
        catch (BadHttpRequestException error)
        {
            await WriteError(http, error.StatusCode, error.Message.TrimEnd('.')).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            http.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
        }
        catch (IOException) when (http.RequestAborted.IsCancellationRequested)
        {
            http.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
        }
        catch (Exception error)
        {
            string kind = error.GetType().Name, message = error.Message.ReplaceLineEndings(" ");
            ServerLog.Failed(logger, http.Request.Path, kind, message);
            await WriteError(http, StatusCodes.Status500InternalServerError, $"the server could not answer ({kind}); its log says more").ConfigureAwait(false);
        }
    }

    private static Task WriteJson<T>(HttpContext http, T answer, JsonTypeInfo<T> type) => Write(http, Json, JsonSerializer.SerializeToUtf8Bytes(answer, type));

    private static async Task Write(HttpContext http, string type, byte[] content)
    {
        http.Response.ContentType = type;
        http.Response.ContentLength = content.Length;
        // What is answered is never run as something else, framed, or kept.
        http.Response.Headers.XContentTypeOptions = "nosniff";
        http.Response.Headers.CacheControl = "no-store";
        if (type.StartsWith("text/html", StringComparison.Ordinal))
            http.Response.Headers.ContentSecurityPolicy =
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'";
        await http.Response.Body.WriteAsync(content, http.RequestAborted).ConfigureAwait(false);
    }

    private static byte[] Resource(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!;
        using var content = new MemoryStream();
        stream.CopyTo(content);
        return content.ToArray();
    }
}

internal static partial class ServerLog
{
    [LoggerMessage(Level = LogLevel.Debug, Message = "{Adapter}: status {Status}, {Rows} row(s), {Milliseconds:F3} ms")]
    public static partial void Answered(ILogger logger, string adapter, int status, int rows, double milliseconds);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Path} failed: {Kind}: {Reason}")]
    public static partial void Failed(ILogger logger, string path, string kind, string reason);
}
