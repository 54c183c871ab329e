using System.Text;
using Permafrost.Formats;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Permafrost.Runs;

/// <summary>Reads and writes <see cref="RunOptions"/> as YAML: a map for each group; keys outside the groups, as the first versions wrote them, are read too.</summary>
public static class RunConfig
{
    // A run's options are three levels deep; the parser recurses, and would end the process long before a file does.
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
        if (Root(text, source) is not { } root) return options;
        foreach ((YamlNode keyNode, YamlNode value) in root.Children)
        {
            string where = $"{source}:{keyNode.Start.Line}";
            string key = Scalar(keyNode, where);
            options = value is YamlMappingNode map ? WithMap(options, key, map, source) : OptionTable.With(options, key, Scalar(value, where), where);
        }
        return options;
    }

    /// <summary>The map that a YAML text holds; null where it holds nothing.</summary>
    /// <exception cref="UsageException">It is not YAML, or holds something else.</exception>
    internal static YamlMappingNode? Root(string text, string source)
    {
        var stream = new YamlStream();
        var parser = new Parser(new StringReader(text));
        try
        {
            for (int depth = 0; parser.MoveNext();)
            {
                depth += parser.Current!.NestingIncrease;
                if (depth > DeepestNesting)
                    throw new UsageException(
                        $"{source}:{parser.Current.Start.Line}: lists or maps lie deeper inside each other than options do; write `key: value` lines");
            }
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
        if (stream.Documents.Count == 0) return null;
        if (stream.Documents.Count > 1) throw new UsageException($"{source}: holds {stream.Documents.Count} YAML documents; one is read");
        return stream.Documents[0].RootNode as YamlMappingNode ?? throw new UsageException($"{source}: must hold `key: value` lines");
    }

    private static RunOptions WithMap(RunOptions options, string path, YamlMappingNode map, string source)
    {
        foreach ((YamlNode keyNode, YamlNode value) in map.Children)
        {
            string where = $"{source}:{keyNode.Start.Line}", key = $"{path}.{Scalar(keyNode, where)}";
            bool opens = value is YamlMappingNode && OptionTable.Groups.Contains(path);
            options = opens ? WithMap(options, key, (YamlMappingNode)value, source) : OptionTable.With(options, key, Scalar(value, where), where);
        }
        return options;
    }

    /// <summary>The options as YAML, every field written out; <paramref name="header"/> becomes comment lines.</summary>
    public static string ToYaml(RunOptions options, string header)
    {
        var text = new StringBuilder();
        foreach (string line in header.Split(['\n', '\r', '\u0085', '\u2028', '\u2029'])) text.Append("# ").Append(line).Append('\n');
        foreach (OptionField field in OptionTable.All.Where(field => field.Group.Length == 0)) Write(text, field, options, "");
        foreach (IGrouping<string, OptionField> group in OptionTable.All.Where(field => field.Group.Length > 0).GroupBy(field => field.Group))
        {
            text.Append(group.Key).Append(":\n");
            foreach (OptionField field in group) Write(text, field, options, "  ");
        }
        return text.ToString();
    }

    private static void Write(StringBuilder text, OptionField field, RunOptions options, string indent)
    {
        text.Append(indent).Append(field.Key);
        if (field.Value(options) is not IReadOnlyDictionary<string, string> map)
        {
            text.Append(": ").Append(field.Value(options) is null ? "null" : Quote(field.Format(options), field.Property.PropertyType == typeof(string))).Append('\n');
            return;
        }
        text.Append(map.Count == 0 ? ": {}\n" : ":\n");
        foreach ((string key, string value) in map.OrderBy(pair => pair.Key, StringComparer.Ordinal))
            text.Append(indent).Append("  ").Append(Quote(key, true)).Append(": ").Append(Quote(value, true)).Append('\n');
    }

    private static string Scalar(YamlNode node, string where) =>
        node is YamlScalarNode scalar ? scalar.Value ?? "" : throw new UsageException($"{where}: a single value is needed here, not a list or map");

    // Texts are quoted unless they are plain words, so that `*`, `null` or `1e3` stay texts.
    private static string Quote(string value, bool isText) => !isText || IsPlainWord(value) ? value : "\"" + string.Concat(value.Select(Escaped)) + "\"";

    private static bool IsPlainWord(string value) =>
        value.Length > 0 && char.IsLetter(value[0]) && value.All(c => char.IsLetterOrDigit(c) || c is '-' or '_' or '.' or '/')
        && value is not ("null" or "true" or "false" or "yes" or "no" or "on" or "off");

    private static string Escaped(char c)
    {
        if (c is '"' or '\\') return $"\\{c}";
        bool special = c < ' ' || c == '\u007f' || (c >= '\u0080' && (char.IsControl(c) || c is '\u2028' or '\u2029' or '\ufeff'));
        return special ? $"\\u{(int)c:x4}" : c.ToString();
    }
}
