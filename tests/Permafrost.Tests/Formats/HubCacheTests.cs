using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Formats;

/// <summary>Hugging Face's cache: found through environment variables, which are the whole process's.</summary>
[Collection(ProcessWide.Name)]
public class HubCacheTests : IDisposable
{
    private static readonly string[] Variables = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "PERMAFROST_TESTS_PLACE"];

    private readonly TemporaryFolder folder = new();
    private readonly string?[] before = [.. Variables.Select(Environment.GetEnvironmentVariable)];

    public HubCacheTests()
    {
        foreach (string name in Variables) Environment.SetEnvironmentVariable(name, null);
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", folder.Path);
    }

    public void Dispose()
    {
        for (int i = 0; i < Variables.Length; i++) Environment.SetEnvironmentVariable(Variables[i], before[i]);
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void The_folder_follows_the_variables_in_Hugging_Faces_order()
    {
        Assert.Equal(folder.Path, HubCache.Folder);
        Environment.SetEnvironmentVariable("HF_HOME", folder["home"]);
        Assert.Equal(folder.Path, HubCache.Folder);
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", null);
        Assert.Equal(folder["home", "hub"], HubCache.Folder);
        Environment.SetEnvironmentVariable("HF_HOME", "");
        Assert.EndsWith(Path.Combine(".cache", "huggingface", "hub"), HubCache.Folder, StringComparison.Ordinal);
    }

    [Fact]
    public void Older_names_homes_and_variables_count_as_for_Hugging_Faces_client()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        Environment.SetEnvironmentVariable("HUGGINGFACE_HUB_CACHE", "/older");
        Assert.Equal(folder.Path, HubCache.Folder);
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", null);
        Assert.Equal("/older", HubCache.Folder);
        Environment.SetEnvironmentVariable("HUGGINGFACE_HUB_CACHE", "~/models");
        Assert.Equal(home + "/models", HubCache.Folder);
        Environment.SetEnvironmentVariable("PERMAFROST_TESTS_PLACE", "/here");
        foreach (string given in new[] { "$PERMAFROST_TESTS_PLACE/hub", "${PERMAFROST_TESTS_PLACE}/hub" })
        {
            Environment.SetEnvironmentVariable("HUGGINGFACE_HUB_CACHE", given);
            Assert.Equal("/here/hub", HubCache.Folder);
        }
        Environment.SetEnvironmentVariable("HUGGINGFACE_HUB_CACHE", "/a/$PERMAFROST_TESTS_HAVE_NO_SUCH/b");
        Assert.Equal("/a/$PERMAFROST_TESTS_HAVE_NO_SUCH/b", HubCache.Folder);
        Environment.SetEnvironmentVariable("HUGGINGFACE_HUB_CACHE", null);
        Environment.SetEnvironmentVariable("XDG_CACHE_HOME", "/caches");
        Assert.Equal("/caches/huggingface/hub", HubCache.Folder);
        Environment.SetEnvironmentVariable("HF_HOME", "~");
        Assert.Equal(Path.Combine(home, "hub"), HubCache.Folder);
    }

    [Fact]
    public void A_users_name_stands_for_that_users_home_as_in_Python()
    {
        string[] lines = File.Exists("/etc/passwd") ? File.ReadAllLines("/etc/passwd") : [];
        string[][] users = [.. lines.Select(line => line.Split(':')).Where(user => user.Length > 6 && user[5].Length > 1)];
        Assert.SkipUnless(users.Length > 0, "this machine has no /etc/passwd");
        Assert.Equal(users[0][5], Expanded($"~{users[0][0]}"));
        Assert.Equal(users[^1][5].TrimEnd('/') + "/models/$", Expanded($"~{users[^1][0]}/models/$"));
        foreach (string unknown in new[] { "~nobody-of-that-name/hub", "~nobody-of-that-name", "/a/~root", $"~{users[0][0]}x/hub" }) Assert.Equal(unknown, Expanded(unknown));
        Assert.Equal(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) + "/", Expanded("~/"));

        static string Expanded(string value)
        {
            Environment.SetEnvironmentVariable("HF_HUB_CACHE", value);
            return HubCache.Folder;
        }
    }

    [Fact]
    public void A_model_is_found_through_its_reference()
    {
        string snapshot = Add("models--org--name", "0123abc\n", "0123abc");
        Assert.Equal(snapshot, HubCache.Find("org/name"));
        Assert.Equal(snapshot, HubCache.Find("org/name", "0123abc"));  // a commit itself
        Assert.Null(HubCache.Find("org/name", "v2"));
        Assert.Null(HubCache.Find("name"));
        Assert.Null(HubCache.Find("org/other"));
    }

    [Fact]
    public void Revisions_with_slashes_are_found_and_none_reaches_elsewhere()
    {
        string snapshot = Add("models--org--name", "0123abc", "0123abc");
        folder.Write(Path.Combine("models--org--name", "refs", "refs", "pr", "1"), "0123abc");
        Assert.Equal(snapshot, HubCache.Find("org/name", "refs/pr/1"));
        folder.Write(Path.Combine("models--org--name", "refs", "evil"), "../../../elsewhere");
        folder.Write(Path.Combine("elsewhere", "config.json"), "{}");
        foreach (string revision in new[] { "evil", "../../../elsewhere", "..", "", "/", "refs/../main", "a b" }) Assert.Null(HubCache.Find("org/name", revision));
    }

    [Fact]
    public void Links_to_blobs_are_followed_and_one_that_leads_nowhere_is_no_snapshot()
    {
        string snapshot = Add("models--org--name", "0123abc", "0123abc"), config = Path.Combine(snapshot, "config.json"), blob = folder["models--org--name", "blobs", "f00d"];
        Directory.CreateDirectory(Path.GetDirectoryName(blob)!);
        File.Move(config, blob);
        File.CreateSymbolicLink(config, Path.Combine("..", "..", "blobs", "f00d"));
        Assert.Equal(5, BackboneSource.Resolve("org/name").Config.Int("n_layer", 12));
        File.Delete(blob);
        Assert.Null(HubCache.Find("org/name"));
    }

    [Fact]
    public void A_snapshot_without_a_config_is_not_one()
    {
        string snapshot = Add("models--org--name", "0123abc", "0123abc");
        File.Delete(Path.Combine(snapshot, "config.json"));
        Assert.Null(HubCache.Find("org/name"));
    }

    [Fact]
    public void A_reference_without_end_is_none()
    {
        Add("models--org--name", new string('a', 65), "0123abc");
        Assert.Null(HubCache.Find("org/name"));
        Assert.SkipUnless(File.Exists("/dev/zero"), "this system has no /dev/zero");
        string reference = folder["models--org--name", "refs", "main"];
        File.Delete(reference);
        File.CreateSymbolicLink(reference, "/dev/zero");
        Assert.Null(HubCache.Find("org/name"));
    }

    [Fact]
    public void A_snapshot_that_lacks_its_weights_says_how_to_get_them()
    {
        const string Hint = "; `permafrost data fetch org/name` fetches it";
        string snapshot = Add("models--org--name", "0123abc", "0123abc");
        string Refused() => Refusal.Of(snapshot, () => FrozenWeights.Load("org/name").CreateBackbone());
        Assert.EndsWith(Hint, Refused(), StringComparison.Ordinal);
        // To .NET a link is there even where what it leads to is not.
        foreach (string name in new[] { "pytorch_model.bin", "model.safetensors" })
        {
            File.CreateSymbolicLink(Path.Combine(snapshot, name), Path.Combine("..", "..", "blobs", "f00d"));
            Assert.EndsWith($"{name} does not exist{Hint}", Refused(), StringComparison.Ordinal);
        }
        File.CreateSymbolicLink(Path.Combine(snapshot, "vocab.txt"), Path.Combine("..", "..", "blobs", "beef"));
        Assert.EndsWith($"vocab.txt does not exist{Hint}", Refusal.Of(snapshot, () => TokenizerFiles.Find(snapshot)), StringComparison.Ordinal);
        Assert.DoesNotContain("fetch", Refusal.Of("elsewhere", () => HfConfig.Load(folder["elsewhere"])), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gpt2", true)]
    [InlineData("gpt2:1", true)]
    [InlineData("t5-small", true)]
    [InlineData("gpt2-tiny", false)]
    [InlineData("bert-base", false)]
    public void A_preset_of_a_model_on_the_hub_says_how_to_get_it(string reference, bool isThere)
    {
        string message = Refusal.OfUsage("is a preset without weights", () => FrozenWeights.Load(reference));
        Assert.Equal(isThere, message.EndsWith($"; `permafrost data fetch {reference.Split(':')[0]}` fetches it from Hugging Face, where it is there", StringComparison.Ordinal));
        Assert.Equal(isThere, Refusal.OfUsage("no weights and no tokenizer", () => TextGenerator.Load(BackboneSource.Resolve(reference))).EndsWith("where it is there", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("")]
    [InlineData("/")]
    [InlineData("a/b/c")]
    [InlineData("../secret")]
    [InlineData("org/..")]
    public void Names_that_reach_elsewhere_are_not_looked_for(string name) => Assert.Null(HubCache.Find(name));

    [Fact]
    public void A_cached_model_goes_before_the_preset_of_the_same_name()
    {
        Assert.Null(BackboneSource.Resolve("gpt2").Folder);
        string snapshot = Add("models--gpt2", "c0ffee", "c0ffee");
        BackboneSource source = BackboneSource.Resolve("gpt2");
        Assert.Equal(snapshot, source.Folder);
        Assert.Equal(5, source.Config.Int("n_layer", 12));
    }

    [Fact]
    public void An_unknown_backbone_is_refused_with_the_presets_and_the_cache()
    {
        string message = Refusal.Of("'org/unknown'", () => BackboneSource.Resolve("org/unknown"));
        Assert.Contains("gpt2-tiny", message, StringComparison.Ordinal);
        Assert.Contains(folder.Path, message, StringComparison.Ordinal);
    }

    private string Add(string repository, string reference, string commit)
    {
        folder.Write(Path.Combine(repository, "refs", "main"), reference);
        return Path.GetDirectoryName(folder.Write(Path.Combine(repository, "snapshots", commit, "config.json"), """{"model_type": "gpt2", "n_layer": 5}"""))!;
    }
}
