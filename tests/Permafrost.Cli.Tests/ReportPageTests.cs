using Microsoft.Playwright;
using Permafrost.Cli.Figures;
using Permafrost.Studies;


namespace Permafrost.Cli.Tests;

/// <summary>The report in Debian's chromium: what a reader does with it, with an eye on the console and on requests.</summary>
public sealed class ReportPageTests : IDisposable
{
    private const string Chromium = "/usr/bin/chromium";
    private const string NoUPlot = "this build has no uPlot, since npm was not there: its pages hold figures, which another test looks at";
    private readonly SampleRun samples = new();

    public void Dispose() => samples.Dispose();

    [Fact]
    public async Task Page_can_be_read_hovered_switched_and_shrunk_without_an_error_or_a_request()
    {
        Assert.SkipUnless(File.Exists(Chromium), $"needs a browser: {Chromium} is not there (apt-get install chromium)");
        Assert.SkipUnless(RunReport.HasCharts, NoUPlot);
        const string Evil = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";
        string page = samples.At("report.html");
        InProcess.Run("report", samples.Add("a", command: Evil), samples.Add("b", seed: 1), samples.Add("c" + Evil.Replace('/', '|'), task: "listops", accuracy: null), "--output", page).Succeeded();

        using IPlaywright playwright = await Playwright.CreateAsync();
        await using IBrowser browser = await Launch(playwright);
        IPage tab = await browser.NewPageAsync(new() { ViewportSize = new() { Width = 1280, Height = 900 }, ColorScheme = ColorScheme.Light });
        List<string> complaints = Listen(tab, page);
        tab.SetDefaultTimeout((float)CliSettings.Patience.TotalMilliseconds);
        await tab.GotoAsync(new Uri(page).AbsoluteUri);
        Assert.Equal("3 runs on 2 tasks · Permafrost", await tab.TitleAsync());
        Assert.Equal(4, await tab.Locator(".chart canvas").CountAsync());
        Assert.Equal(Evil, (await tab.Locator(".command pre").First.TextContentAsync())!);

        // Hover: the readout follows.
        ILocator plot = tab.Locator(".chart .u-over").First, readout = tab.Locator(".chart .readout").First;
        await plot.ScrollIntoViewIfNeededAsync();
        await plot.HoverAsync(new() { Position = new() { X = 60, Y = 60 } });
        string left = await readout.InnerTextAsync();
        await plot.HoverAsync(new() { Position = new() { X = 300, Y = 60 } });
        string right = await readout.InnerTextAsync();
        Assert.Matches(@"Step \d+", left);
        Assert.Contains("bit-xor · seed 1", left);
        Assert.NotEqual(left, right);

        // A hidden run leaves the readout and comes back.
        ILocator key = tab.Locator(".key").Nth(1);
        await key.ClickAsync();
        await plot.HoverAsync(new() { Position = new() { X = 120, Y = 60 } });
        Assert.DoesNotContain("bit-xor · seed 1", await readout.InnerTextAsync());
        await key.ClickAsync();

        // One task alone, then all again.
        await tab.GetByRole(AriaRole.Button, new() { Name = "listops", Exact = true }).ClickAsync();
        Assert.Equal(["false", "false", "true"], await tab.Locator(".key").EvaluateAllAsync<string[]>("keys => keys.map(key => key.getAttribute('aria-pressed'))"));
        await tab.GetByRole(AriaRole.Button, new() { Name = "All tasks" }).ClickAsync();
        Assert.Equal(["true", "true", "true"], await tab.Locator(".key").EvaluateAllAsync<string[]>("keys => keys.map(key => key.getAttribute('aria-pressed'))"));

        // Logarithmic scale, smoothing and dark colours each change the picture.
        var pictures = new HashSet<string>();
        async Task Look() => Assert.True(pictures.Add(Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(await tab.Locator(".chart").First.ScreenshotAsync()))));
        await tab.Mouse.MoveAsync(0, 0);
        await Look();
        await tab.GetByRole(AriaRole.Button, new() { Name = "Log", Exact = true }).ClickAsync();
        await Look();
        await tab.Locator("#smoothing").FillAsync("0.95");
        await Look();
        await tab.Locator("#theme").ClickAsync();
        Assert.Equal("dark", await tab.EvaluateAsync<string>("getComputedStyle(document.documentElement).colorScheme"));
        await Look();

        // The keyboard reads values too, and zooms out.
        await tab.Locator(".chart").First.FocusAsync();
        await tab.Keyboard.PressAsync("ArrowRight");
        await tab.Keyboard.PressAsync("ArrowRight");
        Assert.Contains("Step 10", await tab.Locator("#spoken").TextContentAsync());
        LocatorBoundingBoxResult box = (await plot.BoundingBoxAsync())!;
        await tab.Mouse.MoveAsync(box.X + 80, box.Y + 40);
        await tab.Mouse.DownAsync();
        await tab.Mouse.MoveAsync(box.X + 200, box.Y + 50, new() { Steps = 4 });
        await tab.Mouse.UpAsync();
        await tab.Locator("#zoom-out").ClickAsync();
        Assert.True(await tab.Locator("#zoom-out").IsHiddenAsync());

