using Permafrost.Tasks.Metrics;

namespace Permafrost.Training;

/// <summary>Something that a training tells whoever watches it, from the thread that trains.</summary>
public abstract record TrainingEvent;

/// <summary>Something that takes a while begins.</summary>
/// <param name="What">In a few words.</param>
public sealed record PhaseStarted(string What) : TrainingEvent;

/// <summary>A part of the present phase is done.</summary>
/// <param name="What">In a few words.</param>
/// <param name="Part">From 0 to 1.</param>
public sealed record PhaseProgress(string What, double Part) : TrainingEvent;

/// <summary>Something worth knowing that stays to be read.</summary>
/// <param name="Text">A sentence.</param>
public sealed record TrainingNote(string Text) : TrainingEvent;

/// <summary>The first step is about to begin.</summary>
/// <param name="Step">Updates done before, where it goes on from a checkpoint.</param>
/// <param name="Steps">Updates in all.</param>
public sealed record TrainingStarted(long Step, long Steps) : TrainingEvent;

/// <summary>A report that is due every so many steps.</summary>
/// <param name="Step">Updates done.</param>
/// <param name="Steps">Updates in all.</param>
/// <param name="Loss">Mean training loss over the steps since the last report that had answers; NaN where none had.</param>
/// <param name="GradientNorm">Mean gradient norm before clipping, likewise.</param>
/// <param name="LearningRate">The rate of the last update.</param>
/// <param name="TokensPerSecond">Since the last report.</param>
/// <param name="DataSeconds">Seconds spent waiting for data since the last report.</param>
public sealed record StepReport(long Step, long Steps, double Loss, double GradientNorm, double LearningRate, double TokensPerSecond, double DataSeconds) : TrainingEvent;

/// <summary>A split was scored.</summary>
/// <param name="Split"><c>validation</c> or <c>test</c>.</param>
/// <param name="Step">Updates done.</param>
/// <param name="Scores">The scores.</param>
public sealed record SplitScored(string Split, long Step, Scores Scores) : TrainingEvent;
