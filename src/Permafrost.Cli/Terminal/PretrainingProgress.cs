using System.Diagnostics;
using System.Globalization;
using Permafrost.Runs;
using Permafrost.Training;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>Shows a pretraining: a bar with loss, bits per byte, rate and time left on a terminal, plain lines elsewhere.</summary>
internal sealed class PretrainingProgress(ProgressContext? context) : IProgress<PretrainingEvent>
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(10);

    private readonly Stopwatch clock = Stopwatch.StartNew();
    private ProgressTask? bar;
    private TimeSpan? lastLine;
    private (long Step, TimeSpan At)? first;

    /// <summary>Calls a function that trains, and shows its progress.</summary>
    /// <param name="bar">Whether it may be a bar, which only one of several processes on a terminal shows.</param>
    /// <param name="train">The function.</param>
    public static T Show<T>(bool bar, Func<IProgress<PretrainingEvent>, T> train)
    {
        if (!bar || !Output.Watched) return train(new PretrainingProgress(null));
        return Output.Error.Progress().AutoClear(false).HideCompleted(false)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 16 })
            .Start(context => train(new PretrainingProgress(context)));
    }

    public void Report(PretrainingEvent value)
    {
        switch (value)
        {
            case PretrainingNote note: Say(OptionWords.AsFlags(note.Text)); break;
            case PretrainingScored scored: Say(Line(scored)); break;
            case PretrainingReport report: Show(report); break;
        }
    }

    private static string Line(PretrainingScored scored)
    {
        string bits = scored.Score.BitsPerByte is { } number ? string.Create(CultureInfo.InvariantCulture, $"{number:F4} bits per byte, ") : "";
        return string.Create(CultureInfo.InvariantCulture,
            $"step {scored.Step}  held out of {scored.File}: {bits}loss {scored.Score.Loss:F4} over {scored.Score.Answers:N0} tokens");
    }

    private void Show(PretrainingReport value)
    {
        StepReport report = value.Report;
        string bits = value.BitsPerByte is { } number ? string.Create(CultureInfo.InvariantCulture, $" ({number:F3} bits per byte)") : "";
        string line = string.Create(CultureInfo.InvariantCulture, $"loss {report.Loss:F4}{bits}  {report.TokensPerSecond:N0} tokens/s");
        TimeSpan now = clock.Elapsed;
        first ??= (report.Step, now);
        long steps = report.Step - first.Value.Step;
        string left = steps == 0 || report.Step == report.Steps ? "" : $"  {Clock((now - first.Value.At) / steps * (report.Steps - report.Step))} left";
        if (context is not null)
        {
            bar ??= context.AddTask("starting", maxValue: report.Steps);
            bar.Value = report.Step;
            bar.Description = Markup.Escape(line + left);
            return;
        }
        if (now - lastLine < Pause && report.Step < report.Steps) return;
        lastLine = now;
        Output.Note($"step {report.Step}/{report.Steps}  {line}  {Clock(now)}{left}");
    }

    private void Say(string text)
    {
        if (context is null) Output.Note(text);
        else Output.Error.WriteLine(text);
    }

    private static string Clock(TimeSpan time) => FormattableString.Invariant($"{(long)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}");
}
