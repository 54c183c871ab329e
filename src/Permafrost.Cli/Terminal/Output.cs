using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Permafrost.Cli.Terminal;

/// <summary>Results go to standard output, everything else to standard error, so that `--json` output can be piped.</summary>
internal static class Output
{
    // A width, in columns, that is enough for any line.
    private const int Unbounded = 100_000;

    // Characters are not escaped (no \u002B for a plus): nothing here ends up in HTML.
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Standard error as a console: colours and live progress only on a terminal, and none with NO_COLOR.</summary>
    public static IAnsiConsole Error { get; } = Create(Console.Error, Console.IsErrorRedirected);

    /// <summary>Standard output as a console.</summary>
    public static IAnsiConsole Result { get; } = Create(Console.Out, Console.IsOutputRedirected);

    /// <summary>Whether a person watches standard error, with room for a progress bar.</summary>
    public static bool Watched => !Console.IsErrorRedirected && Error.Profile.Capabilities.Interactive && Error.Profile.Width >= 60;

    /// <summary>Prints a JSON result.</summary>
    public static void Json(JsonNode json) => Console.Out.WriteLine(json.ToJsonString(Indented));

    /// <summary>Prints a line of the result as it is, markup characters included.</summary>
    public static void Line(string text = "") => Console.Out.WriteLine(text);

    /// <summary>Prints a remark.</summary>
    public static void Note(string text) => Console.Error.WriteLine(text);

    /// <summary>An empty table in the house style.</summary>
    public static Table Table(params string[] columns)
    {
        Table table = new Table().Border(TableBorder.Rounded);
        foreach (string column in columns) table.AddColumn(new TableColumn(Markup.Escape(column)));
        return table;
    }

    /// <summary>Prints a table; where columns would have to be cut within words, a line for each cell instead.</summary>
    public static void Write(Table table)
    {
        RenderOptions options = RenderOptions.Create(Result, Result.Profile.Capabilities);
        bool Fits() => ((IRenderable)table).Measure(options, Unbounded).Min <= Result.Profile.Width;
        if (!Fits())
            foreach (TableColumn column in table.Columns) column.Padding = new Spectre.Console.Padding(1, 0, 0, 0);
        if (Fits())
        {
            Result.Write(table);
            return;
        }
        string[] names = [.. table.Columns.Select(column => Text(column.Header))];
        foreach (TableRow row in table.Rows)
        {
            string[] cells = [.. row.Select(Text)];
            Line($"{names[0]} {cells[0]}".Trim());
            for (int i = 1; i < cells.Length; i++)
                if (cells[i].Length > 0) Line($"  {names[i]} {cells[i]}");
        }

        string Text(IRenderable cell) => string.Concat(cell.Render(options, Unbounded).Where(segment => !segment.IsLineBreak).Select(segment => segment.Text));
    }

    /// <summary>Bytes for people: MiB or GiB.</summary>
    public static string Bytes(long bytes) => bytes >= 1L << 30
        ? FormattableString.Invariant($"{bytes / (double)(1L << 30):F2} GiB")
        : FormattableString.Invariant($"{bytes / (double)(1L << 20):F0} MiB");

    private static IAnsiConsole Create(TextWriter writer, bool redirected)
    {
        var settings = new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) };
        if (redirected) (settings.Ansi, settings.ColorSystem, settings.Interactive) = (AnsiSupport.No, ColorSystemSupport.NoColors, InteractionSupport.No);
        IAnsiConsole console = AnsiConsole.Create(settings);
        // A pipe or file has no width of its own; 80 columns would break the tables of a log.
        if (redirected) console.Profile.Width = 120;
        return console;
    }
}
