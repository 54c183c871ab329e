using Permafrost.Studies;

namespace Permafrost.Tests.Studies;

/// <summary>Controls, bodies that are not at hand, and what stands beside scores.</summary>
public sealed class StudyControlsTests : IDisposable
{
    private const string Study = """
        title: A title
        question: A question?
        reproduces: [some-table]
        also: [updates, trained]
        options: { schedule: { max_steps: 2 } }
        arms:
          - { name: language, options: { model.backbone: BODY, model.readout: mean } }
          - { name: random, options: { model.backbone: BODY, model.readout: mean, model.init: random } }
          - { name: fetched, options: { model.backbone: gpt2-tiny } }
        tasks: [{ task: bit-xor }, { name: again, task: bit-xor, metric: other, options: { data.task_options.length: "3" } }]
        scales:
          smoke: { seeds: [0], rates: [0.003, 0.01], get: { fetched: permafrost data fetch gpt2-tiny } }
          small: { seeds: [0], rates: [0.003], missing: { language: it is too large }, get: { language: some command, fetched: permafrost data fetch gpt2-tiny } }
        published:
          - { source: A paper, how: read, percent: { language: { bit-xor: 90 } }, updates: { language: { bit-xor: 500 } } }
        """;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private StudyPlan Plan(string scale, Func<string, string>? change = null)
    {
        string body = Tests.Shared.SmallBert.Write(Path.Combine(folder.Path, "body"));
        string text = Study.Replace("BODY", body, StringComparison.Ordinal);
        return StudyPlan.Of(StudyReader.Parse(change?.Invoke(text) ?? text, "one.yaml"), scale);
    }

    [Fact]
    public void A_pretrained_arm_gets_the_controls_that_the_study_lacks_with_lower_rates_where_everything_trains()
    {
        StudyPlan plan = Plan("smoke");
        Assert.Equal(["language", "random", "fetched", "control: trained pretrained", "control: trained random"], plan.Arms.Select(arm => arm.Name));
        Assert.Equal(10, plan.Cells.Count);
        StudyCell control = plan.Cells[9];
        Assert.Equal(("again", "control: trained random", "random", "*", "mean", "3"), (control.Task.Name, control.Arm.Name, control.Options.Model.Init, control.Options.Model.Policy,
            control.Options.Model.Readout, control.Options.Data.TaskOptions["length"]));
        Assert.Equal([0.0003, 0.001, 0.003, 0.01], control.Rates);
        Assert.Equal([0.003, 0.01], plan.Cells[0].Rates);
        Assert.Contains("Rothermel et al. 2021", new StudyReport(StudyTable.Read(plan, folder.Path), "the command").Markdown(), StringComparison.Ordinal);
    }

    [Fact]
    public void Controls_can_be_left_out_and_need_a_pretrained_arm()
    {
        Assert.Equal(3, Plan("smoke", text => text + "\ncontrols: off").Arms.Count);
        // The only pretrained arms of this scale are missing.
        Assert.Equal(3, Plan("small").Arms.Count);
        var error = Assert.Throws<UsageException>(() => Plan("smoke", text => text + "\ncontrols: some"));
        Assert.Contains("the `controls` 'some' does not exist; there are on, off", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_controls_the_arms_are_the_same_runs()
    {
        string[] Ids(StudyPlan plan) => [.. plan.Cells.Where(cell => !StudyControls.Is(cell.Arm)).Select(cell => StudyPlan.Id(cell.Run(0, 0.003)))];
        Assert.Equal(Ids(Plan("smoke", text => text + "\ncontrols: off")), Ids(Plan("smoke")));
    }

    [Fact]
    public void A_body_that_is_not_at_hand_is_missing_with_the_command_that_brings_it()
    {
        Assert.Equal("gpt2-tiny is not at hand; `permafrost data fetch gpt2-tiny` brings it, and the same study then runs it", Plan("smoke").Cells[2].Missing);
        Assert.Null(Plan("smoke").Cells[0].Missing);
        Assert.Equal("it is too large; `some command` brings one", Plan("small").Cells[0].Missing);
        Assert.Contains("`permafrost data fetch gpt2-tiny` brings it", new StudyReport(StudyTable.Read(Plan("smoke"), folder.Path), "").Markdown(), StringComparison.Ordinal);
    }

    [Fact]
    public void Published_numbers_of_other_measures_stand_beside_their_scores()
    {
        StudyPlan plan = Plan("smoke");
        Assert.Equal([(null, 0.9), ("updates", 500.0)], plan.Study.Published.Select(one => (one.Measure, one.Value)));
        Assert.Contains("| not run (published 90); published 500 updates |", new StudyReport(StudyTable.Read(plan, folder.Path), "").Markdown(), StringComparison.Ordinal);
        Assert.Equal("other", plan.Study.Tasks[1].Metric);
        var error = Assert.Throws<UsageException>(() => Plan("smoke", text => text.Replace("also: [updates, trained]", "also: [beauty]", StringComparison.Ordinal)));
        Assert.Contains("the measure 'beauty' does not exist", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_tables_of_the_papers_are_each_a_study_that_comes_with_the_program()
    {
        string[] expected =
        [
            "lu-table-1", "lu-table-2", "lu-table-3-4", "lu-table-6", "lu-table-7", "lu-table-8", "lu-table-9", "lu-table-10", "lu-table-11-12", "lu-table-13-14", "lu-table-15-19-21",
            "lu-table-16", "lu-table-17", "lu-parameter-counts", "rothermel", "tay-main", "tay-gains", "tay-cogs", "tay-speed", "tay-cross-sentence",
            "ballout-main", "ballout-size", "ballout-embeddings",
        ];
        Assert.Equal(expected.Order(StringComparer.Ordinal), StudyCatalog.Names.SelectMany(name => StudyCatalog.Find(name).Reproduces).Order(StringComparer.Ordinal));
    }
}
