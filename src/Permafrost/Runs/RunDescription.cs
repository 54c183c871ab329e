using Permafrost.Formats;
using Permafrost.Training.Options;

namespace Permafrost.Runs;

/// <summary>What a run's folder says about what ran: <c>config.yaml</c>, <c>command.txt</c>, <c>env.json</c>.</summary>
internal static class RunDescription
{
    /// <summary>Describes a run that begins.</summary>
    public static void Write(RunFolder folder, RunOptions options, string command)
    {
        Write(folder, options, new RunHistory(RunsAgain: true, [command]));
        AtomicFile.WriteText(folder.Command, command + "\n");
        RunFolder.WriteJson(Path.Combine(folder.Path, "env.json"), EnvironmentInfo.Collect());
    }

    /// <summary>Other options of the same history.</summary>
    public static void Rewrite(RunFolder folder, RunOptions options) => Write(folder, options, RunHistory.Read(folder));

    /// <summary>
    /// A run that goes on with other steps, or with changes that were allowed, is described by what it goes on with.
    /// </summary>
    /// <param name="folder">The run.</param>
    /// <param name="options">What it goes on with.</param>
    /// <param name="command">The command line.</param>
    /// <param name="step">The step it goes on from.</param>
    /// <param name="validatedHere">Whether that step was validated although it would not have been by the options.</param>
    /// <returns>Whether anything has changed.</returns>
    public static bool GoOn(RunFolder folder, RunOptions options, string command, long step, bool validatedHere)
    {
        // The same things in another place are the same.
        RunOptions saved = folder.ReadOptions().Located();
        saved = saved with { Checkpoints = saved.Checkpoints with { OutputDir = options.Checkpoints.OutputDir } };
        OptionField[] changed = [.. OptionTable.All.Where(field => field.Format(saved) != field.Format(options))];
        AtomicFile.WriteText(folder.Command, (File.Exists(folder.Command) ? File.ReadAllText(folder.Command) : "") + command + "\n");
        if (changed.Length == 0)
        {
            Rewrite(folder, options);
            return false;
        }
        var history = RunHistory.Read(folder);
        // Two courses under one name: to run what is written here again gives neither. So is one with a validation where it first meant to end, which counts for the best.
        bool sameCourse = changed.All(field => field.Affects switch
        {
            Affects.Nothing => true,
            Affects.Place => field.Key != "init_adapter",
            Affects.Length => !options.Schedule.RateDependsOnLength && !validatedHere,
            _ => false,
        });
        static string Named(string text) => text.Length == 0 ? "not set" : text;
        string what = string.Join("; ", changed.Select(field => $"{field.Key} was {Named(field.Format(saved))}, is {Named(field.Format(options))}"));
        Write(folder, options, new RunHistory(history.RunsAgain && sameCourse, [.. history.Events, $"Gone on from step {step} with: {command} ({what})"]));
        return true;
    }

    // The heading of config.yaml is made from the history, and never read.
    private static void Write(RunFolder folder, RunOptions options, RunHistory history)
    {
        history.Write(folder);
        IEnumerable<string> again = history.RunsAgain ? [$"Again: permafrost finetune --config {ShellWord.Quoted(folder.Config)} --output-dir ANOTHER"] : [];
        AtomicFile.WriteText(folder.Config, RunConfig.ToYaml(options, string.Join('\n', history.Events.Take(1).Concat(again).Concat(history.Events.Skip(1)))));
    }
}
