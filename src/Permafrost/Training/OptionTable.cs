using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Reflection;
using System.Text;

namespace Permafrost.Training;

/// <summary>One option: its names, its help, and how a text becomes its value.</summary>
/// <param name="Key">YAML key, such as <c>learning_rate</c>.</param>
/// <param name="Help">One line.</param>
/// <param name="Property">The field of <see cref="RunOptions"/>.</param>
public sealed record OptionField(string Key, string Help, PropertyInfo Property)
{
    /// <summary>The flag, such as <c>--learning-rate</c>.</summary>
    public string Flag => "--" + Key.Replace('_', '-');

    /// <summary>Whether it is a flag without a value.</summary>
    public bool IsSwitch => Property.PropertyType == typeof(bool);

    /// <summary>Whether it is a map, set entry by entry as <c>key.NAME</c>.</summary>
    public bool IsMap => Property.PropertyType == typeof(IReadOnlyDictionary<string, string>);

    /// <summary>The default as text; empty when there is none.</summary>
    public string DefaultText => IsMap ? "" : Format(new RunOptions());

    /// <summary>The value of some options as text; empty for null.</summary>
    public string Format(RunOptions options) => Property.GetValue(options) switch
    {
        null => "",
        bool flag => flag ? "true" : "false",
        double number => number.ToString("R", CultureInfo.InvariantCulture).Replace('E', 'e'),
        object value => Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };

    /// <summary>The value as text, maps included.</summary>
    internal string FormatAny(RunOptions options) => !IsMap ? Format(options)
        : string.Join(",", ((IReadOnlyDictionary<string, string>)Property.GetValue(options)!).OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}"));

    /// <summary>Sets the option from text; "null" and the empty text clear an option that may be absent.</summary>
    /// <param name="options">Changed in place: only <see cref="OptionTable"/> calls this, on options of its own.</param>
    /// <param name="text">The value.</param>
    /// <param name="where">Names the flag or file and line in errors.</param>
    /// <exception cref="UsageException">The text is no value of the option's type.</exception>
    internal void Set(RunOptions options, string text, string where)
    {
        if (text.Contains('\0', StringComparison.Ordinal)) throw new UsageException($"{where}: the value of {Key} holds a null character");
        Type? inner = Nullable.GetUnderlyingType(Property.PropertyType);
        bool optional = inner is not null || new NullabilityInfoContext().Create(Property).WriteState == NullabilityState.Nullable;
        if (optional && text is "" or "null" or "~") { Property.SetValue(options, null); return; }
        if (text.Length == 0 && DefaultText.Length > 0) throw new UsageException($"{where}: the value of {Key} is empty");
        Type type = inner ?? Property.PropertyType;
        NumberStyles real = NumberStyles.Float;
        object? value =
            type == typeof(string) ? text
            : type == typeof(int) ? int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int i) ? i : null
            : type == typeof(long) ? long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long l) ? l : null
            : type == typeof(double) ? double.TryParse(text, real, CultureInfo.InvariantCulture, out double d) && double.IsFinite(d) ? d : null
            : type == typeof(bool) ? text.ToLowerInvariant() switch { "true" or "yes" or "on" => true, "false" or "no" or "off" => false, _ => null }
            : throw new InvalidOperationException($"options of type {type} are not known");
        string wanted = type == typeof(bool) ? "true or false" : type == typeof(double) ? "a number" : "a whole number";
        // What is a number of the kind, and beyond the type's.
        bool beyond = value is null && (type == typeof(double) ? double.TryParse(text, real, CultureInfo.InvariantCulture, out double number) && double.IsInfinity(number) && text.Any(char.IsAsciiDigit) : type != typeof(bool) && text.Length > 1 && text.TrimStart('-').All(char.IsAsciiDigit) && text.Count(c => c == '-') <= 1 && text.Any(char.IsAsciiDigit));
        Property.SetValue(options, value ?? throw new UsageException($"{where}: '{text}' is {(!beyond ? $"not {wanted}" : text[0] == '-' ? "too small" : "too large")}"));
    }
}

/// <summary>The fields of <see cref="RunOptions"/> as options, and the ways to fill them in.</summary>
public static class OptionTable
{
    /// <summary>Every option, in the order of declaration.</summary>
    public static IReadOnlyList<OptionField> All { get; } = Build(typeof(RunOptions));

    /// <summary>Sets one option, on a copy.</summary>
    /// <param name="options">The options so far.</param>
    /// <param name="key">A key such as <c>learning_rate</c> or <c>task_options.length</c>; dashes will do.</param>
    /// <param name="text">The value.</param>
    /// <param name="where">Names the flag or file and line in errors.</param>
    /// <exception cref="UsageException">There is no such option, or the value is not of its type.</exception>
    public static RunOptions With(RunOptions options, string key, string text, string where)
    {
        string[] parts = key.Replace('-', '_').Split('.', 2);
        OptionField field = All.FirstOrDefault(known => known.Key == parts[0]) ?? throw new UsageException($"{where}: the option '{key}' does not exist{Spelling.Hint(parts[0], All.Select(known => known.Key), "; `permafrost finetune --help` lists them")}");
        if (field.IsMap != parts.Length > 1) throw new UsageException(field.IsMap ? $"{where}: write {field.Key}.NAME=VALUE" : $"{where}: the option '{parts[0]}' has no parts");
        RunOptions copy = options with { };
        if (field.IsMap)
        {
            field.Property.SetValue(copy, new Dictionary<string, string>((IReadOnlyDictionary<string, string>)field.Property.GetValue(copy)!) { [parts[1]] = text });
            return copy;
        }
        field.Set(copy, text, where);
        return copy;
    }

    private static OptionField[] Build([DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] Type type) =>
        [.. type.GetProperties().Where(property => property.GetCustomAttribute<OptionAttribute>() is not null)
            .Select(property => new OptionField(SnakeCase(property.Name), property.GetCustomAttribute<OptionAttribute>()!.Help, property))];

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
