namespace Permafrost.Tests;

/// <summary>
/// Tests of what the whole process shares (live tensor count, default random generator, resident memory, environment variables): they run one at a
/// time, after all others.
/// </summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public static class ProcessWide
{
    public const string Name = "process-wide";
}
