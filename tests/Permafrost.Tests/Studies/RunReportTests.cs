using System.Text.Json;
using System.Text.RegularExpressions;
using Permafrost.Studies;

namespace Permafrost.Tests.Studies;

/// <summary>The report's page as text; how it behaves in a browser is tested with the command line.</summary>
public sealed class RunReportTests : IDisposable
{
    private readonly SampleRun samples = new();

    public void Dispose() => samples.Dispose();

    [Fact]
    public void Shows_a_run_with_its_baselines_counts_environment_and_command()
    {
        string html = RunReport.Html([samples.Add("a", command: "permafrost finetune --seed 7")]);
        Assert.Contains("97.00&#xA0;%</strong> of bit-xor", html);
        Assert.Contains("<b>50.30&#xA0;%</b> linear on the inputs", Decoded(html));
        Assert.Contains("<b>49.40&#xA0;%</b> most frequent class", Decoded(html));
        Assert.Contains("1.64&#xA0;%", html);
        foreach (string text in new[] { "16,288,514", "267,778", "3,559", "89.9", "96.00", "23.54 GiB", "OMP_NUM_THREADS=2", "<span>permafrost</span> <span>finetune</span> <span>--seed</span> <span>7</span>", "max_steps: 200" }) Assert.Contains(text, html);
    }

    [Fact]
    public void Says_so_when_a_score_is_no_better_than_a_trivial_rule()
    {
        Assert.Contains("no better than the best trivial rule", RunReport.Html([samples.Add("at-the-baseline", accuracy: 0.52)]));
        Assert.Contains("worse than the best trivial rule", RunReport.Html([samples.Add("below", accuracy: 0.40)]));
        Assert.Contains("with no baseline measured beside it", RunReport.Html([samples.Add("alone", baselines: "")]));
    }

    [Fact]
    public void Overlays_several_runs_named_by_what_differs()
    {
        string html = RunReport.Html([samples.Add("a"), samples.Add("b", seed: 1), samples.Add("c", policy: "output")]);
        foreach (string label in new[] { "fpt · seed 0", "fpt · seed 1", "output · seed 0" }) Assert.Contains(label, html);
        JsonElement data = Data(html);
        Assert.Equal(3, data.GetProperty("runs").GetArrayLength());
        Assert.Equal(["train/loss", "eval/accuracy", "eval/loss", "train/grad_norm"], data.GetProperty("charts").EnumerateArray().Select(chart => chart.GetProperty("key").GetString()));
        Assert.Equal(40, data.GetProperty("runs")[0].GetProperty("curves").GetProperty("train/loss")[0].GetArrayLength());
    }

    [Fact]
    public void Takes_a_folder_of_runs_and_each_run_once()
    {
        string first = samples.Add("a");
        samples.Add("b", seed: 1);
        Directory.CreateDirectory(samples.At("no-run"));
        Assert.Equal(2, Data(RunReport.Html([samples.Parent, first])).GetProperty("runs").GetArrayLength());
    }

    [Fact]
    public void Names_what_an_unfinished_run_lacks()
    {
        string run = samples.Add("a", accuracy: null);
        File.Delete(Path.Combine(run, "env.json"));
        string html = RunReport.Html([run]);
        Assert.Contains("<strong>Unfinished:</strong> the last step logged is 200 of 200; missing: results.json, env.json.", html);
        Assert.Contains("env.json is missing or cannot be read", html);
    }

    [Theory]
    [InlineData("results.json", "{\"task\":", "is not valid JSON")]
    [InlineData("results.json", "{\"task\":\"a\",\"task\":\"b\"}", "is not valid JSON")]
    [InlineData("results.json", "[]", "is not a JSON object")]
    [InlineData("results.json", "{\"metrics\":7,\"baselines\":\"x\",\"parameters\":[],\"steps\":\"many\",\"seconds\":1e999}", "holds no accuracy")]
    [InlineData("metrics.jsonl", "{\"step\":1,\"train/loss\":0.5}\n{\"step\":2,\"step\":2}\n{\"step\":\"x\"}\n[]\n{\"step\":2,\"trai", "\"train/loss\":[[1],[0.5]]")]
    [InlineData("metrics.jsonl", "", "none of metrics.jsonl")]
    [InlineData("env.json", "\0\u0001", "is not valid JSON")]
    [InlineData("config.yaml", ": : :\n\t- [", "config.yaml")]
    public void Reads_on_past_damage_and_names_it(string file, string content, string said)
    {
        string run = samples.Add("a");
        File.WriteAllText(Path.Combine(run, file), content);
        Assert.Contains(said, Decoded(RunReport.Html([run])));
    }

