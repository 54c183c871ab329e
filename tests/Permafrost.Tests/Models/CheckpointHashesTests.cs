using Permafrost.Models;

namespace Permafrost.Tests.Models;

/// <summary>A large checkpoint's hash is computed once, and again when a file of it changes.</summary>
[Collection(ProcessWide.Name)]
public class CheckpointHashesTests : IDisposable
{
    // 36 MB, nearly all of it in the token table.
    private static readonly string Json = TinyGpt2.Json(width: 64, vocabulary: 140_000);

    private readonly TemporaryFolder folder = new();
    private readonly string? home = Environment.GetEnvironmentVariable("PERMAFROST_HOME");
    private readonly string body;

    public CheckpointHashesTests()
    {
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", folder["home"]);
        body = TinyGpt2.Save(folder, Json);
    }

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", home);
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    private string Weights => Path.Combine(body, "model.safetensors");

    private string Sha256
    {
        get
        {
            using FrozenWeights weights = FrozenWeights.Load(body);
            return weights.Sha256;
        }
    }

    [Fact]
    public void It_is_remembered_for_as_long_as_length_and_time_stay()
    {
        Age(60);
        string first = Sha256;
        string remembered = Assert.Single(Directory.GetFiles(folder["home", "hashes"]));
        Assert.Equal(first, Sha256);
        // That it is not computed again is seen by what is remembered instead.
        string text = File.ReadAllText(remembered), hash = text[(text.IndexOf("\"wte.weight\":\"", StringComparison.Ordinal) + 14)..][..64];
        File.WriteAllText(remembered, text.Replace(hash, new string('0', 64), StringComparison.Ordinal));
        Assert.NotEqual(first, Sha256);
        // A time that differs is enough to look again.
        Age(50);
        Assert.Equal(first, Sha256);
        Assert.Equal(first, Sha256);
        using (FileStream stream = File.OpenWrite(Weights))
        {
            stream.Position = stream.Length - 4;
            stream.Write([1, 2, 3, 4]);
        }
        Assert.NotEqual(first, Sha256);
    }

    [Fact]
    public void A_body_is_known_by_it_too_and_a_damaged_note_is_of_no_harm()
    {
        Age(60);
        using (FrozenWeights weights = FrozenWeights.Load(body))
        using (Backbone backbone = weights.CreateBackbone()) Assert.True(File.Exists(Directory.GetFiles(folder["home", "hashes"]).Single()));
        string first = Sha256, note = Directory.GetFiles(folder["home", "hashes"]).Single();
        foreach (string damaged in new[] { "", "{", "[]", """{"Key": null}""", """{"Key": "x", "Hashes": {"wte.weight": "zz"}}""" })
        {
            File.WriteAllText(note, damaged);
            Assert.Equal(first, Sha256);
        }
        // Another configuration asks for other shapes, whatever is remembered.
        folder.Write(Path.Combine("body", "config.json"), TinyGpt2.Json(width: 64, vocabulary: 120_000));
        Refusal.Of("'wte.weight' has the shape", () => _ = Sha256);
        using FrozenWeights shuffled = FrozenWeights.Load(TinyGpt2.Configure(folder, Json), "shuffled");
        Assert.NotEqual(first, shuffled.Sha256);
    }

    [Fact]
    public void New_files_and_small_ones_are_hashed_each_time()
    {
        Assert.Equal(Sha256, Sha256);
        Assert.False(Directory.Exists(folder["home", "hashes"]));
        TinyGpt2.Save(folder, TinyGpt2.Json());
        Age(60);
        Assert.Equal(Sha256, Sha256);
        Assert.False(Directory.Exists(folder["home", "hashes"]));
    }

    [Fact]
    public void Where_nothing_can_be_written_it_is_computed()
    {
        Age(60);
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", Path.Combine(folder.Write("file", "x"), "home"));
        Assert.Equal(Sha256, Sha256);
    }

    private void Age(int seconds) => File.SetLastWriteTimeUtc(Weights, DateTime.UtcNow.AddSeconds(-seconds));
}
