using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Training;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>Shows a training: a bar with loss, rate and time left on a terminal, plain lines elsewhere.</summary>
internal sealed class TrainingProgress : ITrainingObserver
{
    private readonly ProgressContext? context;
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private ProgressTask? bar;
    private TimeSpan? lastLine;
    private TimeSpan lastProgress;
    private (long Step, TimeSpan At)? first;
    private string score = "";

    private TrainingProgress(ProgressContext? context) => this.context = context;

    /// <summary>Trains under a display.</summary>
    public static JsonObject Train(FinetuneRun run, RunFolder folder, string command, string? checkpoint = null)
    {
        if (!Output.Watched) return run.Train(folder, command, new TrainingProgress(null), CommandLine.Stop, checkpoint);
        return Output.Error.Progress().AutoClear(false).HideCompleted(false)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 16 })
            .Start(context =>
            {
                var progress = new TrainingProgress(context);
                JsonObject results = run.Train(folder, command, progress, CommandLine.Stop, checkpoint);
                progress.Phase("done");
                return results;
            });
    }

    public void Phase(string what)
    {
        lastProgress = clock.Elapsed;
        if (context is null) Output.Note(what);
        else if (bar is not null) bar.Description = Markup.Escape(what);
    }

    public void Progress(string what, double part)
    {
        string text = FormattableString.Invariant($"{what}: {100 * part:F0} %");
        if (bar is not null) bar.Description = Markup.Escape(text);
        else if (context is null && clock.Elapsed - lastProgress >= TimeSpan.FromSeconds(10))
        {
            lastProgress = clock.Elapsed;
            Output.Note(text);
        }
    }

    public void Note(string what)
    {
        if (context is null) Output.Note(what);
        else Output.Error.WriteLine(what);  // above the bar
    }

    public void Started(FinetuneRun run, long steps)
    {
        if (context is not null) bar = context.AddTask("starting", maxValue: steps);
    }

    public void Stepped(StepReport report)
    {
        string loss = double.IsNaN(report.Loss) ? "-" : report.Loss.ToString("F4", CultureInfo.InvariantCulture);
        string line = FormattableString.Invariant($"loss {loss}  {report.TokensPerSecond:N0} tokens/s{score}");
        TimeSpan now = clock.Elapsed;
        string left = Left(report, now) is { } time ? $"  {Clock(time)} left" : "";
        if (bar is not null)
        {
            bar.Value = report.Step;
            bar.Description = Markup.Escape(line + left);
            return;
        }
        // Plain lines: one every ten seconds, and the last.
        if (now - lastLine < TimeSpan.FromSeconds(10) && report.Step < report.Steps) return;
        lastLine = now;
        Output.Note($"step {report.Step}/{report.Steps}  {line}  {Clock(now)}{left}");
    }

    public void Evaluated(string split, long step, Metrics metrics)
    {
        score = FormattableString.Invariant($"  {split} {metrics.Accuracy:P1}");
        if (context is null) Output.Note(FormattableString.Invariant($"step {step}  {split}: accuracy {metrics.Accuracy:F4}, loss {metrics.Loss:F4} over {metrics.Count} examples"));
    }

    // From the steps seen here, since a resumed run did others before, and by a clock that nobody sets; Spectre's own column goes by the time of day.
    private TimeSpan? Left(StepReport report, TimeSpan now)
    {
        first ??= (report.Step, now);
        long steps = report.Step - first.Value.Step;
        return steps == 0 || report.Step == report.Steps ? null : (now - first.Value.At) / steps * (report.Steps - report.Step);
    }

    private static string Clock(TimeSpan time) => FormattableString.Invariant($"{(long)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}");
}
