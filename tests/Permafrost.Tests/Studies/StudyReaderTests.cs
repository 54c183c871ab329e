using Permafrost.Studies;

namespace Permafrost.Tests.Studies;

public sealed class StudyReaderTests
{
    private const string Good = """
        title: A title
        question: A question?
        reproduces: [some-table]
        options:
          model: { backbone: gpt2-tiny, init: random }
        arms:
          - { name: fpt, options: { model.policy: fpt } }
          - { name: output, is: the output layer alone, options: { model.policy: output } }
        tasks:
          - task: bit-xor
            options: { data.task_options.length: "3" }
            scales: { smoke: { schedule.max_steps: 7 } }
          - { name: waves, task: waveforms }
        scales:
          smoke: { seeds: [3, 4], rates: [0.001, 0.003], arms: { output: { schedule.per_device_train_batch_size: 5 } } }
          small: { seeds: [0], rates: [0.01], tasks: [waves], missing: { output: it is too small } }
        claims:
          - { text: One is above the other, arm: fpt, above: output }
        published:
          - { source: A paper, how: read, percent: { fpt: { bit-xor: 99.5 } } }
        """;

    public static TheoryData<string> Names => [.. StudyCatalog.Names];

    [Fact]
    public void Options_of_study_scale_task_and_arm_come_together_in_this_order()
    {
        StudyPlan plan = StudyPlan.Of(StudyReader.Parse(Good, "studies/one.yaml"), "smoke");
        Assert.Equal(["bit-xor-fpt", "bit-xor-output", "waves-fpt", "waves-output"], plan.Cells.Select(cell => cell.Name));
        StudyCell cell = plan.Cells[1];
        Assert.Equal(("gpt2-tiny", "random", "output", 7, 5, "3"), (cell.Options.Model.Backbone, cell.Options.Model.Init, cell.Options.Model.Policy, cell.Options.Schedule.MaxSteps,
            cell.Options.Schedule.PerDeviceTrainBatchSize, cell.Options.Data.TaskOptions["length"]));
        Assert.Equal((4L, 4L, 0.003), (cell.Run(4, 0.003).Seed, cell.Run(4, 0.003).Model.InitSeed, cell.Run(4, 0.003).Optimizer.LearningRate));
        // Two rates with the first seed, one of them with the second too.
        Assert.Equal(4 * 3, plan.Runs);
        Assert.Equal(0.995, plan.Study.Published.Single().Value, 12);
    }

    [Fact]
    public void What_a_scale_has_no_body_for_is_missing_with_its_reason()
    {
        StudyPlan plan = StudyPlan.Of(StudyReader.Parse(Good, "one.yaml"), "small");
        Assert.Equal([null, "it is too small"], plan.Cells.Select(cell => cell.Missing));
        Assert.Equal(1, plan.Runs);
        Assert.Contains("no scale 'paper'", Assert.Throws<UsageException>(() => StudyPlan.Of(plan.Study, "paper")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_is_known_by_its_options_wherever_it_lies()
    {
        StudyPlan plan = StudyPlan.Of(StudyReader.Parse(Good, "one.yaml"), "smoke"), other = StudyPlan.Of(StudyReader.Parse(Good.Replace("A title", "Another", StringComparison.Ordinal), "two.yaml"), "smoke");
        Assert.Equal(StudyPlan.Id(plan.Cells[0].Run(3, 0.001)), StudyPlan.Id(other.Cells[0].Run(3, 0.001)));
        string[] ids = [.. plan.Cells.SelectMany(cell => new[] { cell.Run(3, 0.001), cell.Run(3, 0.003), cell.Run(4, 0.001) }).Select(StudyPlan.Id)];
        Assert.Equal(12, ids.Distinct().Count());
    }

    [Theory]
    [InlineData("title: A title", "titel: A title", "one.yaml:1: the key 'titel' does not exist here")]
    [InlineData("policy: output", "policy: ouput", "one.yaml:8: ")]
    [InlineData("task: waveforms", "task: wavefroms", "one.yaml:13: ")]
    [InlineData("above: output", "above: outpt", "one.yaml:18: the arm 'outpt' does not exist; there are fpt, output")]
    [InlineData("tasks: [waves]", "tasks: [wave]", "one.yaml:16: the task 'wave' does not exist")]
    [InlineData("how: read", "how: heard", "one.yaml:20: the `how` 'heard' does not exist")]
    [InlineData("schedule.max_steps: 7", "schedule.max_step: 7", "one.yaml:12: the option 'schedule.max_step' does not exist")]
    [InlineData("rates: [0.01]", "rates: [fast]", "one.yaml:16: 'fast' is not a number")]
    [InlineData("seeds: [3, 4]", "seeds: [3, 3]", "one.yaml:15: a seed stands there twice")]
    [InlineData("seeds: [3, 4]", "seeds: [3, 1.5]", "one.yaml:15: '1.5' is no seed")]
    [InlineData("rates: [0.01]", "rates: []", "one.yaml:16: a scale has `seeds` and `rates`")]
    [InlineData("name: waves", "name: bit-xor", "one.yaml: `tasks` has 'bit-xor' twice")]
    [InlineData("scales:\n  smoke", "scales:\n  tiny", "the key 'tiny' does not exist here; there are smoke, small, paper")]
    public void What_is_wrong_is_named_by_line(string right, string wrong, string message)
    {
        string text = Good.ReplaceLineEndings("\n");
        Assert.Contains(right, text, StringComparison.Ordinal);
        var error = Assert.Throws<UsageException>(() => StudyReader.Parse(text.Replace(right, wrong, StringComparison.Ordinal), "one.yaml"));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Every_study_has_a_plan_at_each_of_its_scales(string name)
    {
        StudyFile study = StudyCatalog.Find(name);
        if (name != "real-data") Assert.NotEmpty(study.Reproduces);  // what users have is no paper's
        Assert.Equal(["paper", "small", "smoke"], study.Scales.Keys.Order());
        // A hand-written line that a command stands in is one that can be typed.
        Assert.All(study.Scales.Values.SelectMany(scale => scale.Get.Values), command => Assert.StartsWith("permafrost ", command, StringComparison.Ordinal));
        Assert.True(StudyPlan.Of(study, "smoke").Runs > 0);
        foreach (string scale in study.Scales.Keys)
        {
            StudyPlan plan = StudyPlan.Of(study, scale);
            Assert.All(plan.Cells.Where(cell => cell.Missing is null), cell => Assert.NotNull(cell.Options.Schedule.MaxSteps));
            Assert.NotEmpty(plan.Cells);
            // Where nothing runs, commands bring the bodies.
            Assert.True(plan.Runs > 0 || plan.Cells.All(cell => cell.Missing!.Contains("`permafrost ", StringComparison.Ordinal)));
        }
    }

    [Fact]
    public void Standard_errors_and_intervals_are_those_of_the_textbook()
    {
        Estimate three = Estimate.Of([0.5, 0.6, 0.7]);
        Assert.Equal(0.6, three.Mean, 12);
        Assert.Equal(0.1 / Math.Sqrt(3), three.StandardError, 12);
        Assert.Equal(4.303 * 0.1 / Math.Sqrt(3), three.Margin, 12);
        Estimate share = Estimate.OfShare(0.8, 100, isShare: true);
        Assert.Equal((0.04, 0.04 * 1.96), (share.StandardError, share.Margin));
    }
}
