using System.Diagnostics;
using Permafrost.Formats.Web;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>Shows downloads: a bar for each file on a terminal; elsewhere a line for each file, and one every ten seconds.</summary>
internal sealed class DownloadLines : IProgress<DownloadProgress>
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(10);

    private readonly ProgressContext? context;
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private ProgressTask? bar;
    private string file = "";

    private DownloadLines(ProgressContext? context) => this.context = context;

    /// <summary>Calls a function that downloads, and shows its progress.</summary>
    public static Task<T> ShowAsync<T>(Func<IProgress<DownloadProgress>, Task<T>> download) => !Output.Watched ? download(new DownloadLines(null))
        : Output.Error.Progress().AutoClear(false).HideCompleted(false)
            .Columns(
                new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 16 },
                new DownloadedColumn(), new TransferSpeedColumn(), new RemainingTimeColumn())
            .StartAsync(context => download(new DownloadLines(context)));

    public void Report(DownloadProgress value)
    {
        bool isNew = value.File != file;
        file = value.File;
        if (context is not null) Draw(value, isNew);
        else if (isNew) Say($"fetching {file}{(value.Total is >= 1 << 20 and var total ? $" ({Output.Bytes(total)})" : "")}");
        else if (clock.Elapsed >= Pause) Say($"{file}: {Output.Bytes(value.Bytes)}{(value.Total is { } whole ? $" of {Output.Bytes(whole)}" : "")}");
    }

    private void Draw(DownloadProgress value, bool isNew)
    {
        if (isNew) bar = context!.AddTask(Markup.Escape(file[(file.LastIndexOf('/') + 1)..]));
        bar!.MaxValue = Math.Max(value.Total ?? value.Bytes, 1);
        bar.Value = value.Bytes;
    }

    private void Say(string text)
    {
        clock.Restart();
        Output.Note(text);
    }
}
