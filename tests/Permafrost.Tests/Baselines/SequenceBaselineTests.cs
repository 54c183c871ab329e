using System.Globalization;
using Permafrost.Baselines;
using Permafrost.Data;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Tests.Baselines;

/// <summary>What is tried on series and on sequences of ids before a frozen body: it learns what is there, and nothing else, the same every time.</summary>
[Trait("tier", "long")]
public sealed class SequenceBaselineTests : IDisposable
{
    private static readonly IStrongBaseline[] OfSeries = [new NearestNeighbourBaseline(), new RandomConvolutionsBaseline()];

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    // Waves of two channels, of differing lengths and phases: the second channel is noise, and the first one's pace tells the class.
    private TaskData Waves(Func<int, CounterRandom, string> answer, string kind = "class")
    {
        string Line(int i)
        {
            var random = new CounterRandom("waves", 0, i);
            (int steps, double phase, double pace) = (40 + random.Next(20), 6 * random.NextDouble(), i % 2 == 0 ? 0.3 : 0.45);
            string Joined(Func<int, double> value) => string.Join(',', Enumerable.Range(0, steps).Select(t => value(t).ToString("F3", CultureInfo.InvariantCulture)));
            double[] noise = [.. Enumerable.Range(0, 2 * steps).Select(_ => random.NextDouble() - 0.5)];
            return $"{Joined(t => Math.Sin(pace * t + phase) + 0.4 * noise[t])}:{Joined(t => noise[steps + t])}:{answer(i, random)}\n";
        }
        string path = folder.Write("waves.ts", "@data\n" + string.Concat(Enumerable.Range(0, 300).Select(Line)));
        var options = new TaskOptions(path, Settings: new Dictionary<string, string> { ["answer"] = kind }) { ValidationFraction = 0.2, TestFraction = 0.3 };
        return new TimeSeriesTask().Load(options);
    }

    private static string Pace(int row, CounterRandom random) => row % 2 == 0 ? "slow" : "fast";

    [Fact]
    public void Waves_are_told_by_their_pace_whatever_their_length()
    {
        using TaskData data = Waves(Pace);
        foreach (IStrongBaseline baseline in OfSeries)
        {
            Assert.True(baseline.AppliesTo(data.Spec));
            BaselineScore score = baseline.Score(data, 0, Cancellation)!;
            Assert.InRange(score.Test!.Value, 0.9, 1);
            Assert.Equal(score, baseline.Score(data, 0, Cancellation));
        }
    }

    [Fact]
    public void Labels_at_random_are_a_guess()
    {
        using TaskData data = Waves((_, random) => random.Next(2) == 0 ? "a" : "b");
        foreach (IStrongBaseline baseline in OfSeries) Assert.InRange(baseline.Score(data, 0, Cancellation)!.Test!.Value, 0.25, 0.75);
    }

    [Fact]
    public void Numbers_are_answered_better_than_by_their_mean()
    {
        using TaskData data = Waves((row, _) => row % 2 == 0 ? "10" : "20", "number");
        foreach (IStrongBaseline baseline in OfSeries)
        {
            Assert.True(baseline.AppliesTo(data.Spec));
            Assert.InRange(baseline.Score(data, 0, Cancellation)!.Test!.Value, 0, 0.8 * TrivialBaselines.Measure(data)["mean"]);
        }
    }

    [Fact]
    public void Other_tasks_have_none()
    {
        var table = new TaskSpec(new VectorInput(1, 3), new ClassOutput(2));
        Assert.All(OfSeries, baseline => Assert.False(baseline.AppliesTo(table)));
        Assert.False(new KMerBaseline().AppliesTo(table));
        using var stopped = new CancellationTokenSource();
        stopped.Cancel();
        using TaskData data = Waves(Pace);
        Assert.All(OfSeries, baseline => Assert.ThrowsAny<OperationCanceledException>(() => baseline.Score(data, 0, stopped.Token)));
    }

    [Theory]
    [InlineData(new float[] { 0, 1, 3 }, new float[] { 0, 2, 5 }, 0, 5)]
    [InlineData(new float[] { 0, 0, 1, 2 }, new float[] { 0, 1, 2, 2 }, 0, 2)]
    [InlineData(new float[] { 0, 0, 1, 2 }, new float[] { 0, 1, 2, 2 }, 0.3, 0)]
    [InlineData(new float[] { 0, 1, 2 }, new float[] { 0, 0, 1, 1, 2 }, 0, 0)]
    [InlineData(new float[] { 0, 4, 0 }, new float[] { 1, 4 }, 1, 17)]
    public void Series_are_bent_in_time_no_more_than_is_allowed(float[] one, float[] other, double share, double distance)
    {
        double Of(float[] a, float[] b, int channels, double limit = double.PositiveInfinity) => NearestNeighbourBaseline.Distance(new Steps(a, channels), new Steps(b, channels), share, limit);
        Assert.Equal(distance, Of(one, other, 1), 1e-12);
        Assert.Equal(distance, Of(other, one, 1), 1e-12);
        // A second channel that says the same again.
        static float[] Twice(float[] values) => [.. values.SelectMany(value => new[] { value, value })];
        Assert.Equal(2 * distance, Of(Twice(one), Twice(other), 2), 1e-12);
        if (distance > 0) Assert.Equal(double.PositiveInfinity, Of(one, other, 1, limit: distance / 1000));
    }

    [Fact]
    public void Kernels_respond_to_series_shorter_than_they_reach()
    {
        var kernels = new ConvolutionKernels(50, 100, 3, 1);
        var features = new float[kernels.Features];
        foreach (int steps in new[] { 1, 2, 7, 100 })
        {
            kernels.Apply(new Steps([.. Enumerable.Range(0, 3 * steps).Select(i => (float)Math.Sin(i))], 3), features);
            Assert.All(features, feature => Assert.True(float.IsFinite(feature)));
            Assert.All(features.Where((_, i) => i % 2 == 1), share => Assert.InRange(share, 0, 1));
        }
    }

    [Fact]
    public void Sequences_are_told_by_what_stands_side_by_side()
    {
        // As many of each letter in both: the order alone tells.
        string Line(int i)
        {
            var random = new CounterRandom("letters", 0, i);
            string pair = i % 2 == 0 ? "ACACAC" : "CCCAAA";
            string Noise() => string.Concat(Enumerable.Range(0, 5 + random.Next(10)).Select(_ => "GKLMN"[random.Next(5)]));
            return $">s{i} {(i % 2 == 0 ? "woven" : "parted")}\n{Noise()}{pair}{Noise()}\n";
        }
        string path = folder.Write("own.fasta", string.Concat(Enumerable.Range(0, 300).Select(Line)));
        using TaskData data = new FastaTask().Load(new TaskOptions(path) { ValidationFraction = 0.2, TestFraction = 0.3 });
        Assert.True(new KMerBaseline().AppliesTo(data.Spec));
        BaselineScore score = new KMerBaseline().Score(data, 0, Cancellation)!;
        Assert.InRange(score.Test!.Value, 0.95, 1);
        Assert.StartsWith("k-mers 1-", score.Settings, StringComparison.Ordinal);
        Assert.Equal(score, new KMerBaseline().Score(data, 0, Cancellation));
    }
}