    [Fact]
    public void Refuses_what_is_no_run_in_one_sentence()
    {
        string empty = Directory.CreateDirectory(samples.At("empty")).FullName;
        Assert.Contains("is not a run", Assert.Throws<PermafrostException>(() => RunReport.Html([empty])).Message);
        Assert.Contains("is not a folder", Assert.Throws<PermafrostException>(() => RunReport.Html([samples.At("nowhere")])).Message);
    }

    [Fact]
    public void Everything_from_a_run_stays_text()
    {
        const string Evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{scripts}}\"'&";
        string run = samples.Add("a<b>\"c'{{data}}&", task: Evil, policy: Evil, baselines: $"{JsonSerializer.Serialize(Evil)}:0.5", command: Evil);
        foreach (string file in new[] { "config.yaml", "metrics.jsonl" }) File.AppendAllText(Path.Combine(run, file), file == "config.yaml" ? $"x: {Evil}\n{Evil}: 1\n" : $"{{\"step\":300,{JsonSerializer.Serialize("eval/" + Evil)}:1}}\n");
        File.WriteAllText(Path.Combine(run, "env.json"), $"{{{JsonSerializer.Serialize(Evil)}:{JsonSerializer.Serialize(Evil)}}}");
        foreach (string html in new[] { RunReport.Html([run]), RunReport.Html([run, samples.Add("b")]) })
        {
            Assert.Equal(RunReport.HasCharts ? 3 : 2, Regex.Count(html, "<script"));
            Assert.Equal(RunReport.HasCharts ? 3 : 2, Regex.Count(html, "</script"));
            Assert.DoesNotContain("<img", html);
            Assert.DoesNotContain("alert(1)<", html);
            Assert.Contains("{{scripts}}", Decoded(html));
            _ = Data(html);
        }
    }

    [Fact]
    public void Nothing_on_the_page_points_outside()
    {
        string html = RunReport.Html([samples.Add("a")]);
        Assert.Contains("content=\"default-src 'none'; ", html);
        Assert.DoesNotMatch(@"(src|href)\s*=\s*[""'](?!data:)", html);
        Assert.DoesNotContain("@import", html);
        Assert.DoesNotContain("url(", html);
    }

    [Fact]
    public void A_long_log_is_thinned_but_keeps_its_spikes()
    {
        string run = samples.Add("a");
        File.WriteAllLines(Path.Combine(run, "metrics.jsonl"), Enumerable.Range(1, 50_000).Select(step => $"{{\"step\":{step},\"train/loss\":{(step == 31_415 ? 99 : 1 + step % 7)}}}"));
        JsonElement curve = Data(RunReport.Html([run])).GetProperty("runs")[0].GetProperty("curves").GetProperty("train/loss");
        Assert.InRange(curve[0].GetArrayLength(), 1000, 2000);
        Assert.Contains(curve[1].EnumerateArray(), value => value.GetDouble() == 99);
        Assert.True(curve[0].EnumerateArray().Select(step => step.GetInt64()).SequenceEqual(curve[0].EnumerateArray().Select(step => step.GetInt64()).Order()));
    }

    [Fact]
    public void A_log_that_went_back_to_a_checkpoint_keeps_the_second_telling()
    {
        string run = samples.Add("a");
        File.WriteAllText(Path.Combine(run, "metrics.jsonl"), "{\"step\":1,\"train/loss\":1}\n{\"step\":2,\"train/loss\":2}\n{\"step\":3,\"train/loss\":null}\n{\"step\":2,\"train/loss\":5}\n");
        Assert.Equal("[[1,2],[1,5]]", Data(RunReport.Html([run])).GetProperty("runs")[0].GetProperty("curves").GetProperty("train/loss").GetRawText());
    }

    [Fact]
    public void A_page_without_uPlot_holds_the_figures_it_is_given_and_names_their_lines()
    {
        var drawn = new List<(Figure Figure, int Width)>();
        string Draw(Figure figure, int width, int height)
        {
            drawn.Add((figure, width));
            return $"<svg>{width}x{height}</svg>";
        }
        string html = RunReport.Html([samples.Add("a"), samples.Add("b", seed: 1)], new ReportOptions { Interactive = false, Draw = Draw });
        Assert.Equal(drawn.Select(one => one.Figure.Title).Distinct(), ["Training loss", "Validation accuracy", "Validation loss", "Gradient norm"]);
        Assert.Equal(drawn.Count, Regex.Count(html, "<svg>[0-9]"));
        Assert.Equal(2, drawn.Select(one => one.Width).Distinct().Count());
        Assert.Contains("<li>baseline: linear on the inputs <b>50.30", html);
        Assert.Contains("seed 1: from ", html);
        Assert.DoesNotContain("class=\"controls\"", html);
        Assert.Equal(2, Regex.Count(html, "<script"));
        Assert.Contains("it was given nothing else to draw them with", RunReport.Html([samples.At("a")], new ReportOptions { Interactive = false }));
    }

    [Fact]
    public void Figures_hold_what_the_page_holds()
    {
        string[] runs = [samples.Add("a"), samples.Add("b", seed: 1, task: "listops")];
        JsonElement data = Data(RunReport.Html(runs));
        IReadOnlyList<Figure> figures = RunReport.Figures(runs);
        Assert.Equal(data.GetProperty("charts").EnumerateArray().Select(chart => chart.GetProperty("title").GetString()), figures.Select(figure => figure.Title));
        Assert.All(figures, figure => Assert.Equal((0, 200), (figure.FirstStep, figure.LastStep)));
        FigureCurve curve = figures[0].Curves[1];
        JsonElement shown = data.GetProperty("runs")[1].GetProperty("curves").GetProperty("train/loss");
        Assert.Equal(shown[0].EnumerateArray().Select(step => step.GetInt64()), curve.Steps);
        Assert.Equal(shown[1].EnumerateArray().Select(value => value.GetDouble()), curve.Logged.Select(value => double.Parse(value!.Value.ToString("G6"))));
        Assert.Equal(["bit-xor baseline: linear on the inputs", "listops baseline: linear on the inputs"], figures[1].Baselines.Select(baseline => baseline.Name).Order());

        // 0.6 of what was, 0.4 of what is new, over the sum of such weights.
        Assert.True(curve.IsSmoothed);
        Assert.Equal(curve.Logged[0]!.Value, curve.Drawn[0]!.Value, 12);
        Assert.Equal((0.4 * 0.6 * curve.Logged[0]!.Value + 0.4 * curve.Logged[1]!.Value) / (0.4 + 0.4 * 0.6), curve.Drawn[1]!.Value, 12);
        Assert.False(figures[1].Curves[0].IsSmoothed);
    }

    [Fact]
    public void Never_replaces_a_file_that_is_no_page()
    {
        string run = samples.Add("a");
        Assert.Throws<UsageException>(() => RunReport.Write(Path.Combine(run, "results.json"), [run]));
        Assert.Throws<UsageException>(() => RunReport.Write(run, [run]));
        Assert.Throws<UsageException>(() => RunReport.Write(Path.Combine(run, "no", "such.html"), [run]));
        string page = Path.Combine(run, "report.html");
        Assert.Equal(page, (string?)RunReport.Write(page, [run])["report"]);
        string first = File.ReadAllText(page);
        RunReport.Write(page, [run]);
        Assert.Equal(first, File.ReadAllText(page));
    }

    private static string Decoded(string html) => System.Net.WebUtility.HtmlDecode(html).Replace("\u00a0", "&#xA0;", StringComparison.Ordinal);

    private static JsonElement Data(string html) =>
        JsonDocument.Parse(Regex.Match(html, "<script type=\"application/json\" id=\"data\">(.*?)</script>", RegexOptions.Singleline).Groups[1].Value).RootElement;
}
