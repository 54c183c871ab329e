using System.Globalization;

namespace Permafrost.Training.Options;

/// <summary>What is written down on the way, and when the training stops of itself.</summary>
public sealed record CheckpointOptions
{
    /// <summary>Steps between checkpoints; 0 for none by steps.</summary>
    [Option("write a checkpoint every so many steps; 0 only by time and at the end", Affects.Nothing)]
    public int SaveSteps { get; init; } = 500;

    /// <summary>Minutes between checkpoints; 0 for none by time.</summary>
    [Option("write a checkpoint when so many minutes have passed since the last one; 0 only by steps", Affects.Nothing)]
    public double SaveMinutes { get; init; } = 10;

    /// <summary>Checkpoints kept.</summary>
    [Option("how many checkpoints to keep, the newest ones", Affects.Nothing)]
    public int SaveTotalLimit { get; init; } = 2;

    /// <summary>A time limit: <c>45m</c>, <c>2h</c>, <c>90s</c> or <c>h:mm:ss</c>; null for none.</summary>
    [Option("stop with a checkpoint after this time and exit with 75: 45m, 2h, 90s or h:mm:ss", Affects.Nothing)]
    public string? MaxTime { get; init; }

    /// <summary>Steps between reports.</summary>
    [Option("write loss, gradient norm and rate to metrics.jsonl every so many steps", Affects.Nothing)]
    public int LoggingSteps { get; init; } = 10;

    /// <summary>The run's folder; null for one by the default name.</summary>
    [Option("the run's folder; default runs/<task>-<backbone>-<policy>-s<seed>-<time>", Affects.Nothing)]
    public string? OutputDir { get; init; }

    /// <summary><see cref="MaxTime"/> as a duration; null when there is no limit.</summary>
    /// <exception cref="UsageException">It cannot be read.</exception>
    public TimeSpan? MaxDuration
    {
        get
        {
            if (MaxTime is null) return null;
            // Not TimeSpan.Parse, to which 24:00:00 is 24 days.
            if (MaxTime.Split(':') is [var hours, { Length: 2 } minutes, { Length: 2 } seconds]
                && Digits(hours) is { } h && Digits(minutes) is { } m and < 60 && Digits(seconds) is { } s and < 60 && h + m + s > 0)
                return new TimeSpan(h, m, s);
            double unit = MaxTime.Length == 0 ? 0 : MaxTime[^1] switch { 's' => 1, 'm' => 60, 'h' => 3600, 'd' => 86400, _ => 0 };
            if (unit > 0 && double.TryParse(MaxTime.AsSpan(..^1), NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && number > 0 && number * unit < 1e9)
                return TimeSpan.FromSeconds(number * unit);
            throw new UsageException($"`max_time` '{MaxTime}' is no time; write 90s, 45m, 2h, or 1:30:00 for hours, minutes and seconds");
        }
    }

    /// <summary>Refuses values that cannot be.</summary>
    /// <exception cref="UsageException">One is out of range.</exception>
    public void Validate()
    {
        OptionCheck.Between("save_steps", SaveSteps, 0, int.MaxValue);
        OptionCheck.Between("save_minutes", SaveMinutes, 0, 1e6);
        OptionCheck.Between("save_total_limit", SaveTotalLimit, 1, int.MaxValue);
        OptionCheck.Between("logging_steps", LoggingSteps, 1, int.MaxValue);
        _ = MaxDuration;
    }

    private static int? Digits(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number < 200_000 ? number : null;
}
