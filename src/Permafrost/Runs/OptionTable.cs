using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Reflection;
using System.Text;
using Permafrost.Training.Options;

namespace Permafrost.Runs;

/// <summary>A group of options: how it is read from, and put into, <see cref="RunOptions"/>.</summary>
/// <param name="Name">The YAML key of the group; empty for what stands outside the groups.</param>
/// <param name="Read">The group of some options.</param>
/// <param name="Write">The options with another group.</param>
/// <param name="Copy">A copy of a group.</param>
internal sealed record OptionGroup(string Name, Func<RunOptions, object> Read, Func<RunOptions, object, RunOptions> Write, Func<object, object> Copy);

/// <summary>One option: its names, its help, and how a text becomes its value.</summary>
public sealed class OptionField
{
    private readonly OptionGroup group;

    internal OptionField(OptionGroup group, PropertyInfo property, OptionAttribute option)
    {
        (this.group, Property, Help, Affects) = (group, property, option.Help, option.Affects);
        Key = option.Key ?? SnakeCase(property.Name);
        DefaultText = IsMap ? "" : Format(new RunOptions());
    }

    /// <summary>YAML key, such as <c>learning_rate</c>.</summary>
    public string Key { get; }

    /// <summary>The YAML key of its group; empty for what stands outside the groups.</summary>
    public string Group => group.Name;

    /// <summary>One line; names of options stand in backticks.</summary>
    public string Help { get; }

    /// <summary>What another value would change.</summary>
    public Affects Affects { get; }

    /// <summary>The property, of the group's record.</summary>
    public PropertyInfo Property { get; }

    /// <summary>The flag, such as <c>--learning-rate</c>, without its dashes in front: they are the command line's.</summary>
    public string Dashed => Key.Replace('_', '-');

    /// <summary>Whether it is true or false.</summary>
    public bool IsSwitch => Property.PropertyType == typeof(bool);

    /// <summary>Whether it is a map, set entry by entry as <c>key.NAME</c>.</summary>
    public bool IsMap => Property.PropertyType == typeof(IReadOnlyDictionary<string, string>);

    /// <summary>The default as text; empty when there is none.</summary>
    public string DefaultText { get; }

    /// <summary>The value in some options.</summary>
    public object? Value(RunOptions options) => Property.GetValue(group.Read(options));

    /// <summary>The value of some options as text; empty for null; a map's entries by name, with commas between them.</summary>
    public string Format(RunOptions options) => Value(options) switch
    {
        null => "",
        bool flag => flag ? "true" : "false",
        double number => number.ToString("R", CultureInfo.InvariantCulture).Replace('E', 'e'),
        IReadOnlyDictionary<string, string> map => string.Join(",", map.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}")),
        object value => Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };

    /// <summary>The options with another value of this one.</summary>
    public RunOptions With(RunOptions options, object? value)
    {
        object copy = group.Copy(group.Read(options));
        Property.SetValue(copy, value);
        return group.Write(options, copy);
    }

    /// <summary>What a text stands for; "null" and the empty text clear an option that may be absent.</summary>
    /// <param name="text">The value.</param>
    /// <param name="where">Names the option or file and line in errors.</param>
    /// <exception cref="UsageException">The text is no value of the option's type.</exception>
    internal object? Parse(string text, string where)
    {
        if (text.Contains('\0', StringComparison.Ordinal)) throw new UsageException($"{where}: the value of {Key} holds a null character");
        Type? inner = Nullable.GetUnderlyingType(Property.PropertyType);
        bool optional = inner is not null || new NullabilityInfoContext().Create(Property).WriteState == NullabilityState.Nullable;
        if (optional && text is "" or "null" or "~") return null;
        if (text.Length == 0 && DefaultText.Length > 0) throw new UsageException($"{where}: the value of {Key} is empty");
        Type type = inner ?? Property.PropertyType;
        if (type == typeof(string)) return text;
        if (type == typeof(bool))
            return text.ToLowerInvariant() switch
            {
                "true" or "yes" or "on" => true,
                "false" or "no" or "off" => false,
                _ => throw new UsageException($"{where}: '{text}' is not true or false"),
            };
        return type == typeof(double) ? Real(text, where) : Whole(text, type, where);
    }

