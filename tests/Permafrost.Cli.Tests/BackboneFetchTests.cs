using System.Text.Json.Nodes;
using Permafrost.Models;

namespace Permafrost.Cli.Tests;

/// <summary>`data fetch REF`: a backbone from a server like Hugging Face's, and what the other verbs see of it then.</summary>
public sealed class BackboneFetchTests : IDisposable
{
    private readonly Scratch scratch = new();
    private readonly HubServer server = new();
    private readonly Dictionary<string, byte[]> files;

    public BackboneFetchTests()
    {
        string body = SmallBert.Write(scratch["body"]);
        using (FrozenWeights weights = FrozenWeights.Load(body, "random"))
        using (Backbone backbone = weights.CreateBackbone()) BackboneFolder.Save(backbone, weights, scratch["saved"]);
        files = Directory.GetFiles(scratch["saved"]).Append(Path.Combine(body, "vocab.txt")).ToDictionary(path => Path.GetFileName(path), File.ReadAllBytes);
    }

    private CliSettings Settings => new()
    {
        Environment = new Dictionary<string, string?> { ["HF_HUB_CACHE"] = null, ["HF_HOME"] = scratch["hf"], ["HF_ENDPOINT"] = server.Address, ["PERMAFROST_HOME"] = scratch["home"] },
    };

    public void Dispose()
    {
        server.Dispose();
        scratch.Dispose();
    }

    [Fact]
    public void A_fetched_backbone_is_where_every_verb_looks()
    {
        string commit = server.Add("org/small-bert", files);
        Directory.CreateDirectory(scratch["hf"]);
        scratch.Write("hf/token", "hf_secret\n");
        CliResult fetched = Cli.Run(Settings, "data", "fetch", "org/small-bert").Succeeded();
        string snapshot = scratch["hf", "hub", "models--org--small-bert", "snapshots", commit];
        Assert.Equal([snapshot], fetched.Lines);
        Assert.Contains("fetching model.safetensors", fetched.Error, StringComparison.Ordinal);
        Assert.All(server.Requests, request => Assert.Equal(!request.OfContentHost, request.Headers.GetValueOrDefault("authorization") == "Bearer hf_secret"));

        Assert.Equal([snapshot], Cli.Run(Settings, "data", "where", "org/small-bert").Succeeded().Lines);
        JsonObject verified = Cli.Run(Settings, "data", "verify", "org/small-bert", "--json").Succeeded().Json;
        Assert.Equal(["config.json", "model.safetensors", "vocab.txt"], verified["files"]!.AsObject().Select(file => file.Key));
        Assert.Contains("org/small-bert", Cli.Run(Settings, "ls", "backbones", "--json").Succeeded().Output, StringComparison.Ordinal);
        Assert.Equal(snapshot, (string?)Cli.Run(Settings, "show", "backbone", "org/small-bert", "--json").Succeeded().Json["folder"]);

        string blob = scratch["hf", "hub", "models--org--small-bert", "blobs", HubServer.Etag(files["model.safetensors"])];
        byte[] damaged = [.. files["model.safetensors"]];
        damaged[^1] ^= 1;
        File.WriteAllBytes(blob, damaged);
        Cli.Run(Settings, "data", "verify", "org/small-bert").Failed(1, snapshot, "permafrost data fetch org/small-bert");
        Cli.Run(Settings, "data", "fetch", "org/small-bert").Succeeded();
        Cli.Run(Settings, "data", "verify", "org/small-bert").Succeeded();
    }

    [Fact]
    public void Revisions_are_fetched_and_found_by_name()
    {
        server.Add("org/small-bert", files);
        string other = server.Add("org/small-bert", new Dictionary<string, byte[]>(files) { ["merges.txt"] = [1] }, "v2");
        string folder = Assert.Single(Cli.Run(Settings, "data", "fetch", "org/small-bert", "--revision", "v2").Succeeded().Lines);
        Assert.EndsWith(other, folder, StringComparison.Ordinal);
        Assert.Equal([folder], Cli.Run(Settings, "data", "where", "org/small-bert", "--revision", "v2").Succeeded().Lines);
        Cli.Run(Settings, "data", "where", "org/small-bert").Refused(2, "org/small-bert");
        foreach (string verb in new[] { "where", "verify" })
        {
            Cli.Run(Settings, "data", verb, "org/small-bert", "--revision", "v3").Refused(2, "`permafrost data fetch org/small-bert --revision v3` looks at Hugging Face");
            Cli.Run(Settings, "data", verb, "org/small-bert", "--revision", "../x").Refused(2, "--revision '../x' cannot be a branch, a tag or a commit");
            CliResult path = Cli.Run(Settings, "data", verb, "./org/small-bert");
            path.Refused(2, "./org/small-bert");
            Assert.DoesNotContain("data fetch", path.Error, StringComparison.Ordinal);
        }
        Cli.Run(Settings, "data", "fetch", "org/small-bert", "--revision", "v3").Refused(1, "v3");
        Cli.Run(Settings, "data", "fetch", "org/small-bert", "--revision", "../x").Refused(2, "--revision");
    }

