using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>Results go to standard output, everything else to standard error, so that `--json` output can be piped.</summary>
internal static class Output
{
    // Paths and texts as they are, not \u002B for a plus: nothing here ends up in HTML.
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Standard error as a console: colours and live progress only on a terminal, and none with NO_COLOR.</summary>
    public static IAnsiConsole Error { get; } = Create(Console.Error, Console.IsErrorRedirected);

    /// <summary>Standard output as a console.</summary>
    public static IAnsiConsole Result { get; } = Create(Console.Out, Console.IsOutputRedirected);

    /// <summary>Whether a person watches standard error.</summary>
    public static bool Watched => !Console.IsErrorRedirected && Error.Profile.Capabilities.Interactive;

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

    /// <summary>Prints a table.</summary>
    public static void Write(Table table) => Result.Write(table);

    /// <summary>Bytes for people: MiB or GiB.</summary>
    public static string Bytes(long bytes) => bytes >= 1L << 30 ? FormattableString.Invariant($"{bytes / (double)(1L << 30):F2} GiB") : FormattableString.Invariant($"{bytes / (double)(1L << 20):F0} MiB");

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