        // A phone: everything fits, nothing scrolls sideways.
        await tab.SetViewportSizeAsync(375, 700);
        foreach (ILocator summary in await tab.Locator("details > summary").AllAsync()) if (await summary.IsVisibleAsync()) await summary.ClickAsync();
        string wide = await tab.EvaluateAsync<string>("""
            () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done([...document.querySelectorAll('body *')]
                .filter(element => !element.parentElement.closest('.scroll') && element.getBoundingClientRect().right > 375.5)
                .map(element => `${element.tagName}.${element.className} ends at ${element.getBoundingClientRect().right}`).join('; ')))))
            """);
        Assert.True(wide.Length == 0 && await tab.EvaluateAsync<int>("document.documentElement.scrollWidth") <= 375, $"the page scrolls sideways on a phone: {wide} {string.Join("; ", complaints)}");

        await tab.EmulateMediaAsync(new() { Media = Media.Print });
        Assert.Equal("3 runs on 2 tasks · Permafrost", await tab.TitleAsync());
        Assert.Empty(complaints);
    }

    [Theory]
    [InlineData(1400, ColorScheme.Light)]
    [InlineData(390, ColorScheme.Dark)]
    public async Task Names_of_runs_and_of_baselines_can_be_read_on_wide_and_narrow_screens(int width, ColorScheme colours)
    {
        Assert.SkipUnless(File.Exists(Chromium), $"needs a browser: {Chromium} is not there (apt-get install chromium)");
        Assert.SkipUnless(RunReport.HasCharts, NoUPlot);
        // Two baselines almost alike, one that lies in the curves, one at the lower end; and more options that differ than fit beside each other.
        (string Task, string Baseline)[] baselines = [("bit-memory", "82.46"), ("listops", "80.30"), ("bit-xor", "79.50"), ("families-of-proteins-by-their-first-residues", "1.25")];
        string[] runs = [.. baselines.Select(baseline => samples.Add(baseline.Task, baseline.Task, baselines: $"\"root\":{baseline.Baseline}e-2"))];
        foreach (string run in runs)
            File.AppendAllText(Path.Combine(run, "config.yaml"), string.Concat(Enumerable.Range(0, 9).Select(i => $"data_{i}: /srv/a-folder-with-a-name-of-many-words/{Path.GetFileName(run)}/rows.csv\n")));
        string page = samples.At("names.html");
        InProcess.Run(["report", .. runs, "--output", page]).Succeeded();

        using IPlaywright playwright = await Playwright.CreateAsync();
        await using IBrowser browser = await Launch(playwright);
        IPage tab = await browser.NewPageAsync(new() { ViewportSize = new() { Width = width, Height = 900 }, ColorScheme = colours });
        tab.SetDefaultTimeout((float)CliSettings.Patience.TotalMilliseconds);
        await tab.GotoAsync(new Uri(page).AbsoluteUri);

        // Rows; on a phone the scores are cards instead, where a name has the whole width.
        double[] heights = await tab.Locator("tbody tr").EvaluateAllAsync<double[]>("rows => rows.filter(row => getComputedStyle(row).display === 'table-row').map(row => row.getBoundingClientRect().height)");
        Assert.Equal(width > 860 ? 8 : 4, heights.Length);
        Assert.All(heights, height => Assert.InRange(height, 20, 120));
        double[] names = await tab.Locator("tbody th .name").EvaluateAllAsync<double[]>("names => names.map(name => name.getBoundingClientRect().height)");
        Assert.All(names, height => Assert.InRange(height, 10, 75));
        Assert.True(await tab.EvaluateAsync<int>("document.documentElement.scrollWidth") <= width);

        // Every baseline has its score beside the plot, clear of the curves and of the other scores, and its name below.
        ILocator chart = tab.Locator(".chart", new() { HasText = "Validation accuracy" });
        LocatorBoundingBoxResult card = (await chart.BoundingBoxAsync())!, plot = (await chart.Locator(".u-over").BoundingBoxAsync())!;
        double above = plot.Y - 10;
        Assert.Equal(baselines.Select(baseline => baseline.Baseline + " %"), await chart.Locator(".baseline-mark").AllTextContentsAsync());
        foreach (ILocator mark in await chart.Locator(".baseline-mark").AllAsync())
        {
            LocatorBoundingBoxResult box = (await mark.BoundingBoxAsync())!;
            Assert.True(box.X >= plot.X + plot.Width && box.X + box.Width <= card.X + card.Width, "a baseline's score is not beside the plot");
            Assert.True(box.Y >= above && box.Y + box.Height <= plot.Y + plot.Height + 10, "two baselines' scores overlap, or one leaves the plot");
            above = box.Y + box.Height - 0.5;
        }
        Assert.Equal(baselines.Select(baseline => $"{baseline.Task} baseline: first operator and the digits directly under it {baseline.Baseline} %"), await chart.Locator(".baseline-key li").AllTextContentsAsync());
        foreach (ILocator row in await chart.Locator(".baseline-key li").AllAsync())
        {
            LocatorBoundingBoxResult box = (await row.BoundingBoxAsync())!;
            Assert.True(box.Y >= plot.Y + plot.Height && box.Y + box.Height <= card.Y + card.Height && box.X + box.Width <= card.X + card.Width, "a baseline's name is not under the plot");
        }

        // A hidden run takes the baseline of its task with it.
        await tab.Locator(".key").First.ClickAsync();
        await Assertions.Expect(chart.Locator(".baseline-mark")).ToHaveTextAsync(["80.30 %", "79.50 %", "1.25 %"]);
    }

    [Theory]
    [InlineData(1400, ColorScheme.Light)]
    [InlineData(1000, ColorScheme.Light)]
    [InlineData(390, ColorScheme.Dark)]
    public async Task A_page_without_uPlot_shows_figures_that_can_be_read_on_wide_and_narrow_screens(int width, ColorScheme colours)
    {
        Assert.SkipUnless(File.Exists(Chromium), $"needs a browser: {Chromium} is not there (apt-get install chromium)");
        string page = samples.At("figures.html");
        RunReport.Write(page, [samples.Add("a"), samples.Add("b", seed: 1), samples.Add("c", task: "listops", accuracy: null)], new ReportOptions { Interactive = false, Draw = FigureFiles.ForPage });

        using IPlaywright playwright = await Playwright.CreateAsync();
        await using IBrowser browser = await Launch(playwright);
        IPage tab = await browser.NewPageAsync(new() { ViewportSize = new() { Width = width, Height = 900 }, ColorScheme = colours });
        List<string> complaints = Listen(tab, page);
        tab.SetDefaultTimeout((float)CliSettings.Patience.TotalMilliseconds);
        await tab.GotoAsync(new Uri(page).AbsoluteUri);

        Assert.Equal(["bit-xor · seed 0", "bit-xor · seed 1", "listops · seed 0"], await tab.Locator(".keys li").EvaluateAllAsync<string[]>("keys => keys.map(key => key.textContent.trim())"));
        Assert.Equal(4, await tab.Locator(".drawn").CountAsync());
        foreach (ILocator figure in await tab.Locator(".drawn").AllAsync())
        {
            ILocator shown = figure.Locator("svg:visible");
            LocatorBoundingBoxResult card = (await figure.BoundingBoxAsync())!, picture = (await shown.BoundingBoxAsync())!;
            Assert.True(picture.X >= card.X && picture.X + picture.Width <= card.X + card.Width && picture.Width > 0.85 * card.Width, "a figure does not fill its card");
            double[] sizes = await shown.Locator("text").EvaluateAllAsync<double[]>("texts => texts.map(text => text.getBoundingClientRect().height)");
            Assert.True(sizes.Length > 6);
            Assert.All(sizes, size => Assert.InRange(size, 10, 24));
        }
        Assert.True(await tab.EvaluateAsync<int>("document.documentElement.scrollWidth") <= width, "the page scrolls sideways");

        // Lines and words follow the page's colours.
        string Look(string selector, string property) => tab.Locator($".drawn svg:visible {selector}").First.EvaluateAsync<string>($"element => getComputedStyle(element).{property}").GetAwaiter().GetResult();
        string curve = Look("path[stroke='#1857C4']", "stroke"), words = Look("text", "fill");
        await tab.Locator("#theme").ClickAsync();
        Assert.NotEqual(curve, Look("path[stroke='#1857C4']", "stroke"));
        Assert.NotEqual(words, Look("text", "fill"));
        Assert.Empty(complaints);
    }

    private static List<string> Listen(IPage tab, string page)
    {
        var complaints = new List<string>();
        tab.Console += (_, message) => { if (message.Type is "error" or "warning") complaints.Add($"console: {message.Text}"); };
        tab.PageError += (_, error) => complaints.Add($"error: {error}");
        tab.Request += (_, request) => { if (request.Url != new Uri(page).AbsoluteUri && !request.Url.StartsWith("data:", StringComparison.Ordinal)) complaints.Add($"request: {request.Url}"); };
        return complaints;
    }

    // A browser that hangs while it starts, as one does now and then on a busy machine, says nothing about the page.
    internal static async Task<IBrowser> Launch(IPlaywright playwright)
    {
        Assertions.SetDefaultExpectTimeout((float)CliSettings.Patience.TotalMilliseconds);
        var options = new BrowserTypeLaunchOptions
        {
            ExecutablePath = Chromium,
            Args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
            Timeout = 60_000,
        };
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return await playwright.Chromium.LaunchAsync(options);
            }
            catch (TimeoutException) when (attempt < 3)
            {
            }
        }
    }

    [Fact]
    public void Verb_ends_in_a_sentence_when_there_is_nothing_to_report()
    {
        InProcess.Run("report", samples.At("nowhere"), "--output", samples.At("r.html")).Refused(1, "nowhere", "is not a folder");
        InProcess.Run("report").Refused(2);
        InProcess.Run("report", samples.Add("a"), "--output", samples.Parent).Refused(2, "is a folder");
        Assert.False(File.Exists(samples.At("r.html")));
    }
}
