using Permafrost.Formats.Hub;

namespace Permafrost.Tests.Formats.Hub;

/// <summary>The variables of Hugging Face's client, which are the whole process's.</summary>
[Collection(ProcessWide.Name)]
public class HubSettingsTests : IDisposable
{
    private static readonly string[] Variables =
        ["HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DOWNLOAD_TIMEOUT"];

    private readonly TemporaryFolder folder = new();
    private readonly string?[] before = [.. Variables.Select(Environment.GetEnvironmentVariable)];

    public HubSettingsTests()
    {
        foreach (string name in Variables) Environment.SetEnvironmentVariable(name, null);
        Environment.SetEnvironmentVariable("HF_HOME", folder.Path);
    }

    public void Dispose()
    {
        for (int i = 0; i < Variables.Length; i++) Environment.SetEnvironmentVariable(Variables[i], before[i]);
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Without_variables_it_is_the_public_server_without_a_token()
    {
        HubSettings settings = HubSettings.FromEnvironment();
        Assert.Equal(("https://huggingface.co", null, false), (settings.Endpoint, settings.Token, settings.Offline));
    }

    [Fact]
    public void The_token_comes_from_the_variable_or_else_from_the_file()
    {
        folder.Write("token", "hf_file\n");
        Assert.Equal("hf_file", HubSettings.FromEnvironment().Token);
        Environment.SetEnvironmentVariable("HF_TOKEN_PATH", folder.Write("elsewhere", " hf_elsewhere\r\n"));
        Assert.Equal("hf_elsewhere", HubSettings.FromEnvironment().Token);
        Environment.SetEnvironmentVariable("HUGGING_FACE_HUB_TOKEN", "hf_older");
        Assert.Equal("hf_older", HubSettings.FromEnvironment().Token);
        Environment.SetEnvironmentVariable("HF_TOKEN", " hf_variable\n");
        Assert.Equal("hf_variable", HubSettings.FromEnvironment().Token);
        Environment.SetEnvironmentVariable("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
        Assert.Null(HubSettings.FromEnvironment().Token);
    }

    [Theory]
    [InlineData("1", true)]
    [InlineData("true", true)]
    [InlineData("Yes", true)]
    [InlineData("ON", true)]
    [InlineData("0", false)]
    [InlineData("", false)]
    [InlineData("2", false)]
    public void Offline_is_what_Pythons_client_takes_for_true(string value, bool offline)
    {
        foreach (string name in new[] { "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE" })
        {
            Environment.SetEnvironmentVariable(name, value);
            Assert.Equal(offline, HubSettings.FromEnvironment().Offline);
            Environment.SetEnvironmentVariable(name, null);
        }
    }

    [Fact]
    public void Other_servers_and_patience_are_taken_and_nonsense_is_refused()
    {
        Environment.SetEnvironmentVariable("HF_ENDPOINT", "https://mirror.example/hub/");
        Environment.SetEnvironmentVariable("HF_HUB_DOWNLOAD_TIMEOUT", "2.5");
        HubSettings settings = HubSettings.FromEnvironment();
        Assert.Equal(("https://mirror.example/hub", TimeSpan.FromSeconds(2.5)), (settings.Endpoint, settings.Patience.Silence));
        foreach ((string name, string value) in new[] { ("HF_ENDPOINT", "mirror"), ("HF_ENDPOINT", "file:///tmp"), ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"), ("HF_HUB_DOWNLOAD_TIMEOUT", "-1"), ("HF_TOKEN", "two words"), ("HF_TOKEN", "hf_é") })
        {
            Environment.SetEnvironmentVariable(name, value);
            Refusal.OfUsage(name, () => HubSettings.FromEnvironment());
            Environment.SetEnvironmentVariable(name, null);
        }
    }
}
