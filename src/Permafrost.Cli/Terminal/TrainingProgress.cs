using System.Diagnostics;
using System.Globalization;
using Permafrost.Kernels;
using Permafrost.Runs;
using Permafrost.Training;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>Shows a training: a bar with loss, rate and time left on a terminal, plain lines elsewhere.</summary>
internal sealed class TrainingProgress : IProgress<TrainingEvent>
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(10);

    private readonly ProgressContext? context;
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private ProgressTask? bar;
    private TimeSpan? lastLine;
    private TimeSpan lastProgress;
    private (long Step, TimeSpan At)? first;
    private string score = "";

    private TrainingProgress(ProgressContext? context) => this.context = context;

    /// <summary>Trains a run and shows its progress.</summary>
    public static RunResult Train(Finetuning run, RunFolder folder, string command, StopRequest stop, string? checkpoint = null) =>
        Show(progress => run.Train(folder, command, progress, stop, checkpoint));

    /// <summary>Calls a function that trains, and shows its progress.</summary>
    public static T Show<T>(Func<IProgress<TrainingEvent>, T> train)
    {
        if (!Output.Watched) return train(new TrainingProgress(null));
        return Output.Error.Progress().AutoClear(false).HideCompleted(false)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 16 })
            .Start(context =>
            {
                var progress = new TrainingProgress(context);
                T result = train(progress);
                progress.Report(new PhaseStarted("done"));
                return result;
            });
    }

    public void Report(TrainingEvent value)
    {
        switch (value)
        {
            case PhaseStarted phase: ShowPhase(phase.What); break;
            case PhaseProgress part: ShowPart(part); break;
            case TrainingNote note: ShowNote(OptionWords.AsFlags(note.Text)); break;
            case TrainingStarted started when context is not null: bar = context.AddTask("starting", maxValue: started.Steps); break;
            case StepReport report: ShowStep(report); break;
            case SplitScored scored: ShowScores(scored); break;
        }
    }

    private void ShowPhase(string what)
    {
        lastProgress = clock.Elapsed;
        if (context is null) Output.Note(what);
        else if (bar is not null) bar.Description = Markup.Escape(what);
    }

    private void ShowPart(PhaseProgress part)
    {
        string text = FormattableString.Invariant($"{part.What}: {100 * part.Part:F0} %");
        if (bar is not null) bar.Description = Markup.Escape(text);
        else if (context is null && clock.Elapsed - lastProgress >= Pause)
        {
            lastProgress = clock.Elapsed;
            Output.Note(text);
        }
    }

    private void ShowNote(string text)
    {
        if (context is null) Output.Note(text);
        else Output.Error.WriteLine(text);  // above the bar
    }

    private void ShowStep(StepReport report)
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
        // Without a bar: a line every ten seconds, and one for the last step.
        if (now - lastLine < Pause && report.Step < report.Steps) return;
        lastLine = now;
        Output.Note($"step {report.Step}/{report.Steps}  {line}  {Clock(now)}{left}");
    }

    private void ShowScores(SplitScored scored)
    {
        KeyValuePair<string, double> main = scored.Scores.Values.First();
        score = $"  {scored.Split} {ResultTable.Number(main.Key, main.Value)}";
        if (context is not null) return;
        Output.Note(string.Create(CultureInfo.InvariantCulture,
            $"step {scored.Step}  {scored.Split}: {main.Key} {main.Value:F4}, loss {scored.Scores.Loss:F4} over {scored.Scores.Count} examples"));
    }

    // Computed from the steps of this process alone, since a resumed run did others before, and by a monotonic clock; Spectre's own column uses the time of day.
    private TimeSpan? Left(StepReport report, TimeSpan now)
    {
        first ??= (report.Step, now);
        long steps = report.Step - first.Value.Step;
        return steps == 0 || report.Step == report.Steps ? null : (now - first.Value.At) / steps * (report.Steps - report.Step);
    }

    private static string Clock(TimeSpan time) => FormattableString.Invariant($"{(long)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}");
}
