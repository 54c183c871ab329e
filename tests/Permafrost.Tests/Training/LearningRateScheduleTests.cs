using System.Text.Json.Nodes;
using Permafrost.Training;

namespace Permafrost.Tests.Training;

/// <summary>Schedules against transformers.optimization, within 1e-9 relative, and at points known by hand.</summary>
public class LearningRateScheduleTests
{
    // transformers' function names against ours.
    private static readonly Dictionary<string, string> Names = new()
    {
        ["transformers.get_linear_schedule_with_warmup"] = "linear",
        ["transformers.get_cosine_schedule_with_warmup"] = "cosine",
        ["transformers.get_constant_schedule_with_warmup"] = "constant_with_warmup",
        ["transformers.get_inverse_sqrt_schedule"] = "inverse_sqrt",
    };

    [Fact]
    public void Rates_are_those_of_transformers()
    {
        JsonArray cases = JsonNode.Parse(File.ReadAllText(Repository.Fixture("schedules", "expected.json")))!["cases"]!.AsArray();
        Assert.Equal(Names.Keys.Order(), cases.Select(one => (string)one!["schedule"]!).Distinct().Order());
        foreach (JsonNode? one in cases)
        {
            string name = Names[(string)one!["schedule"]!];
            double[] expected = [.. one["lr_at_step"]!.AsArray().Select(rate => (double)rate!)];
            long total = (long?)one["arguments"]!["num_training_steps"] ?? expected.Length;
            for (int step = 0; step < expected.Length; step++)
            {
                double actual = (double)one["base_lr"]! * LearningRateSchedule.Factor(name, step, (long)one["arguments"]!["num_warmup_steps"]!, total);
                // The last digits of cos() near its zero carry no relative meaning: 1e-15 absolute beside 1e-9 relative.
                Assert.True(Math.Abs(actual - expected[step]) <= 1e-9 * Math.Abs(expected[step]) + 1e-15, $"{name}, step {step}: {actual:G17}, expected {expected[step]:G17}");
            }
        }
    }

    [Fact]
    public void Without_warm_up_every_schedule_starts_at_the_full_rate() =>
        Assert.All(LearningRateSchedule.Names, name => Assert.Equal(1, LearningRateSchedule.Factor(name, 0, 0, 100)));

    [Fact]
    public void Warm_up_rises_from_zero_but_not_for_the_constant_schedule()
    {
        foreach (string name in LearningRateSchedule.Names.Where(name => name != "constant"))
        {
            Assert.Equal(0, LearningRateSchedule.Factor(name, 0, 4, 100));
            Assert.Equal(0.75, LearningRateSchedule.Factor(name, 3, 4, 100));
            Assert.Equal(1, LearningRateSchedule.Factor(name, 4, 4, 100));
        }
        Assert.Equal(1, LearningRateSchedule.Factor("constant", 0, 4, 100));
    }

    [Fact]
    public void Linear_and_cosine_are_at_half_in_the_middle_and_near_zero_at_the_last_step()
    {
        Assert.Equal(0.5, LearningRateSchedule.Factor("linear", 55, 10, 100), 12);
        Assert.Equal(0.5, LearningRateSchedule.Factor("cosine", 55, 10, 100), 12);
        Assert.Equal(1 / 90.0, LearningRateSchedule.Factor("linear", 99, 10, 100), 12);
        Assert.InRange(LearningRateSchedule.Factor("cosine", 99, 10, 100), 0, 0.001);
    }

    [Fact]
    public void No_factor_is_ever_negative_or_above_one()
    {
        foreach (string name in LearningRateSchedule.Names)
            foreach (long warmup in new long[] { 0, 1, 7, 20, 50 })
                for (long step = 0; step < 40; step++)
                    Assert.InRange(LearningRateSchedule.Factor(name, step, warmup, 20), 0, 1);
    }

    [Fact]
    public void An_unknown_name_is_refused_with_those_that_exist()
    {
        string message = Refusal.OfUsage("`lr_scheduler_type` triangular", () => LearningRateSchedule.Factor("triangular", 0, 0, 1));
        Assert.Contains("inverse_sqrt", message, StringComparison.Ordinal);
    }
}
