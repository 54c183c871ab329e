using Permafrost.Runs;
using Permafrost.Studies;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Tests.Studies;

/// <summary>Tables and verdicts over results made by hand, in the folders where a study's runs lie.</summary>
public sealed class StudyTableTests : IDisposable
{
    private const string Study = """
        title: A title
        question: A question?
        reproduces: [some-table]
        options: { model: { backbone: gpt2-tiny, init: random }, schedule: { max_steps: 2 } }
        arms:
          - { name: one }
          - { name: other, options: { model.policy: output } }
        tasks: [{ task: bit-xor }, { task: waveforms }]
        scales:
          smoke: { seeds: [0, 1, 2], rates: [0.001, 0.01] }
        claims:
          - { text: Above, arm: one, above: other }
          - { text: As good, arm: other, at_least: one, margin: 0.05 }
        """;

    private readonly TemporaryFolder folder = new();
    private readonly StudyPlan plan = StudyPlan.Of(StudyReader.Parse(Study, "study.yaml"), "smoke");

    public void Dispose() => folder.Dispose();

    private StudyCell Cell(string name) => plan.Cells.Single(cell => cell.Name == name);

    private string Finish(string cell, long seed, double rate, double validation, double? test = null, string metric = "accuracy", double probe = 0.3)
    {
        RunOptions options = Cell(cell).Run(seed, rate);
        string run = StudyTable.Folder(folder.Path, options);
        Directory.CreateDirectory(run);
        File.WriteAllText(Path.Combine(run, "config.yaml"), RunConfig.ToYaml(options, ""));
        Scores Of(double score) => new(1000, 1 - score, new Dictionary<string, double> { [metric] = score });
        var metrics = new Dictionary<string, Scores> { ["validation"] = Of(validation) };
        if (test is { } value) metrics["test"] = Of(value);
        new RunResult
        {
            Task = options.Data.Task,
            TaskVersion = 1,
            Backbone = "gpt2-tiny",
            BackboneSha256 = "",
            Init = "random",
            Policy = options.Model.Policy,
            Seed = seed,
            Steps = 2,
            LearningRate = rate,
            Parameters = new RunParameters(1, 1, 100, 0, 0),
            Metrics = metrics,
            Seconds = 1,
            TokensPerSecond = 1,
            PeakMemoryBytes = 1,
            Baselines = new RunBaselines(new Dictionary<string, double> { ["majority"] = 0.2 }, new Dictionary<string, double> { ["linear-probe"] = probe }),
        }.Write(RunFolder.At(run));
        return run;
    }

    private void FinishCell(string cell, params double[] scores)
    {
        Finish(cell, 0, 0.001, 0.1);
        for (int seed = 0; seed < scores.Length; seed++) Finish(cell, seed, 0.01, 0.9, scores[seed]);
    }

    private StudyTable Table => StudyTable.Read(plan, folder.Path);

    [Fact]
    public void A_metric_that_the_runs_do_not_measure_is_refused_by_task()
    {
        FinishCell("bit-xor-one", 0.5);
        StudyPlan typo = StudyPlan.Of(StudyReader.Parse(Study.Replace("{ task: bit-xor }", "{ task: bit-xor, metric: acuracy }", StringComparison.Ordinal), "study.yaml"), "smoke");
        string said = Assert.Throws<UsageException>(() => StudyTable.Read(typo, folder.Path)).Message;
        Assert.Equal("the study's task 'bit-xor' asks for the metric 'acuracy', which its runs do not measure; they measure accuracy", said);
        Assert.Equal("accuracy", Table.Of("bit-xor", "one").ChosenBy);
    }

    [Fact]
    public void The_best_rate_on_validation_is_chosen_once_each_has_finished_or_diverged()
    {
        Finish("bit-xor-one", 0, 0.001, 0.7, 0.99);
        Assert.Null(Table.Of("bit-xor", "one").Rate);
        string diverged = StudyTable.Folder(folder.Path, Cell("bit-xor-one").Run(0, 0.01));
        Directory.CreateDirectory(diverged);
        File.WriteAllText(StudyTable.Diverged(diverged), "the loss is NaN");
        StudyScore score = Table.Of("bit-xor", "one");
        Assert.Equal((0.001, 0.99, 1), (score.Rate, score.Test!.Mean, score.Runs.Count));
        Assert.Equal([(0.7, false), (null, true)], score.Validation.Select(tried => (tried.Score, tried.Diverged)));
        string page = new StudyReport(Table, "the command").Markdown();
        Assert.Contains("(1 of 3 seeds)", page, StringComparison.Ordinal);
        Assert.Contains("Rates at which training diverged, and which are out: bit-xor-one (0.01).", page, StringComparison.Ordinal);
        Assert.Contains("bit-xor,one,0,0.01,diverged,", new StudyReport(Table, "the command").Csv(), StringComparison.Ordinal);
    }

    [Fact]
    public void Of_an_error_the_lowest_is_best()
    {
        foreach ((double rate, double error) in new[] { (0.001, 2.0), (0.01, 1.0) }) Finish("bit-xor-one", 0, rate, error, error, "rmse", probe: 5);
        Finish("bit-xor-other", 0, 0.001, 3, null, "rmse");
        Finish("bit-xor-other", 0, 0.01, 2.5, 2.5, "rmse", probe: 4);
        Assert.Equal(0.01, Table.Of("bit-xor", "one").Rate);
        Assert.Equal([("majority", 0.2), ("linear-probe", 4.0)], Table.Baselines("bit-xor"));
    }

    [Fact]
    public void A_claim_is_judged_by_pairs_of_seeds_on_every_task()
    {
        FinishCell("bit-xor-one", 0.90, 0.92, 0.94);
        FinishCell("bit-xor-other", 0.80, 0.82, 0.85);
        // One task of two has been run: that decides nothing for good.
        Assert.Equal([Verdict.NotDecided, Verdict.DoesNotHold], ClaimVerdict.Of(Table).Select(claim => claim.Verdict));
        TaskVerdict xor = ClaimVerdict.Of(Table)[0].Tasks[0];
        Assert.Equal(Verdict.Holds, xor.Verdict);
        Assert.Equal(0.29 / 3, xor.Difference!.Mean, 12);
        Assert.Equal(Verdict.NotRun, ClaimVerdict.Of(Table)[0].Tasks[1].Verdict);
        FinishCell("waveforms-one", 0.50, 0.60, 0.40);
        FinishCell("waveforms-other", 0.50, 0.45, 0.55);
        Assert.Equal(Verdict.NotDecided, ClaimVerdict.Of(Table)[0].Verdict);
        FinishCell("waveforms-other", 0.70, 0.80, 0.61);
        Assert.Equal([Verdict.Mixed, Verdict.Mixed], ClaimVerdict.Of(Table).Select(claim => claim.Verdict));
        FinishCell("waveforms-other", 0.40, 0.50, 0.31);
        Assert.Equal([Verdict.Holds, Verdict.DoesNotHold], ClaimVerdict.Of(Table).Select(claim => claim.Verdict));
    }
}
