using Permafrost.Runs;
using Permafrost.Studies;

namespace Permafrost.Tests.Studies;

/// <summary>What a study is expected to take, and after how many updates a run was near its best.</summary>
public sealed class StudyEstimateTests : IDisposable
{
    private const string Study = """
        title: A title
        question: A question?
        reproduces: [some-table]
        options: { model: { backbone: gpt2-tiny, init: random }, schedule: { max_steps: 1000 } }
        arms: [{ name: fpt }, { name: shuffled, options: { model.init_seed: 3 } }, { name: broken, options: { model.backbone: no-such-preset } }]
        tasks: [{ task: bit-xor }, { name: short, task: bit-xor, options: { schedule.max_steps: 5 } }]
        scales:
          smoke: { seeds: [0, 1], rates: [0.001, 0.003] }
        """;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_step_is_timed_for_what_differs_and_multiplied_by_what_is_left()
    {
        StudyPlan plan = StudyPlan.Of(StudyReader.Parse(Study, "one.yaml"), "smoke");
        using var stop = new StopRequest();
        StudyEstimate estimate = StudyEstimate.Of(plan, folder.Path, stop);
        Dictionary<string, CellEstimate> cells = estimate.Cells.ToDictionary(cell => cell.Cell.Name);
        Assert.Equal(6, cells.Count);
        Assert.True(cells["bit-xor-fpt"].Seconds > 0);
        Assert.True(estimate.PeakBytes > 1 << 20);
        // Three runs of either, whose bodies differ in nothing but what is drawn: one measurement.
        Assert.Equal(cells["bit-xor-fpt"].Seconds, cells["bit-xor-shuffled"].Seconds);
        Assert.Equal(estimate.Seconds, 2 * cells["bit-xor-fpt"].Seconds!.Value, 9);
        Assert.Equal("fewer than 20 updates", cells["short-fpt"].Why);
        Assert.Contains("no-such-preset", cells["bit-xor-broken"].Why, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(folder.Path, "runs")));
    }

    [Fact]
    public void What_has_ended_is_not_counted_and_a_stop_is_heeded()
    {
        StudyPlan plan = StudyPlan.Of(StudyReader.Parse(Study, "one.yaml"), "smoke");
        StudyCell cell = plan.Cells.Single(one => one.Name == "short-fpt");
        foreach (double rate in cell.Rates)
        {
            string run = StudyTable.Folder(folder.Path, cell.Run(0, rate));
            Directory.CreateDirectory(run);
            File.WriteAllText(StudyTable.Diverged(run), "");
        }
        using var stop = new StopRequest();
        stop.Ask(StopReason.Preempted);
        Assert.Throws<StoppedException>(() => StudyEstimate.Of(plan, folder.Path, stop));
    }

    [Fact]
    public void Updates_are_counted_to_the_first_validation_within_a_point_of_the_best()
    {
        string log = Path.Combine(folder.Path, "metrics.jsonl");
        File.WriteAllText(log, string.Concat(new[] { (10, 0.5), (20, 0.895), (30, 0.88), (40, 0.9) }.Select(point =>
            FormattableString.Invariant($"{{\"step\":{point.Item1},\"time\":1,\"eval/accuracy\":{point.Item2},\"eval/rmse\":{1 / point.Item2}}}\n"))));
        Assert.Equal(20, StudyMeasure.UpdatesToBest(log, "accuracy"));
        Assert.Equal(20, StudyMeasure.UpdatesToBest(log, "rmse"));
        Assert.Null(StudyMeasure.UpdatesToBest(log, "f1"));
        Assert.Equal(["1,234 updates", "1,234 trained", "1,234 tokens/s"], StudyMeasure.All.Select(measure => StudyMeasure.Shown(measure, 1234.4)));
    }
}
