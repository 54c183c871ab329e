using System.Diagnostics;
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
    private double lastLine = double.NegativeInfinity;
    private long firstStep = -1;
    private string score = "";

    private TrainingProgress(ProgressContext? context) => this.context = context;

    /// <summary>Trains under a display.</summary>
    public static JsonObject Train(FinetuneRun run, RunFolder folder, string command, string? checkpoint = null)
    {
        if (!Output.Watched) return run.Train(folder, command, new TrainingProgress(null), CommandLine.Stop, checkpoint);
        return Output.Error.Progress().AutoClear(false).HideCompleted(false)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 24 }, new PercentageColumn(), new RemainingTimeColumn())
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
        if (context is null) Output.Note(what);
        else if (bar is not null) bar.Description = Markup.Escape(what);
    }

    public void Started(FinetuneRun run, long steps)
    {
        if (context is not null) bar = context.AddTask("starting", maxValue: steps);
    }

    public void Stepped(StepReport report)
    {
        string line = FormattableString.Invariant($"loss {report.Loss:F4}  {report.TokensPerSecond:N0} tokens/s{score}");
        if (bar is not null)
        {
            bar.Value = report.Step;
            bar.Description = Markup.Escape(line);
            return;
        }
        // Plain lines: one every ten seconds, and the last.
        double now = clock.Elapsed.TotalSeconds;
        if (firstStep < 0) (firstStep, lastLine) = (report.Step, double.NegativeInfinity);
        if (now - lastLine < 10 && report.Step < report.Steps) return;
        lastLine = now;
        double left = now / Math.Max(1, report.Step - firstStep + 1) * (report.Steps - report.Step);
        Output.Note(FormattableString.Invariant($"step {report.Step}/{report.Steps}  {line}  {now:F0} s, {left:F0} s left"));
    }

    public void Evaluated(string split, long step, Metrics metrics)
    {
        score = FormattableString.Invariant($"  {split} {metrics.Accuracy:P1}");
        if (context is null) Output.Note(FormattableString.Invariant($"step {step}  {split}: accuracy {metrics.Accuracy:F4}, loss {metrics.Loss:F4} over {metrics.Count} examples"));
    }
}
