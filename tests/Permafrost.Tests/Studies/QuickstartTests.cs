using Permafrost.Runs;
using Permafrost.Studies;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Tests.Studies;

/// <summary>What the quickstart says of its numbers, and that its plan is sound.</summary>
public class QuickstartTests
{
    [Theory]
    [InlineData(0.9, 0.2, 0.1, "language pretraining gives 70.0 points: 90.0 % against 20.0 % with random weights")]
    [InlineData(0.9, 0.1, 0.2, "language pretraining gives 70.0 points: 90.0 % against 20.0 % with its statistics alone")]
    [InlineData(0.5, 0.4, 0.8, "language pretraining costs 30.0 points: 50.0 % against 80.0 % with its statistics alone")]
    [InlineData(0.5, 0.49, 0.48, "language pretraining gives nothing that shows: 50.0 %, and 49.0 % with random weights")]
    public void A_finding_says_what_pretraining_gave(double pretrained, double random, double statistics, string finding) =>
        Assert.StartsWith("word-kinds: " + finding, QuickstartText.Findings(Result(Row([pretrained, random, statistics])))[0], StringComparison.Ordinal);

    [Theory]
    [InlineData(0.9, "; as good: a probe, 90.0 %.")]
    [InlineData(0.97, "; better: a probe, 97.0 %.")]
    [InlineData(0.5, "with random weights.")]
    public void A_rival_that_does_as_well_is_named(double rival, string end) =>
        Assert.EndsWith(end, QuickstartText.Findings(Result(Row([0.9, 0.2, 0.1], [("a probe", rival), ("a guess", 0.1)])))[0], StringComparison.Ordinal);

    [Fact]
    public void Steps_are_told_where_they_were_looked_for_and_the_cap_where_it_came_first()
    {
        QuickstartRow row = Row([1, 0.7, 1]) with { Cap = 1500 };
        row = row with { Arms = [row.Arms[0] with { StepsToAllRight = 400 }, row.Arms[1], row.Arms[2] with { StepsToAllRight = 1200 }] };
        Assert.Equal(["400", "> 1,500", "1,200"], row.Arms.Select(arm => QuickstartText.Steps(row, arm)));
        Assert.Contains("all answers right after 400 steps (pretrained), > 1,500 steps (random weights), 1,200 steps (statistics only)", QuickstartText.Findings(Result(row))[0], StringComparison.Ordinal);
        Assert.Equal(["100.0 %", "70.0 \u00b1 3.2 %"], row.Arms.Take(2).Select(QuickstartText.Score));
    }

    [Fact]
    public void The_words_are_in_no_list_and_their_kinds_are()
    {
        var listed = WordKinds.Lists.Values.SelectMany(words => words).ToHashSet();
        Assert.All(QuickstartPlan.Words, word => Assert.DoesNotContain(word.Word, listed));
        Assert.All(QuickstartPlan.Words, word => Assert.Contains(word.Kind, WordKinds.Lists.Keys));
    }

    [Fact]
    public void The_committed_sweep_holds_every_rate_of_every_arm()
    {
        Assert.StartsWith("permafrost quickstart --sweep ", SweptRate.CommittedBy, StringComparison.Ordinal);
        foreach (QuickstartTask task in QuickstartPlan.Tasks)
            foreach (string init in QuickstartPlan.Inits)
            {
                SweptRate[] swept = [.. SweptRate.Committed.Where(rate => rate.Task == task.Name && rate.Init == init)];
                Assert.Equal(QuickstartPlan.Rates, swept.Select(rate => rate.LearningRate).Order());
                Assert.All(swept, rate => Assert.Equal(TaskRegistry.Find(task.Name).Task.Version, rate.TaskVersion));
                Assert.All(swept, rate => Assert.InRange(rate.Steps, 1, task.SweepSteps));
            }
    }

    [Fact]
    public void The_best_rate_has_the_most_right_then_the_fewest_steps_then_the_lowest_loss()
    {
        SweptRate Rate(double rate, double accuracy, long steps, double loss) => new("task", 1, "random", rate, steps, accuracy, loss);
        Assert.Equal(2, SweptRate.Best([Rate(1, 0.9, 10, 0.1), Rate(2, 1, 50, 0.2)], "task", "random"));
        Assert.Equal(1, SweptRate.Best([Rate(1, 1, 10, 0.1), Rate(2, 1, 50, 0.01)], "task", "random"));
        Assert.Equal(2, SweptRate.Best([Rate(1, 0.5, 50, 0.1), Rate(2, 0.5, 50, 0.01), Rate(3, 0.9, 50, 0) with { Init = "pretrained" }], "task", "random"));
    }

    [Fact]
    public void The_sweep_is_written_as_it_is_read()
    {
        string table = SweptRate.Table("permafrost quickstart", [new SweptRate("bit-xor", 1, "random", 0.003, 400, 1, 0.25)]);
        Assert.Equal("# permafrost quickstart\ntask,task_version,init,learning_rate,steps,validation_accuracy,validation_loss\nbit-xor,1,random,0.003,400,1,0.25\n", table);
    }

    private static QuickstartResult Result(QuickstartRow row) => new([row], []);

    private static QuickstartRow Row(double[] accuracies, IReadOnlyList<(string, double)>? baselines = null) => new(
        "word-kinds", "which kind?", [.. QuickstartPlan.Inits.Zip(accuracies, (init, accuracy) => new QuickstartArm(init, new StudyRun("", Run(accuracy)), null))], baselines ?? [], null);

    private static RunResult Run(double accuracy) => new()
    {
        Task = "word-kinds",
        TaskVersion = 1,
        Backbone = "body",
        BackboneSha256 = "",
        Init = "random",
        Policy = "fpt",
        Seed = 0,
        Steps = 10,
        LearningRate = 0.001,
        Parameters = new RunParameters(10, 1, 10, 0, 0),
        Baselines = RunBaselines.None,
        Seconds = 1,
        TokensPerSecond = 1,
        PeakMemoryBytes = 1,
        Metrics = new Dictionary<string, Scores> { ["test"] = new(200, 1, new Dictionary<string, double> { ["accuracy"] = accuracy }) },
    };
}