    private static double Real(string text, string where)
    {
        if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)) throw new UsageException($"{where}: '{text}' is not a number");
        if (double.IsFinite(number)) return number;
        if (!text.Any(char.IsAsciiDigit)) throw new UsageException($"{where}: '{text}' is not a number");
        throw TooFar(text, where);
    }

    private static object Whole(string text, Type type, string where)
    {
        if (type == typeof(int) && int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number)) return number;
        if (type == typeof(long) && long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long wide)) return wide;
        string digits = text.StartsWith('-') ? text[1..] : text;
        if (digits.Length > 0 && digits.All(char.IsAsciiDigit)) throw TooFar(text, where);
        throw new UsageException($"{where}: '{text}' is not a whole number");
    }

    // What is a number of the kind, and beyond the type's.
    private static UsageException TooFar(string text, string where) => new($"{where}: '{text}' is {(text[0] == '-' ? "too small" : "too large")}");

    private static string SnakeCase(string name)
    {
        var text = new StringBuilder();
        foreach (char c in name)
        {
            if (char.IsUpper(c) && text.Length > 0) text.Append('_');
            text.Append(char.ToLowerInvariant(c));
        }
        return text.ToString();
    }
}

/// <summary>The options of a run, made from the attributes on <see cref="RunOptions"/> and its groups, and the ways to fill them in.</summary>
public static class OptionTable
{
    // What options were called in files that earlier versions wrote.
    private static readonly Dictionary<string, string> FormerKeys = new() { ["floors"] = "baselines" };

    /// <summary>Every option, group by group, in the order of declaration.</summary>
    public static IReadOnlyList<OptionField> All { get; } =
    [
        .. Fields(typeof(DataOptions), new("data", o => o.Data, (o, g) => o with { Data = (DataOptions)g }, g => (DataOptions)g with { })),
        .. Fields(typeof(ModelOptions), new("model", o => o.Model, (o, g) => o with { Model = (ModelOptions)g }, g => (ModelOptions)g with { })),
        .. Fields(typeof(OptimizerOptions), new("optimizer", o => o.Optimizer, (o, g) => o with { Optimizer = (OptimizerOptions)g }, g => (OptimizerOptions)g with { })),
        .. Fields(typeof(PairOptions), new("contrast", o => o.Contrast, (o, g) => o with { Contrast = (PairOptions)g }, g => (PairOptions)g with { })),
        .. Fields(typeof(ScheduleOptions), new("schedule", o => o.Schedule, (o, g) => o with { Schedule = (ScheduleOptions)g }, g => (ScheduleOptions)g with { })),
        .. Fields(typeof(EvaluationOptions), new("evaluation", o => o.Evaluation, (o, g) => o with { Evaluation = (EvaluationOptions)g }, g => (EvaluationOptions)g with { })),
        .. Fields(typeof(CheckpointOptions), new("checkpoints", o => o.Checkpoints, (o, g) => o with { Checkpoints = (CheckpointOptions)g }, g => (CheckpointOptions)g with { })),
        .. Fields(typeof(RunOptions), new("", o => o, (_, g) => (RunOptions)g, g => (RunOptions)g with { })),
    ];

    /// <summary>The option of a key; null where there is none.</summary>
    public static OptionField? Find(string key) => All.FirstOrDefault(field => field.Key == FormerKeys.GetValueOrDefault(key, key));

    /// <summary>The names of the groups, as in YAML.</summary>
    public static IReadOnlyList<string> Groups { get; } = [.. All.Select(field => field.Group).Where(group => group.Length > 0).Distinct()];

    /// <summary>Sets one option, on a copy.</summary>
    /// <param name="options">The options so far.</param>
    /// <param name="key">A key such as <c>learning_rate</c>, <c>optimizer.learning_rate</c> or <c>task_options.length</c>; dashes will do.</param>
    /// <param name="text">The value.</param>
    /// <param name="where">Names the option or file and line in errors.</param>
    /// <exception cref="UsageException">There is no such option, or the value is not of its type.</exception>
    public static RunOptions With(RunOptions options, string key, string text, string where)
    {
        string[] parts = key.Replace('-', '_').Split('.');
        string? group = parts.Length > 1 && Groups.Contains(parts[0]) ? parts[0] : null;
        if (group is not null) parts = parts[1..];
        OptionField? field = Find(parts[0]);
        if (field is null || (group is not null && field.Group != group))
        {
            string hint = Spelling.Hint(parts[0], All.Select(known => known.Key), "; the help of `permafrost finetune` lists them");
            throw new UsageException($"{where}: the option '{key}' does not exist{hint}");
        }
        if (field.IsMap != parts.Length > 1) throw new UsageException(field.IsMap ? $"{where}: write {field.Key}.NAME=VALUE" : $"{where}: the option '{parts[0]}' has no parts");
        if (!field.IsMap) return field.With(options, field.Parse(text, where));
        var map = (IReadOnlyDictionary<string, string>)field.Value(options)!;
        return field.With(options, new Dictionary<string, string>(map) { [string.Join('.', parts[1..])] = text });
    }

    private static IEnumerable<OptionField> Fields([DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] Type type, OptionGroup group) =>
        type.GetProperties().Where(property => property.GetCustomAttribute<OptionAttribute>() is not null)
            .Select(property => new OptionField(group, property, property.GetCustomAttribute<OptionAttribute>()!));
}
