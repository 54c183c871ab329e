using System.CommandLine;
using Permafrost.Cli.Terminal;
using Permafrost.Runs;

namespace Permafrost.Cli.Commands;

/// <summary>One flag for each of a run's options, made from <see cref="OptionTable"/>, with --config and --set.</summary>
internal sealed class RunFlags
{
    private readonly List<(OptionField Field, Option Option)> flags = [];
    private readonly Option<string[]> config = new("--config") { Description = "a YAML file with options (repeatable, later ones win); flags win over it", HelpName = "FILE" };
    private readonly Option<string[]> set = new("--set") { Description = "one option, as key=value (repeatable), such as task_options.length=8", HelpName = "KEY=VALUE" };

    public RunFlags()
    {
        foreach (OptionField field in OptionTable.All.Where(field => !field.IsMap))
        {
            string help = OptionWords.AsFlags(field.Help);
            if (!field.IsSwitch)
            {
                string fallback = field.DefaultText.Length > 0 ? $" [default: {field.DefaultText}]" : "";
                flags.Add((field, new Option<string>($"--{field.Dashed}") { Description = help + fallback, HelpName = HelpName(field) }));
                continue;
            }
            string off = field.DefaultText == "true" ? $"; --no-{field.Dashed} turns it off [default: on]" : " [default: off]";
            flags.Add((field, new Option<bool?>($"--{field.Dashed}") { Description = help + off, Arity = ArgumentArity.ZeroOrOne }));
            flags.Add((field, new Option<bool>($"--no-{field.Dashed}") { Description = $"the opposite of --{field.Dashed}", Hidden = true }));
        }
    }

    public void AddTo(Command command)
    {
        foreach ((_, Option option) in flags) command.Add(option);
        command.Add(config);
        command.Add(set);
    }

    /// <summary>The options of a command line: those given, then --config, then --set, then flags.</summary>
    public RunOptions Collect(RunOptions options, ParseResult parsed)
    {
        foreach (string path in parsed.GetValue(config) ?? []) options = RunConfig.Load(path, options);
        foreach (string assignment in parsed.GetValue(set) ?? [])
        {
            string[] parts = assignment.Split('=', 2);
            if (parts.Length < 2) throw new UsageException($"--set '{assignment}': write --set key=value");
            options = OptionTable.With(options, parts[0].Trim(), parts[1].Trim(), $"--set {assignment}");
        }
        foreach ((OptionField field, Option option) in flags)
            if (parsed.GetResult(option) is { Implicit: false }) options = OptionTable.With(options, field.Key, Text(parsed, option), $"--{field.Dashed}");
        return options;
    }

    private static string Text(ParseResult parsed, Option option) => option switch
    {
        Option<bool> off => parsed.GetValue(off) ? "false" : "true",
        Option<bool?> on => parsed.GetValue(on) is false ? "false" : "true",
        Option<string> value => parsed.GetValue(value) ?? "",
        _ => throw new InvalidOperationException(option.Name),
    };

    private static string HelpName(OptionField field)
    {
        Type type = Nullable.GetUnderlyingType(field.Property.PropertyType) ?? field.Property.PropertyType;
        return type == typeof(string) ? "TEXT" : type == typeof(double) ? "NUMBER" : "N";
    }
}
