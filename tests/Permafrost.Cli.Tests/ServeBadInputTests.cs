using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Server;

namespace Permafrost.Cli.Tests;

/// <summary>What a server refuses: a status code and one sentence each, and it answers the next request.</summary>
public sealed class ServeBadInputTests(ServedRuns runs) : IClassFixture<ServedRuns>
{
    private const string Reviews = "/v1/adapters/reviews/predict", Numbers = "/v1/adapters/numbers/predict", Infer = "/v2/models/numbers/infer";
    private const string Good = """{"rows":[[1,2,3]]}""";

    private ServerOptions Both => new() { Runs = [runs.Reviews, runs.Numbers], MaxRows = 50, MaxBodyBytes = 100_000 };

    [Fact]
    public async Task Every_bad_request_gets_a_status_and_a_sentence()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both);
        (string Path, string Body, int Status, string Mention)[] cases =
        [
            (Numbers, "{", 400, "not valid JSON"),
            (Numbers, "[1]", 400, "no JSON object"),
            (Numbers, "null", 400, "no JSON object"),
            (Numbers, "{}", 400, "either `rows`"),
            (Numbers, """{"rows":[],"texts":[]}""", 400, "either `rows`"),
            (Numbers, """{"rows":[[1,2,3]],"rows":[[1,2,3]]}""", 400, "not valid JSON"),
            (Numbers, """{"rows":[[1,2,3]],"more":1}""", 400, "something else"),
            (Numbers, """{"rows":7}""", 400, "no list"),
            (Numbers, """{"rows":[]}""", 400, "no row"),
            (Numbers, """{"rows":[[1,2]]}""", 400, "row 1"),
            (Numbers, """{"rows":[[1,2,3],[1,2,3,4]]}""", 400, "row 2"),
            (Numbers, """{"rows":[[1,2,null]]}""", 400, "null"),
            (Numbers, """{"rows":[[1,2,"x"]]}""", 400, "a text"),
            (Numbers, """{"rows":[[1,2,[3]]]}""", 400, "a list"),
            (Numbers, """{"rows":[[1,2,NaN]]}""", 400, "not valid JSON"),
            (Numbers, """{"rows":[[1,2,3],[1,2,1e999]]}""", 400, "row 2"),
            (Numbers, """{"rows":["1,nan,3"]}""", 400, "row 1"),
            (Numbers, """{"rows":["a,b,c"]}""", 400, "no input"),
            (Numbers, """{"rows":["a,b,c",[1,2,3]]}""", 400, "2 rows were sent and 1"),
            (Numbers, """{"rows":[{"a":1,"b":2}]}""", 400, "'c'"),
            (Numbers, """{"rows":[{"a":1,"b":2,"c":3,"d":4}]}""", 400, "'d'"),
            (Numbers, """{"rows":[true]}""", 400, "row 1"),
            (Numbers, $$"""{"rows":[{{string.Join(',', Enumerable.Repeat("[1,2,3]", 51))}}]}""", 413, "50"),
            (Numbers, new string('[', 5000), 400, "not valid JSON"),
            (Numbers, "", 400, "no body"),
            (Reviews, """{"texts":["good",""]}""", 400, "row 2 is empty"),
            (Reviews, """{"texts":["good"," \n "]}""", 400, "row 2 is empty"),
            (Reviews, """{"texts":["two\nlines","\u0001"]}""", 400, "row 2"),
            (Reviews, """{"texts":["\ud800"]}""", 400, "surrogate"),
            (Reviews, """{"t\ud800":[]}""", 400, "surrogate"),
            (Reviews, """{"texts":[1]}""", 400, "a number"),
            (Reviews, """{"rows":[[1,2,3]]}""", 400, "a list"),
            ("/v1/adapters/nobody/predict", Good, 404, "nobody"),
            ("/v1/adapters/..%2F..%2Fetc%2Fpasswd/predict", Good, 404, "adapter"),
            ("/v1/adapters/a%20b%0A/predict", Good, 404, "adapter"),
            ("/v1/nothing", Good, 404, "nothing at this address"),
            ("/v2/health/live", Good, 405, "method"),
            (Infer, "{}", 400, "`inputs`"),
            (Infer, """{"inputs":[1]}""", 400, "tensor"),
            (Infer, """{"id":1,"inputs":[]}""", 400, "`id`"),
            (Infer, """{"inputs":[{"name":"x","datatype":"FP16","shape":[1,3],"data":[1,2,3]}]}""", 400, "`datatype`"),
            (Infer, """{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3]}]}""", 400, "`shape`"),
            (Infer, """{"inputs":[{"name":"x","datatype":"FP32","shape":[0,3],"data":[]}]}""", 400, "`shape`"),
            (Infer, """{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,3],"data":[1,2,3]}]}""", 400, "`shape`"),
            (Infer, """{"inputs":[{"name":"x","datatype":"FP32","shape":[2147483647,2147483647,2147483647],"data":[1]}]}""", 400, "`shape`"),
            (Infer, """{"inputs":[{"name":"x","datatype":"INT64","shape":[1,3],"data":[1,2,3.5]}]}""", 400, "whole"),
            (Infer, """{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,"3"]}]}""", 400, "number"),
            (Infer, """{"inputs":[{"name":"x","datatype":"FP32","shape":[3],"data":[1,2,3]}]}""", 400, "dimensions"),
            (Infer, """{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}""", 400, "row 1"),
            (Infer, """{"inputs":[{"name":"x","shape":[1,2],"data":[1,2]}]}""", 400, "`datatype`"),
        ];
        foreach ((string path, string body, int status, string mention) in cases)
        {
            (await server.Post(path, body)).Refused(status, mention);
        }
        (await server.Post(Numbers, Good, "application/x-www-form-urlencoded")).Refused(415, "Content-Type");
        (await server.Post(Numbers, "1,2\n", "text/plain")).Refused(400, "line 1");
        (await server.Post(Numbers, "a,b,c\n1,2,3\n1,x,3\n", "text/csv")).Refused(400, "line 3", "'b'");
        (await server.Post(Numbers, "a,b\n1,2\n", "text/csv")).Refused(400, "'c'");
        (await server.Post(Numbers, "{\"a\":1}\n{\n", "application/jsonl")).Refused(400, "line 2");
        (await server.Post(Numbers, "PNG", "image/png")).Refused(400);
        using (var packed = new ByteArrayContent([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]))
        {
            packed.Headers.ContentType = new("text/plain");
            using HttpResponseMessage response = await server.Client.PostAsync(new Uri(Numbers, UriKind.Relative), packed, TestContext.Current.CancellationToken);
            Assert.Equal(415, (int)response.StatusCode);
        }
        Assert.Single((await server.Post(Numbers, Good)).Predictions);
        Assert.Single((await server.Post(Reviews, """{"texts":["good"]}""")).Predictions);
    }

    [Fact]
    public async Task A_bad_row_costs_nobody_else_an_answer()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both with { BatchDelay = TimeSpan.FromMilliseconds(100) });
        string expected = Assert.Single((await server.Post(Numbers, Good)).Predictions);
        Task<Answer>[] good = [.. Enumerable.Range(0, 4).Select(_ => server.Post(Numbers, Good))], bad = [.. Enumerable.Range(0, 3).Select(_ => server.Post(Numbers, """{"rows":[[1,2,1e999]]}"""))];
        Assert.All(await Task.WhenAll(good), answer => Assert.Equal(expected, Assert.Single(answer.Predictions)));
        Assert.All(await Task.WhenAll(bad), answer => answer.Refused(400, "row 1"));
    }

    [Fact]
    public async Task A_full_queue_refuses_and_says_when_to_come_again()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both with { Queue = 2, BatchDelay = TimeSpan.FromSeconds(5), BatchRows = 1000 });
        Task<Answer>[] waiting = [server.Post(Numbers, Good), server.Post(Numbers, Good)];
        await ServerUnderTest.Until(() => server.Host.Queue.Length == 2, "two requests wait");
        Answer refused = await server.Post(Numbers, Good);
        refused.Refused(429, "wait");
        Assert.Equal(TimeSpan.FromSeconds(1), refused.RetryAfter);
        Assert.All(await Task.WhenAll(waiting), answer => Assert.Single(answer.Predictions));
    }

    [Fact]
    public async Task A_cancelled_request_leaves_the_queue()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both with { BatchDelay = TimeSpan.FromSeconds(10), BatchRows = 1000 });
        using var cancel = new CancellationTokenSource();
        using var content = new StringContent(Good, Encoding.UTF8, "application/json");
        Task<HttpResponseMessage> given = server.Client.PostAsync(new Uri(Numbers, UriKind.Relative), content, cancel.Token);
        await ServerUnderTest.Until(() => server.Host.Queue.Length == 1, "the request waits");
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => given);
        await ServerUnderTest.Until(() => server.Host.Queue.Length == 0, "the request has left");
        Assert.Equal(0, server.Host.Queue.Turns);
    }

    [Fact]
    public async Task A_client_may_ask_so_often()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both with { Rate = 0.001 });
        Assert.Single((await server.Post(Numbers, Good)).Predictions);
        Answer refused = await server.Post(Numbers, Good);
        refused.Refused(429, "requests a second");
        Assert.True(refused.RetryAfter > TimeSpan.FromSeconds(1));
        Assert.Equal(200, (await server.Get("/v2/health/ready")).Status);
    }

    [Fact]
    public async Task A_slow_body_that_never_ends_disturbs_nobody()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both);
        using var slow = new TcpClient("127.0.0.1", server.Client.BaseAddress!.Port);
        slow.GetStream().Write(Encoding.ASCII.GetBytes($"POST {Numbers} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90000\r\n\r\n{{"));
        Assert.Single((await server.Post(Numbers, Good)).Predictions);
        using var huge = new TcpClient("127.0.0.1", server.Client.BaseAddress.Port);
        huge.GetStream().Write(Encoding.ASCII.GetBytes($"POST {Numbers} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"));
        using var reader = new StreamReader(huge.GetStream());
        Assert.StartsWith("HTTP/1.1 413", await reader.ReadLineAsync(TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Assert.Single((await server.Post(Numbers, Good)).Predictions);
    }

    [Fact]
    public async Task A_key_opens_its_adapter_and_no_other()
    {
        using var scratch = new Scratch();
        static string Hash(string key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)));
        string keys = scratch.Write("keys.txt", $"# who may ask what\nnumbers {Hash("n-key")}\n\n* {Hash("all-key")}  -\n");
        await using ServerUnderTest server = await ServerUnderTest.Start(Both with { KeysFile = keys });
        (await server.Post(Numbers, Good)).Refused(401, "API key");
        (await server.Post(Numbers, Good, key: "wrong")).Refused(401, "not known");
        Assert.Single((await server.Post(Numbers, Good, key: "n-key")).Predictions);
        Assert.Single((await server.Post(Numbers, Good, key: "all-key")).Predictions);
        (await server.Post(Reviews, """{"texts":["good"]}""", key: "n-key")).Refused(403, "not for this adapter");
        (await server.Post("/v1/adapters/nobody/predict", Good, key: "n-key")).Refused(403, "not for this adapter");
        (await server.Get("/metrics", "n-key")).Refused(403, "all adapters");
        Assert.Equal(200, (await server.Get("/metrics", "all-key")).Status);
        Assert.Equal("numbers", (string)Assert.Single((await server.Get("/v1/adapters", "n-key")).Json["adapters"]!.AsArray())!["name"]!);
        Assert.Equal(200, (await server.Get("/v2/health/ready")).Status);
    }

    [Theory]
    [InlineData("numbers", ":1")]
    [InlineData("numbers 12", ":1")]
    [InlineData("# only\n../x 0000000000000000000000000000000000000000000000000000000000000000", ":2")]
    [InlineData("# only\n", "holds no key")]
    public void A_file_of_keys_that_is_none_is_refused(string content, string mention)
    {
        using var scratch = new Scratch();
        Assert.Contains(mention, Assert.Throws<PermafrostException>(() => ApiKeys.Read(scratch.Write("keys.txt", content))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_verb_refuses_what_cannot_be_served()
    {
        using var scratch = new Scratch();
        InProcess.Run("serve").Refused(2, "--adapters");
        InProcess.Run("serve", "--adapters", scratch["none"]).Refused(2, "--adapters", scratch["none"]);
        InProcess.Run("serve", scratch["none"], "--port", "0").Failed(1, scratch["none"], "does not exist");
        InProcess.Run("serve", runs.Numbers, "--port", "70000").Refused(2, "--port");
        InProcess.Run("serve", runs.Numbers, "--host", "nowhere.example").Refused(2, "--host");
        InProcess.Run("serve", runs.Numbers, "--queue", "0").Refused(2, "--queue");
        InProcess.Run("serve", runs.Numbers, "--rate", "-1").Refused(2, "--rate");
        InProcess.Run("serve", runs.Numbers, "--keys", scratch["keys"], "--port", "0").Failed(1, "keys");
        InProcess.Run("serve", runs.Numbers, runs.Numbers, "--port", "0").Failed(2, "two runs", "NAME=");
        InProcess.Run("serve", $"a={runs.Numbers}", runs.Stranger, "--port", "0").Failed(1, "another body");
    }

    [Fact]
    public async Task A_thousand_random_requests_and_no_server_error()
    {
        await using ServerUnderTest server = await ServerUnderTest.Start(Both with { BatchDelay = TimeSpan.Zero });
        var random = new Random(19);
        string[] paths = [Numbers, Reviews, Infer, "/v2/models/reviews/infer", "/v1/adapters/nobody/predict", "/v1/adapters", "/v2/models/numbers", "/metrics"];
        string[] types = ["application/json", "application/json", "application/json", "text/plain", "text/csv", "application/jsonl", "image/png", "application/octet-stream", "a/b"];
        string[] seeds =
        [
            Good, """{"texts":["the film zzz","qqq"]}""", "a,b,c\n1,2,3\n4,5,6\n", "review,x\n\"a \"\"b\"\"\",1\n", "1,2,3\n4,5,6", "{\"a\":1,\"b\":2,\"c\":3}\n[1,2,3]\n",
            """{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}""", """{"inputs":[{"name":"x","datatype":"BYTES","shape":[2],"data":["a","b"]}]}""",
        ];
        string[] parts = ["\"", "{", "}", "[", "]", ",", ":", "null", "1e999", "-0", "\\ud800", "\0", "\n", "\r", "\uFEFF", "é", "🙂", "NaN", "9999999999999999999", "\"rows\"", " ", "\t", ";"];
        var statuses = new Dictionary<int, int>();
        for (int i = 0; i < 1000; i++)
        {
            var body = new StringBuilder(seeds[random.Next(seeds.Length)]);
            for (int change = random.Next(4); change > 0 && body.Length > 0; change--)
            {
                int at = random.Next(body.Length);
                if (random.Next(2) == 0) body.Insert(at, parts[random.Next(parts.Length)]);
                else body.Remove(at, Math.Min(random.Next(1, 6), body.Length - at));
            }
            string path = paths[random.Next(paths.Length)];
            Answer answer = await server.Post(path, body.ToString(), types[random.Next(types.Length)]);
            Assert.True(answer.Status is >= 200 and < 500, $"{answer.Status} {path}: {body}\n{answer.Body}");
            // Whatever it is, it is JSON; a refusal is a sentence.
            JsonNode json = JsonNode.Parse(answer.Body)!;
            if (answer.Status != 200) Assert.False(string.IsNullOrWhiteSpace((string?)json["error"]));
            statuses[answer.Status] = statuses.GetValueOrDefault(answer.Status) + 1;
        }
        Assert.True(statuses.GetValueOrDefault(200) > 50 && statuses.GetValueOrDefault(400) > 50, JsonSerializer.Serialize(statuses));
        Assert.Single((await server.Post(Numbers, Good)).Predictions);
    }
}
