using System.CommandLine;
using Permafrost.Training;

namespace Permafrost.Cli.Commands;

/// <summary>Options that several verbs share, and the flags made from <see cref="OptionTable"/>.</summary>
internal static class CommonOptions
{
    public static Option<bool> Json() => new("--json") { Description = "print the result as JSON" };

    /// <summary>One flag for each field of the run's options.</summary>
    public static IReadOnlyList<(OptionField Field, Option Option)> RunFlags()
    {
        var flags = new List<(OptionField, Option)>();
        foreach (OptionField field in OptionTable.All)
        {
            if (field.IsMap) continue;
            string fallback = field.DefaultText.Length > 0 && !field.IsSwitch ? $" [default: {field.DefaultText}]" : "";
            if (field.IsSwitch)
            {
                flags.Add((field, new Option<bool?>(field.Flag) { Description = field.Help + $" [default: {(field.DefaultText == "true" ? "on" : "off")}]", Arity = ArgumentArity.ZeroOrOne }));
                flags.Add((field, new Option<bool>("--no-" + field.Flag[2..]) { Description = "the opposite of " + field.Flag, Hidden = true }));
            }
            else flags.Add((field, new Option<string>(field.Flag) { Description = field.Help + fallback, HelpName = HelpName(field) }));
        }
        return flags;
    }

    /// <summary>The options of a command line: those given, then --config, then --set, then flags.</summary>
    public static RunOptions Collect(RunOptions options, ParseResult parsed, IReadOnlyList<(OptionField Field, Option Option)> flags, Option<string[]> config, Option<string[]> set)
    {
        foreach (string path in parsed.GetValue(config) ?? []) options = RunConfig.Load(path, options);
        foreach (string assignment in parsed.GetValue(set) ?? [])
        {
            string[] parts = assignment.Split('=', 2);
            if (parts.Length < 2) throw new UsageException($"--set '{assignment}': write --set key=value");
            options = OptionTable.With(options, parts[0].Trim(), parts[1].Trim(), $"--set {assignment}");
        }
        foreach ((OptionField field, Option option) in flags)
        {
            if (parsed.GetResult(option) is not { Implicit: false }) continue;
            string text = option switch
            {
                Option<bool> off => parsed.GetValue(off) ? "false" : "true",
                Option<bool?> on => parsed.GetValue(on) is false ? "false" : "true",
                Option<string> value => parsed.GetValue(value) ?? "",
                _ => throw new InvalidOperationException(option.Name),
            };
            options = OptionTable.With(options, field.Key, text, field.Flag);
        }
        return options;
    }

    public static Option<string[]> Config() => new("--config") { Description = "a YAML file with options (repeatable, later ones win); flags win over it", HelpName = "FILE" };

    public static Option<string[]> Set() => new("--set") { Description = "one option, as key=value (repeatable), such as task_options.length=8", HelpName = "KEY=VALUE" };

    private static string HelpName(OptionField field)
    {
        Type type = Nullable.GetUnderlyingType(field.Property.PropertyType) ?? field.Property.PropertyType;
        return type == typeof(string) ? "TEXT" : type == typeof(double) ? "NUMBER" : "N";
    }
}
