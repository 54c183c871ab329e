using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Server;

namespace Permafrost.Cli.Tests;

/// <summary>Two short runs over one small body, one of texts and one of rows of numbers, and one over another body: what a class of tests serves.</summary>
public sealed class ServedRuns : IDisposable
{
    private readonly Scratch scratch = new();

    public ServedRuns()
    {
        string body = TextTables.Body(scratch);
        Cli.Run(TextTables.Finetune(body, TextTables.Write(scratch, "texts.csv", 80), Reviews, "--max-steps", "8", "--no-baselines")).Succeeded();
        var numbers = new StringBuilder("a,b,c,label\n");
        for (int i = 0; i < 60; i++) numbers.Append(CultureInfo.InvariantCulture, $"{Math.Sin(i)},{Math.Cos(3 * i)},{i % 7},{(i % 2 == 0 ? "even" : "odd")}\n");
        string table = scratch.Write("numbers.csv", numbers.ToString());
        string[] run = ["finetune", "--task", "csv", "--init", "random", "--data", table, "--label-column", "label", "--max-steps", "20", "--eval-steps", "10", "--no-baselines"];
        Cli.Run([.. run, "--backbone", body, "--output-dir", Numbers]).Succeeded();
        Cli.Run([.. run, "--backbone", "gpt2-tiny", "--output-dir", Stranger]).Succeeded();
    }

    /// <summary>The run of texts.</summary>
    public string Reviews => scratch["reviews"];

    /// <summary>The run of rows of three numbers.</summary>
    public string Numbers => scratch["numbers"];

    /// <summary>A run over another body.</summary>
    public string Stranger => scratch["stranger"];

    /// <summary>Copies a run, as somebody would who puts it into a folder of adapters.</summary>
    public static void Copy(string run, string target)
    {
        foreach (string name in new[] { "config.yaml", "results.json", Path.Combine("adapter", "adapter_config.json"), Path.Combine("adapter", "adapter_model.safetensors") })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(target, name))!);
            File.Copy(Path.Combine(run, name), Path.Combine(target, name), overwrite: true);
        }
    }

    /// <summary>What `permafrost predict` answers a file with, a JSON text a row.</summary>
    internal string[] Predicted(string run, string name, string content) =>
        [.. InProcess.Run("predict", run, "--input", scratch.Write(name, content), "--json").Succeeded().Lines.Select(Normal)];

    /// <summary>JSON without choices of spelling.</summary>
    internal static string Normal(string json) => JsonNode.Parse(json)!.ToJsonString();

    public void Dispose() => scratch.Dispose();
}

/// <summary>A server in the tests' own process, and a client.</summary>
internal sealed class ServerUnderTest : IAsyncDisposable
{
    private readonly PermafrostServer server;

    private ServerUnderTest(PermafrostServer server)
    {
        this.server = server;
        Client = new HttpClient { BaseAddress = new Uri(server.Address), Timeout = CliSettings.Patience };
    }

    public HttpClient Client { get; }

    public AdapterHost Host => server.Host;

    public static async Task<ServerUnderTest> Start(ServerOptions options)
    {
        options.Device = "cpu";
        return new ServerUnderTest(await PermafrostServer.StartAsync(options, IPAddress.Loopback, 0));
    }

    public Task Stop() => server.StopAsync();

    /// <summary>Posts a body.</summary>
    public async Task<Answer> Post(string path, string body, string type = "application/json", string? key = null)
    {
        using var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
        content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = content };
        return await Send(request, key);
    }

    public async Task<Answer> Get(string path, string? key = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        return await Send(request, key);
    }

    /// <summary>Waits for something that the server does by itself.</summary>
    public static async Task Until(Func<bool> done, string what)
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (!done())
        {
            Assert.True(clock.Elapsed < CliSettings.Patience, $"never: {what}");
            await Task.Delay(10);
        }
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await server.DisposeAsync();
    }

    private async Task<Answer> Send(HttpRequestMessage request, string? key)
    {
        if (key is not null) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        using HttpResponseMessage response = await Client.SendAsync(request);
        return new Answer((int)response.StatusCode, await response.Content.ReadAsStringAsync(), response.Headers.RetryAfter?.Delta);
    }
}

/// <summary>What came back.</summary>
internal sealed record Answer(int Status, string Body, TimeSpan? RetryAfter)
{
    public JsonNode Json => JsonNode.Parse(Body)!;

    /// <summary>The predictions, a JSON text a row.</summary>
    public string[] Predictions
    {
        get
        {
            Assert.True(Status == 200, $"{Status}: {Body}");
            return [.. Json["predictions"]!.AsArray().Select(prediction => prediction!.ToJsonString())];
        }
    }

    /// <summary>It was refused with a status code and one sentence that names what is wrong.</summary>
    public void Refused(int status, params string[] mentions)
    {
        Assert.True(Status == status, $"{status} was expected: {Status}: {Body}");
        string sentence = (string)Assert.Single(Json.AsObject()).Value!;
        Assert.DoesNotMatch(@"\. [A-Z]|\.$|Exception|/tmp/", sentence);
        foreach (string mention in mentions) Assert.Contains(mention, sentence, StringComparison.Ordinal);
    }
}
