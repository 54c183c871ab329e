using System.Globalization;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Permafrost.Adaptation;
using Permafrost.Kernels;
using Permafrost.Runs;
using Permafrost.Server;

namespace Permafrost.Cli.Tests;

/// <summary>The server: what it answers, alone and beside others, and adapters that come and go. What is refused is in <see cref="ServeBadInputTests"/>.</summary>
public sealed class ServeTests(ServedRuns runs) : IClassFixture<ServedRuns>
{
    private static readonly string[] Texts = [.. Enumerable.Range(0, 12).Select(i => string.Join(' ', Enumerable.Repeat("the film", i % 4 + 1)) + (i % 2 == 0 ? " zzz" : " qqq") + $", it says {i}")];
    private static readonly string[] Rows = [.. Enumerable.Range(0, 9).Select(i => FormattableString.Invariant($"{i * 0.37},{-i},{i % 3}"))];

    private const string Reviews = "/v1/adapters/reviews/predict", Numbers = "/v1/adapters/numbers/predict";

    private ServerOptions Both => new() { Runs = [runs.Reviews, runs.Numbers] };

    private static string TextsJson(IEnumerable<string> texts) => JsonSerializer.Serialize(new { texts });

    private static string RowsJson(IEnumerable<string> rows) => $"{{\"rows\":[{string.Join(',', rows.Select(row => $"[{row}]"))}]}}";

    [Fact]
    public async Task Answers_are_those_of_predict_in_every_form_that_rows_can_have()
    {
        string[] texts = runs.Predicted(runs.Reviews, "texts.txt", string.Join('\n', Texts)), numbers = runs.Predicted(runs.Numbers, "rows.txt", string.Join('\n', Rows));
        await using ServerUnderTest server = await ServerUnderTest.Start(Both);
        Assert.Equal(texts, (await server.Post(Reviews, TextsJson(Texts))).Predictions);
        Assert.Equal(texts, (await server.Post(Reviews, string.Join('\n', Texts), "text/plain")).Predictions);
        Assert.Equal(texts, (await server.Post(Reviews, string.Join('\n', Texts.Select(text => JsonSerializer.Serialize(text))), "application/jsonl")).Predictions);
        Assert.Equal(texts, (await server.Post(Reviews, "x,review\n" + string.Join('\n', Texts.Select(text => $"1,\"{text}\"")), "text/csv")).Predictions);
        Assert.Equal(numbers, (await server.Post(Numbers, RowsJson(Rows))).Predictions);
        Assert.Equal(numbers, (await server.Post(Numbers, "a,b,c\n" + string.Join('\n', Rows), "text/csv; charset=utf-8")).Predictions);
        string objects = string.Join('\n', Rows.Select(row => row.Split(',')).Select(row => $"{{\"c\":{row[2]},\"a\":{row[0]},\"b\":{row[1]}}}"));
        Assert.Equal(numbers, (await server.Post(Numbers, objects, "application/x-ndjson")).Predictions);
    }

    [Fact]
    public async Task Answers_are_the_same_bit_for_bit_alone_and_beside_other_requests()
    {
        Assert.SkipWhen(KernelSet.Name == KernelSet.None, "without kernels rows are the same within rounding");
        await using ServerUnderTest server = await ServerUnderTest.Start(Both with { BatchDelay = TimeSpan.FromMilliseconds(50), BatchRows = 8 });
        float[][] alone = await Probabilities(server, Texts.Select(text => new[] { text }).ToArray(), together: false);
        float[][] together = await Probabilities(server, Texts.Select(text => new[] { text }).ToArray(), together: true);
        float[][] oneRequest = await Probabilities(server, [Texts], together: false);
        Assert.Equal(alone, together);
        Assert.Equal(alone.SelectMany(row => row), oneRequest[0]);
        using Finetuning run = Finetuning.Open(runs.Reviews, withData: false);
        using var scratch = new Scratch();
        Prediction[] predicted = [.. run.Predict(scratch.Write("texts.txt", string.Join('\n', Texts)), 64)];
        Assert.Equal(predicted.SelectMany(prediction => ((ClassPrediction)prediction).Probabilities[0]), oneRequest[0]);
        // Some of them did share a turn.
        Assert.True(server.Host.Queue.Turns < 3 * Texts.Length + 1, $"{server.Host.Queue.Turns} turns");
    }

