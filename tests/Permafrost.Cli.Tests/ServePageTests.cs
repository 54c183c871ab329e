using Microsoft.Playwright;
using Permafrost.Server;

namespace Permafrost.Cli.Tests;

/// <summary>The server's page in Debian's chromium.</summary>
public sealed class ServePageTests(ServedRuns runs) : IClassFixture<ServedRuns>
{
    private const string Chromium = "/usr/bin/chromium";

    [Theory]
    [InlineData(390, ColorScheme.Light)]
    [InlineData(1440, ColorScheme.Dark)]
    public async Task Adapters_are_shown_and_can_be_tried(int width, ColorScheme colours)
    {
        Assert.SkipUnless(File.Exists(Chromium), $"needs a browser: {Chromium} is not there (apt-get install chromium)");
        using var scratch = new Scratch();
        string folder = Directory.CreateDirectory(scratch["adapters"]).FullName;
        ServedRuns.Copy(runs.Stranger, Path.Combine(folder, "stranger"));
        await using ServerUnderTest server = await ServerUnderTest.Start(new ServerOptions { Runs = [runs.Reviews, runs.Numbers], AdaptersFolder = folder });
        using IPlaywright playwright = await Playwright.CreateAsync();
        await using IBrowser browser = await ReportPageTests.Launch(playwright);
        IPage tab = await browser.NewPageAsync(new() { ViewportSize = new() { Width = width, Height = 900 }, ColorScheme = colours });
        tab.SetDefaultTimeout((float)CliSettings.Patience.TotalMilliseconds);
        var complaints = new List<string>();
        tab.Console += (_, message) => { if (message.Type is "error" or "warning" && !message.Text.Contains("400", StringComparison.Ordinal)) complaints.Add(message.Text); };
        tab.PageError += (_, error) => complaints.Add(error);
        tab.Request += (_, request) => { if (!request.Url.StartsWith(server.Client.BaseAddress!.ToString(), StringComparison.Ordinal) && !request.Url.StartsWith("data:", StringComparison.Ordinal)) complaints.Add(request.Url); };
        await tab.GotoAsync(server.Client.BaseAddress!.ToString());

        ILocator reviews = tab.GetByRole(AriaRole.Region, new() { Name = "reviews" });
        await reviews.GetByLabel("Texts, one a line").FillAsync("the film zzz, it says\nqqq");
        await reviews.GetByRole(AriaRole.Button).ClickAsync();
        await reviews.Locator(".answer li").Nth(1).WaitForAsync();
        string[] expected = [.. (await server.Post("/v1/adapters/reviews/predict", "the film zzz, it says\nqqq", "text/plain")).Json["predictions"]!.AsArray().Select(one => (string)one!["label"]!)];
        Assert.Equal(expected, await reviews.Locator(".answer b").AllInnerTextsAsync());

        // What the server says of a bad row is shown where it was typed.
        ILocator numbers = tab.GetByRole(AriaRole.Region, new() { Name = "numbers" });
        await numbers.GetByLabel("Rows of 3 numbers").FillAsync("1,2");
        await numbers.GetByRole(AriaRole.Button).ClickAsync();
        await numbers.Locator(".answer.error").WaitForAsync();
        Assert.Contains("line 1", await numbers.Locator(".answer").InnerTextAsync(), StringComparison.Ordinal);
        Assert.Contains("accuracy, test", await numbers.InnerTextAsync(), StringComparison.Ordinal);
        Assert.Contains("another body", await tab.Locator("#refused").InnerTextAsync(), StringComparison.Ordinal);

        Assert.True(await tab.EvaluateAsync<bool>("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen");
        Assert.Equal(colours == ColorScheme.Dark ? "rgb(14, 18, 23)" : "rgb(244, 247, 249)", await tab.EvaluateAsync<string>("getComputedStyle(document.body).backgroundColor"));
        Assert.Empty(complaints);
    }
}
