using System.CommandLine;

namespace Permafrost.Cli.Commands;

/// <summary>Options that several verbs share.</summary>
internal static class CommonOptions
{
    public static Option<bool> Json() => new("--json") { Description = "print the result as JSON" };

    public static Option<string?> Backbone() => new("--backbone") { Description = "the run's backbone, where it is no longer where the run found it", HelpName = "REF" };

    public static Option<int> EvalBatch() => new("--per-device-eval-batch-size") { Description = "examples a batch", DefaultValueFactory = _ => 64 };

    /// <exception cref="UsageException">It is less than 1.</exception>
    public static int Checked(int batchSize) => batchSize >= 1 ? batchSize : throw new UsageException($"--per-device-eval-batch-size is {batchSize}; it must be at least 1");
}