    private static async Task<float[][]> Probabilities(ServerUnderTest server, string[][] requests, bool together)
    {
        var answers = new List<Task<Answer>>();
        foreach (string[] texts in requests)
        {
            string body = JsonSerializer.Serialize(new { inputs = new[] { new { name = "text", datatype = "BYTES", shape = new[] { texts.Length }, data = texts } } });
            answers.Add(server.Post("/v2/models/reviews/infer", body));
            if (together) answers.Add(server.Post(Numbers, RowsJson(Rows)));
            else await answers[^1];
        }
        Answer[] all = await Task.WhenAll(answers);
        Assert.All(all, answer => Assert.True(answer.Status == 200, answer.Body));
        return [.. all.Where(answer => answer.Json["outputs"] is not null).Select(answer => answer.Json["outputs"]![1]!["data"]!.AsArray().Select(value => (float)value!).ToArray())];
    }

    [Fact]
    public async Task A_long_request_is_cut_into_turns_and_comes_back_in_order()
    {
        string[] many = [.. Enumerable.Range(0, 150).Select(i => Texts[i * 7 % Texts.Length])];
        await using ServerUnderTest server = await ServerUnderTest.Start(Both with { BatchRows = 8 });
        Task<Answer> whole = server.Post(Reviews, TextsJson(many));
        Assert.Equal(runs.Predicted(runs.Numbers, "rows.txt", string.Join('\n', Rows)), (await server.Post(Numbers, RowsJson(Rows))).Predictions);
        Assert.Equal(runs.Predicted(runs.Reviews, "many.txt", string.Join('\n', many)), (await whole).Predictions);
        Assert.InRange(server.Host.Queue.Turns, 150 / 32 + 1, 150);
    }

