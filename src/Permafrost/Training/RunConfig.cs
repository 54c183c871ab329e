using System.Text;
using Permafrost.Formats;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Permafrost.Training;

/// <summary>Reads and writes <see cref="RunOptions"/> as YAML: flat keys, and a map under <c>task_options</c>.</summary>
public static class RunConfig
{
    // A run's options are two levels deep; the parser recurses, and would end the process long before a file does.
    private const int DeepestNesting = 20;

    /// <summary>Options from a file, over those given.</summary>
    /// <exception cref="PermafrostException">The file cannot be read.</exception>
    /// <exception cref="UsageException">It is not YAML, or has an unknown key or a wrong value; the message names the line.</exception>
    public static RunOptions Load(string path, RunOptions options)
    {
        string text;
        try
        {
            text = File.ReadAllText(path);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
        return Parse(text, path, options);
    }

    /// <summary>Options from YAML text, over those given; <paramref name="source"/> names it in errors.</summary>
    /// <exception cref="UsageException">It is not YAML, or has an unknown key or a wrong value.</exception>
    public static RunOptions Parse(string text, string source, RunOptions options)
    {
        var stream = new YamlStream();
        var parser = new Parser(new StringReader(text));
        try
        {
            for (int depth = 0; parser.MoveNext();)
                if ((depth += parser.Current!.NestingIncrease) > DeepestNesting) throw new UsageException($"{source}:{parser.Current.Start.Line}: lists or maps lie deeper inside each other than options do; write `key: value` lines");
            stream.Load(new StringReader(text));
        }
        catch (YamlException error)
        {
            throw new UsageException($"{source}:{error.Start.Line}: not valid YAML ({error.Message.ReplaceLineEndings(" ").TrimEnd('.')})");
        }
        catch (Exception error) when (error is InvalidOperationException or ArgumentException)
        {
            // The library's scanner says no more where a key follows a list or map that was never closed.
            throw new UsageException($"{source}:{parser.Current?.End.Line ?? 1}: not valid YAML from here on (a closing bracket, brace or quote may be missing)");
        }
        if (stream.Documents.Count == 0) return options;
        if (stream.Documents.Count > 1) throw new UsageException($"{source}: holds {stream.Documents.Count} YAML documents; one is read");
        if (stream.Documents[0].RootNode is not YamlMappingNode root) throw new UsageException($"{source}: must hold `key: value` lines");
        foreach ((YamlNode keyNode, YamlNode value) in root.Children)
        {
            string where = $"{source}:{keyNode.Start.Line}";
            string key = Scalar(keyNode, where);
            if (value is YamlMappingNode map)
                foreach ((YamlNode innerKey, YamlNode innerValue) in map.Children)
                    options = OptionTable.With(options, $"{key}.{Scalar(innerKey, where)}", Scalar(innerValue, $"{source}:{innerKey.Start.Line}"), $"{source}:{innerKey.Start.Line}");
            else options = OptionTable.With(options, key, Scalar(value, where), where);
        }
        return options;
    }

    /// <summary>The options as YAML, every field written out; <paramref name="header"/> becomes comment lines.</summary>
    public static string ToYaml(RunOptions options, string header)
    {
        var text = new StringBuilder();
        foreach (string line in header.Split(['\n', '\r', '\u0085', '\u2028', '\u2029'])) text.Append("# ").Append(line).Append('\n');
        foreach (OptionField field in OptionTable.All)
        {
            if (!field.IsMap)
            {
                text.Append(field.Key).Append(": ").Append(field.Property.GetValue(options) is null ? "null" : Quote(field.Format(options), field.Property.PropertyType == typeof(string))).Append('\n');
                continue;
            }
            var map = (IReadOnlyDictionary<string, string>)field.Property.GetValue(options)!;
            text.Append(field.Key).Append(map.Count == 0 ? ": {}\n" : ":\n");
            foreach ((string key, string value) in map.OrderBy(pair => pair.Key, StringComparer.Ordinal)) text.Append("  ").Append(Quote(key, true)).Append(": ").Append(Quote(value, true)).Append('\n');
        }
        return text.ToString();
    }

    private static string Scalar(YamlNode node, string where) => node is YamlScalarNode scalar ? scalar.Value ?? "" : throw new UsageException($"{where}: a single value is needed here, not a list or map");

    // Texts are quoted unless they are plain words, so that `*`, `null` or `1e3` stay texts.
    private static string Quote(string value, bool isText) =>
        !isText || (value.Length > 0 && char.IsLetter(value[0]) && value.All(c => char.IsLetterOrDigit(c) || c is '-' or '_' or '.' or '/') && value is not ("null" or "true" or "false" or "yes" or "no" or "on" or "off"))
            ? value : "\"" + string.Concat(value.Select(c => c is '"' or '\\' ? $"\\{c}" : c < ' ' || c == '\u007f' || (c >= '\u0080' && (char.IsControl(c) || c is '\u2028' or '\u2029' or '\ufeff')) ? $"\\u{(int)c:x4}" : c.ToString())) + "\"";
}
