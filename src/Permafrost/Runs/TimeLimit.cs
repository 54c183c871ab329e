using Permafrost.Training.Options;

namespace Permafrost.Runs;

/// <summary>One limit for all that a run does, from its first training to its last.</summary>
/// <param name="options">What says how long it may take.</param>
/// <param name="clock">Tells how long it has taken.</param>
internal sealed class TimeLimit(CheckpointOptions options, TimeProvider clock)
{
    private readonly long began = clock.GetTimestamp();

    /// <summary>The options for a training that begins now: its limit is the time that is left.</summary>
    public CheckpointOptions Left()
    {
        if (options.MaxDuration is not { } limit) return options;
        // A training without any time stops before its first step, with a checkpoint.
        double seconds = Math.Max(1e-9, (limit - clock.GetElapsedTime(began)).TotalSeconds);
        return options with { MaxTime = FormattableString.Invariant($"{seconds:R}s") };
    }
}
