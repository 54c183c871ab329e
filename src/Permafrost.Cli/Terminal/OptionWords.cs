using System.CommandLine;
using System.Text.RegularExpressions;
using Permafrost.Runs;

namespace Permafrost.Cli.Terminal;

/// <summary>The library names options in backticks, as in YAML: here they are the flags that a reader would type.</summary>
internal static partial class OptionWords
{
    /// <summary>A sentence with flags: `max_steps` becomes --max-steps, and `shuffle` off becomes --no-shuffle.</summary>
    /// <param name="text">A sentence of the library.</param>
    /// <param name="command">The verb, whose own options are known beside a run's; null for none.</param>
    public static string AsFlags(string text, Command? command = null)
    {
        bool Known(string key) => OptionTable.Find(key) is not null || command?.Options.Any(option => option.Name == Dashed(key)) == true;
        text = Off().Replace(text, match => OptionTable.Find(match.Groups["key"].Value) is { IsSwitch: true } field ? $"--no-{field.Dashed}" : match.Value);
        return Word().Replace(text, match => Known(match.Groups["key"].Value) ? Dashed(match.Groups["key"].Value) : match.Value);
    }

    private static string Dashed(string key) => "--" + key.Replace('_', '-');

    [GeneratedRegex("`(?<key>[a-z][a-z_0-9]*)` off")]
    private static partial Regex Off();

    [GeneratedRegex("`(?<key>[a-z][a-z_0-9]*)`")]
    private static partial Regex Word();
}