    [Fact]
    public void Processes_that_fetch_at_once_wait_for_each_other()
    {
        files["tokenizer.json"] = new byte[4 << 20];
        server.Add("org/small-bert", files);
        // Long enough for all of them to be there.
        server.Spoil = (request, _, reply) => request.OfContentHost && request.File == "tokenizer.json" ? reply with { CutAt = 1 << 20, Silence = TimeSpan.FromSeconds(1) } : reply;
        CliProcess[] processes = [.. Enumerable.Range(0, 3).Select(_ => Cli.Start(Settings, "data", "fetch", "org/small-bert"))];
        CliResult[] results = [.. processes.Select(process => process.WaitForExit(CliSettings.Patience).Succeeded())];
        Assert.Single(results.SelectMany(result => result.Lines).Distinct());
        Assert.Single(server.Gets("model.safetensors"));
        // Each cut goes on where the one before stopped, whoever asks.
        Assert.Equal([null, 1L << 20, 2L << 20, 3L << 20], server.Gets("tokenizer.json").Select(get => get.From));
        Cli.Run(Settings, "data", "verify", "org/small-bert").Succeeded();
    }

    [Theory]
    [InlineData(9)]
    [InlineData(Cli.Interrupt)]
    public void A_fetch_that_was_ended_leaves_nothing_that_is_used_and_goes_on_later(int signal)
    {
        files["tokenizer.json"] = new byte[4 << 20];
        server.Add("org/small-bert", files);
        server.Spoil = (request, count, reply) => request.OfContentHost && request.File == "tokenizer.json" && count == 0 ? reply with { CutAt = 2 << 20, Silence = TimeSpan.FromMinutes(1) } : reply;
        string partial = scratch["hf", "hub", "models--org--small-bert", "blobs", HubServer.Etag(files["tokenizer.json"]) + ".incomplete"];
        using (CliProcess process = Cli.Start(Settings, "data", "fetch", "org/small-bert"))
        {
            process.WaitFor(() => File.Exists(partial) && new FileInfo(partial).Length == 2 << 20, "had half of it");
            process.Signal(signal);
            CliResult ended = process.WaitForExit(CliSettings.Patience);
            if (signal == Cli.Interrupt) Assert.Equal(130, ended.ExitCode);
        }
        Cli.Run(Settings, "data", "where", "org/small-bert").Refused(2, "org/small-bert");
        Cli.Run(Settings, "data", "fetch", "org/small-bert").Succeeded();
        Assert.Equal([null, 2L << 20], server.Gets("tokenizer.json").Select(get => get.From));
        Cli.Run(Settings, "data", "verify", "org/small-bert").Succeeded();
    }

    [Fact]
    public void What_cannot_be_fetched_is_said()
    {
        Cli.Run(Settings, "data", "fetch", "minst").Refused(1, "minst", server.Address);
        Cli.Run(Settings, "data", "fetch", "a/b/c").Refused(2, "a/b/c");
        Cli.Run(Settings, "data", "fetch", "org/small-bert", "--from", "http://127.0.0.1:1").Refused(2, "--from", "HF_ENDPOINT");
        Cli.Run(Settings, "data", "fetch", "mnist", "--revision", "v2").Refused(2, "--revision", "mnist");
        Cli.Run(Settings, "data", "verify", "org/small-bert", "--data", scratch.Path).Refused(2, "--data");
        CliSettings offline = Settings with { Environment = new Dictionary<string, string?>(Settings.Environment!) { ["HF_HUB_OFFLINE"] = "1" } };
        Cli.Run(offline, "data", "fetch", "org/small-bert").Refused(1, "HF_HUB_OFFLINE");
        Assert.Single(server.Requests);
        CliSettings wrong = Settings with { Environment = new Dictionary<string, string?>(Settings.Environment!) { ["HF_ENDPOINT"] = "nowhere" } };
        Cli.Run(wrong, "data", "fetch", "org/small-bert").Refused(2, "HF_ENDPOINT");
        Cli.Run(Settings, "show", "backbone", "org/small-bert").Refused(1, "permafrost data fetch org/small-bert");
    }
}