    [Fact]
    public async Task A_text_may_hold_line_ends_quotes_and_other_scripts()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both);
        string[] odd = ["a \"quoted\" film,\nzzz", "\r\nqqq; it\tsays", "=1+1|x", "film 你好 🙂 zzz", new string('x', 5000)];
        Assert.Equal(odd.Length, (await server.Post(Reviews, TextsJson(odd))).Predictions.Length);
        // To a BERT a line end is a blank.
        Answer broken = await server.Post(Reviews, TextsJson(["the film\nzzz"])), whole = await server.Post(Reviews, TextsJson(["the film zzz"]));
        Assert.Equal(whole.Predictions, broken.Predictions);
    }

    [Fact]
    public async Task It_tells_what_it_serves()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both);
        await server.Post(Numbers, RowsJson(Rows));
        JsonNode list = (await server.Get("/v1/adapters")).Json;
        Assert.Equal(["numbers", "reviews"], list["adapters"]!.AsArray().Select(adapter => (string)adapter!["name"]!));
        JsonNode numbers = (await server.Get("/v1/adapters/numbers")).Json;
        Assert.Equal(["a", "b", "c"], numbers["columns"]!.AsArray().Select(column => (string)column!));
        Assert.Equal(["even", "odd"], numbers["labels"]!.AsArray().Select(label => (string)label!));
        Assert.Equal(RunResult.Read(RunFolder.At(runs.Numbers)).Test!["accuracy"], (double)numbers["score"]!["value"]!);
        Assert.Equal((1, Rows.Length, 1), ((int)numbers["traffic"]!["requests"]!, (int)numbers["traffic"]!["rows"]!, numbers["traffic"]!["recent_milliseconds"]!.AsArray().Count));
        JsonNode model = (await server.Get("/v2/models/numbers")).Json;
        Assert.Equal("""[{"name":"rows","datatype":"FP32","shape":[-1,3]}]""", model["inputs"]!.ToJsonString());
        Assert.Equal("permafrost", (string)(await server.Get("/v2")).Json["name"]!);
        foreach (string path in new[] { "/v2/health/live", "/v2/health/ready", "/v2/models/reviews/ready", "/", "/openapi.json" }) Assert.Equal(200, (await server.Get(path)).Status);
        string metrics = (await server.Get("/metrics")).Body;
        Assert.Contains("permafrost_requests_total{adapter=\"numbers\",status=\"200\"} 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains($"permafrost_rows_total{{adapter=\"numbers\"}} {Rows.Length}\n", metrics, StringComparison.Ordinal);
        Assert.Contains("permafrost_request_seconds_bucket{adapter=\"numbers\",le=\"+Inf\"} 1\n", metrics, StringComparison.Ordinal);
        Assert.All(metrics.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.Matches(@"^(# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [0-9.E+-]+)$", line));
    }

    [Fact]
    public async Task The_protocols_tensors_are_read_and_given()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both);
        string[] expected = (await server.Post(Numbers, RowsJson(["1,2,3", "4,5,6"]))).Predictions;
        foreach (string data in new[] { "[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]" })
        {
            JsonNode answer = (await server.Post("/v2/models/numbers/infer", $$"""{"id":"q1","inputs":[{"name":"rows","datatype":"INT64","shape":[2,3],"data":{{data}}}]}""")).Json;
            Assert.Equal(("q1", "numbers"), ((string)answer["id"]!, (string)answer["model_name"]!));
            Assert.Equal("[2,2]", answer["outputs"]![1]!["shape"]!.ToJsonString());
            Assert.Equal(expected.Select(row => (string)JsonNode.Parse(row)!["label"]!), answer["outputs"]![0]!["data"]!.AsArray().Select(label => (string)label!));
        }
    }

    [Fact]
    public async Task The_description_has_every_address_and_no_other()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both);
        string[] described = [.. (await server.Get("/openapi.json")).Json["paths"]!.AsObject().SelectMany(path => path.Value!.AsObject().Select(method => $"{method.Key.ToUpperInvariant()} {path.Key}"))];
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Services.AddPermafrost(options => options.Runs = [runs.Numbers]);
        await using WebApplication app = builder.Build();
        app.MapPermafrost();
        string[] mapped = [.. ((IEndpointRouteBuilder)app).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>()
            .Select(endpoint => $"{endpoint.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods[0]} {endpoint.RoutePattern.RawText}")];
        Assert.Equal(mapped.Order(StringComparer.Ordinal), described.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task An_app_of_ones_own_serves_them_too_and_embeds()
    {
        using var scratch = new Scratch();
        string body = SmallBody.Write(scratch["embedder"], "roberta", withWeights: true);
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Services.AddPermafrost(options => options.Runs = [runs.Numbers], embedder: body);
        await using WebApplication app = builder.Build();
        app.Urls.Add("http://127.0.0.1:0");
        app.MapGroup("/ai").MapPermafrost();
        await app.StartAsync(TestContext.Current.CancellationToken);
        using var client = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        using HttpResponseMessage response = await client.PostAsync(new Uri("/ai" + Numbers, UriKind.Relative), new StringContent(RowsJson(Rows), Encoding.UTF8, "application/json"), TestContext.Current.CancellationToken);
        Assert.Equal(Rows.Length, JsonNode.Parse(await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken))!["predictions"]!.AsArray().Count);
        var embedder = app.Services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        using SentenceEmbedder own = SentenceEmbedder.Load(body);
        Assert.Equal((await own.GenerateAsync(["a film"])).Single().Vector.ToArray(), (await embedder.GenerateAsync(["a film"], cancellationToken: TestContext.Current.CancellationToken)).Single().Vector.ToArray());
        await app.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Adapters_come_are_replaced_and_go_while_requests_run_and_none_fails()
    {
        using var scratch = new Scratch();
        string folder = Directory.CreateDirectory(scratch["adapters"]).FullName;
        ServedRuns.Copy(runs.Reviews, Path.Combine(folder, "reviews"));
        await using ServerUnderTest server = await ServerUnderTest.Start(new ServerOptions { AdaptersFolder = folder, Poll = TimeSpan.FromMilliseconds(20) });
        Assert.Equal(["reviews"], server.Host.Names);
        string[] expected = runs.Predicted(runs.Reviews, "texts.txt", string.Join('\n', Texts));
        using var end = new CancellationTokenSource();
        int asked = 0;
        Task[] clients = [.. Enumerable.Range(0, 3).Select(_ => Task.Run(async () =>
        {
            while (!end.IsCancellationRequested)
            {
                Assert.Equal(expected, (await server.Post(Reviews, TextsJson(Texts))).Predictions);
                Interlocked.Increment(ref asked);
            }
        }))];
        ServedRuns.Copy(runs.Numbers, Path.Combine(folder, "numbers"));
        await ServerUnderTest.Until(() => server.Host.Names.Contains("numbers"), "the second adapter is served");
        Assert.Equal(200, (await server.Post(Numbers, RowsJson(Rows))).Status);
        DateTimeOffset before = server.Host.Served.Single(adapter => adapter.Name == "reviews").Loaded;
        File.SetLastWriteTimeUtc(Path.Combine(folder, "reviews", "config.yaml"), DateTime.UtcNow.AddMinutes(1));
        await ServerUnderTest.Until(() => server.Host.Served.Single(adapter => adapter.Name == "reviews").Loaded > before, "the first adapter is replaced");
        Directory.Delete(Path.Combine(folder, "numbers"), recursive: true);
        await ServerUnderTest.Until(() => !server.Host.Names.Contains("numbers"), "the second adapter is gone");
        (await server.Post(Numbers, RowsJson(Rows))).Refused(404, "numbers");
        int until = Volatile.Read(ref asked) + 5;
        await ServerUnderTest.Until(() => Volatile.Read(ref asked) >= until || clients.Any(client => client.IsFaulted), "clients are answered");
        await end.CancelAsync();
        await Task.WhenAll(clients);
    }

    [Fact]
    public async Task A_half_copied_folder_waits_and_a_damaged_one_leaves_what_was_served()
    {
        using var scratch = new Scratch();
        string folder = Directory.CreateDirectory(scratch["adapters"]).FullName, half = Path.Combine(folder, "half");
        ServedRuns.Copy(runs.Numbers, half);
        string weights = Path.Combine(half, "adapter", "adapter_model.safetensors");
        byte[] whole = File.ReadAllBytes(weights);
        File.WriteAllBytes(weights, whole[..(whole.Length / 2)]);
        await using ServerUnderTest server = await ServerUnderTest.Start(new ServerOptions { AdaptersFolder = folder, Poll = TimeSpan.FromMilliseconds(20) });
        Assert.Empty(server.Host.Names);
        JsonNode refused = Assert.Single((await server.Get("/v1/adapters")).Json["refused"]!.AsArray())!;
        Assert.Equal("half", (string)refused["name"]!);
        (await server.Post("/v1/adapters/half/predict", RowsJson(Rows))).Refused(404, "half", "damaged");
        File.WriteAllBytes(weights, whole);
        await ServerUnderTest.Until(() => server.Host.Names.Contains("half"), "the whole folder is served");
        await ServerUnderTest.Until(() => server.Host.Refused.Count == 0, "its error is gone");

        File.WriteAllText(Path.Combine(half, "config.yaml"), "task: [");
        await ServerUnderTest.Until(() => server.Host.Refused.ContainsKey("half"), "the damage is seen");
        Assert.Equal(Rows.Length, (await server.Post("/v1/adapters/half/predict", RowsJson(Rows))).Predictions.Length);
        // Another body's, and a name that no URL should have.
        ServedRuns.Copy(runs.Stranger, Path.Combine(folder, "stranger"));
        ServedRuns.Copy(runs.Numbers, Path.Combine(folder, "a b"));
        await ServerUnderTest.Until(() => server.Host.Refused.TryGetValue("stranger", out string? why) && why.Contains("another body", StringComparison.Ordinal) && server.Host.Refused.ContainsKey("a b"),
            "both are refused");
        Assert.Equal(["half"], server.Host.Names);
    }

    [Fact]
    public async Task Memory_is_the_body_and_what_each_adapter_trained()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(new ServerOptions { Runs = [.. Enumerable.Range(0, 5).Select(i => $"n{i}={runs.Numbers}")] });
        ServedAdapter[] served = [.. server.Host.Served];
        Assert.Equal(5, served.Length);
        foreach (ServedAdapter adapter in served)
        {
            Assert.Same(server.Host.Body, adapter.Run.Weights);
            // Frozen tensors lie where the first adapter's lie.
            foreach ((AdaptedParameter own, AdaptedParameter first) in adapter.Run.Model.Parameters.Zip(served[0].Run.Model.Parameters))
                if (!own.Trained && !own.Unused && !own.Parameter.IsPacked && own.Parameter.Value.numel() > 0)
                    Assert.True(Unsafe.AreSame(ref MemoryMarshal.GetReference(first.Parameter.Value.bytes), ref MemoryMarshal.GetReference(own.Parameter.Value.bytes)), own.Name);
        }
    }

    [Fact]
    public async Task The_verb_serves_until_it_is_asked_to_stop_and_says_where()
    {
        using CliProcess process = Cli.Start(new CliSettings { Interactive = true }, "serve", runs.Reviews, "--port", "0", "--json", "--log-requests");
        process.WaitForError("is served");
        var line = new StringBuilder();
        for (string? text; !line.ToString().EndsWith("}\n", StringComparison.Ordinal) && (text = await process.ReadLine(TestContext.Current.CancellationToken)) is not null;)
            line.Append(text).Append('\n');
        string address = (string)JsonNode.Parse(line.ToString())!["address"]!;
        using var client = new HttpClient();
        using var asked = new StringContent(TextsJson(Texts), Encoding.UTF8, "application/json");
        using HttpResponseMessage response = await client.PostAsync(new Uri(address + Reviews), asked, TestContext.Current.CancellationToken);
        Assert.Equal(200, (int)response.StatusCode);
        process.WaitForError("\"status\":\"200\"");
        // A second one at the same port.
        Cli.Run("serve", runs.Reviews, "--port", new Uri(address).Port.ToString(CultureInfo.InvariantCulture)).Failed(1, "--port", "another program listens there");
        process.Signal(Cli.Terminate);
        Assert.Equal(0, process.WaitForExit(CliSettings.Patience).ExitCode);
        Assert.Throws<SocketException>(() => { using var socket = new TcpClient("127.0.0.1", new Uri(address).Port); });
    }

    [Fact]
    public async Task Requests_that_have_begun_are_answered_before_it_stops()
    {
        string[] many = [.. Enumerable.Range(0, 400).Select(i => Texts[i % Texts.Length])];
        await using ServerUnderTest server = await ServerUnderTest.Start(Both with { BatchRows = 4 });
        Task<Answer> begun = server.Post(Reviews, TextsJson(many));
        await ServerUnderTest.Until(() => server.Host.Queue.Turns > 0, "the first turn");
        await server.Stop();
        Assert.Equal(many.Length, (await begun).Predictions.Length);
    }
}
