using System.Globalization;
using System.Reflection;
using System.Text;
using Permafrost.Pretraining;
using Permafrost.Training.Options;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Permafrost.Runs;

/// <summary>One option of a pretraining: its names, its help, and how a text becomes its value.</summary>
/// <param name="Property">The property, of <see cref="PretrainingOptions"/>.</param>
/// <param name="Help">One line.</param>
/// <param name="Affects">What another value would change.</param>
public sealed record PretrainingOptionField(PropertyInfo Property, string Help, Affects Affects)
{
    /// <summary>YAML key.</summary>
    public string Key { get; } = Snake(Property.Name);

    /// <summary>The flag without its dashes in front.</summary>
    public string Dashed => Key.Replace('_', '-');

    /// <summary>Whether it is true or false.</summary>
    public bool IsSwitch => Property.PropertyType == typeof(bool);

    /// <summary>The value in some options as text; empty for null.</summary>
    public string Format(PretrainingOptions options) => Property.GetValue(options) switch
    {
        null => "",
        bool flag => flag ? "true" : "false",
        double number => number.ToString("R", CultureInfo.InvariantCulture).Replace('E', 'e'),
        object value => Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };

    private static string Snake(string name)
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

/// <summary>The options of a pretraining, made from the attributes on <see cref="PretrainingOptions"/>, as flags and as YAML.</summary>
public static class PretrainingOptionTable
{
    /// <summary>Every option, in the order of declaration.</summary>
    public static IReadOnlyList<PretrainingOptionField> All { get; } =
        [.. typeof(PretrainingOptions).GetProperties().Select(property => (property, property.GetCustomAttribute<OptionAttribute>()))
            .Where(pair => pair.Item2 is not null).Select(pair => new PretrainingOptionField(pair.property, pair.Item2!.Help, pair.Item2.Affects))];

    /// <summary>The options with one of them set from a text.</summary>
    /// <param name="options">The others.</param>
    /// <param name="key">Its key.</param>
    /// <param name="text">Its value; <c>null</c> clears one that may be absent.</param>
    /// <param name="where">Names the flag, or file and line, in errors.</param>
    /// <exception cref="UsageException">There is no such option, or the text is no value of it.</exception>
    public static PretrainingOptions With(PretrainingOptions options, string key, string text, string where)
    {
        PretrainingOptionField field = All.FirstOrDefault(one => one.Key == key || one.Dashed == key)
            ?? throw new UsageException($"{where}: there is no option '{key}'{Spelling.Hint(key, All.Select(one => one.Key), "; `permafrost pretrain` has a list in its help")}");
        PretrainingOptions copy = options with { };
        field.Property.SetValue(copy, Parse(field, text, where));
        return copy;
    }

    /// <summary>The options in a YAML file of <c>key: value</c> lines; a list stands for its entries with commas between them, and may hold commas within them.</summary>
    /// <exception cref="PermafrostException">It cannot be read.</exception>
    /// <exception cref="UsageException">It holds something else, or an option that does not exist.</exception>
    public static PretrainingOptions Load(string path, PretrainingOptions options)
    {
        var stream = new YamlStream();
        try
        {
            stream.Load(new StringReader(File.ReadAllText(path)));
        }
        catch (Exception error) when (Formats.ReadFailure.Is(error))
        {
            throw Formats.ReadFailure.Of(path, error);
        }
        catch (YamlException error)
        {
            throw new UsageException($"{path}:{error.Start.Line}: not valid YAML");
        }
        if (stream.Documents is not [{ RootNode: YamlMappingNode root }]) throw new UsageException($"{path} must hold `key: value` lines");
        foreach ((YamlNode key, YamlNode value) in root.Children)
        {
            string where = $"{path}:{key.Start.Line}";
            string text = value switch
            {
                YamlScalarNode scalar => scalar.Value ?? "",
                YamlSequenceNode list when list.Children.All(one => one is YamlScalarNode) =>
                    string.Join(",", list.Children.Select(one => PretrainingOptions.Entry(((YamlScalarNode)one).Value ?? ""))),
                _ => throw new UsageException($"{where}: a single value or a list of them is needed here"),
            };
            options = With(options, ((YamlScalarNode)key).Value ?? "", text, where);
        }
        return options;
    }

    /// <summary>The options as YAML, every one written out.</summary>
    /// <param name="options">The options.</param>
    /// <param name="header">Becomes comment lines.</param>
    public static string ToYaml(PretrainingOptions options, string header)
    {
        var text = new StringBuilder();
        foreach (string line in header.ReplaceLineEndings("\n").Split('\n')) text.Append("# ").Append(line).Append('\n');
        foreach (PretrainingOptionField field in All)
        {
            string value = field.Format(options);
            bool isText = field.Property.PropertyType == typeof(string);
            bool isNull = field.Property.GetValue(options) is null;
            text.Append(field.Key).Append(": ").Append(isNull ? "null" : isText ? $"'{value.Replace("'", "''", StringComparison.Ordinal)}'" : value).Append('\n');
        }
        return text.ToString();
    }

    private static object? Parse(PretrainingOptionField field, string text, string where)
    {
        Type declared = field.Property.PropertyType, type = Nullable.GetUnderlyingType(declared) ?? declared;
        bool optional = type != declared || new NullabilityInfoContext().Create(field.Property).WriteState == NullabilityState.Nullable;
        if (optional && text is "" or "null" or "~") return null;
        if (text.Length == 0) throw new UsageException($"{where}: the value of {field.Key} is empty");
        if (type == typeof(string)) return text;
        if (type == typeof(bool)) return text.ToLowerInvariant() switch { "true" or "yes" or "on" => true, "false" or "no" or "off" => false, _ => throw Wrong("true or false") };
        if (type == typeof(double))
            return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double real) && double.IsFinite(real) ? real : throw Wrong("a number");
        if (type == typeof(int)) return int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number) ? number : throw Wrong("a whole number");
        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long wide) ? wide : throw Wrong("a whole number");

        UsageException Wrong(string kind) => new($"{where}: '{text}' is not {kind}");
    }
}
