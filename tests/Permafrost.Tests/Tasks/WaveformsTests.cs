using System.Globalization;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Tests.Tasks;

/// <summary>Waveforms keeps every task's promises.</summary>
public class WaveformsContract : TaskContract
{
    protected internal override string Name => "waveforms";

    protected override string Line(Batch example) =>
        string.Join(' ', example.Inputs.ToArray<float>().Select(reading => reading.ToString("R", CultureInfo.InvariantCulture)));
}

/// <summary>The readings are the waves that the answers say.</summary>
public class WaveformsTests
{
    [Fact]
    public void A_wave_is_told_from_the_others_by_how_its_readings_are_spread()
    {
        using var scope = torch.NewDisposeScope();
        using TaskData data = new Waveforms().Load(new TaskOptions());
        Batch batch = data.Test!.Get([.. Enumerable.Range(0, 500).Select(i => (long)i)]);
        float[] readings = batch.Inputs.ToArray<float>();
        long[] answers = batch.Targets.ToArray<long>();
        // The fourth moment of a square wave is least, that of a triangle and a sawtooth most, whatever the height and the offset.
        double[] spread = [.. Enumerable.Range(0, 4).Select(shape => answers.Index().Where(pair => pair.Item == shape).Average(pair => Kurtosis(readings.AsSpan(64 * pair.Index, 64).ToArray())))];
        Assert.True(spread[1] < spread[0] && spread[0] < spread[2] && spread[0] < spread[3], string.Join(' ', spread));
        Assert.All(Enumerable.Range(0, 4), shape => Assert.InRange(answers.Count(answer => answer == shape), 90, 160));
    }

    private static double Kurtosis(float[] numbers)
    {
        double mean = numbers.Average(), variance = numbers.Average(number => Math.Pow(number - mean, 2));
        return numbers.Average(number => Math.Pow(number - mean, 4)) / (variance * variance);
    }
}
