using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>Tables of expressions and their values, as Long Range Arena's generator and kzl/universal-computation write them.</summary>
internal static class ListOpsTable
{
    /// <summary>The first line.</summary>
    public const string Header = "Source\tTarget";

    private static readonly string[] Names = ["basic_train.tsv", "basic_val.tsv", "basic_test.tsv"];

    /// <summary>The tables of a folder: training, validation, test.</summary>
    /// <exception cref="PermafrostException">One is not there.</exception>
    public static IReadOnlyList<string> Files(string folder)
    {
        if (Names.FirstOrDefault(name => !File.Exists(Path.Combine(folder, name))) is { } missing)
            throw new PermafrostException($"{folder} has no {missing}; a folder holds {string.Join(", ", Names)}, or name a single file with `data`");
        return [.. Names.Select(name => Path.Combine(folder, name))];
    }

    /// <summary>The rows of a table, with their places for errors.</summary>
    /// <exception cref="PermafrostException">It is no such table, or a value is not its expression's.</exception>
    public static IEnumerable<(string Where, string Expression, int Value)> Read(string path)
    {
        bool headed = false, any = false;
        foreach ((int number, string line) in TextLines.Of(path))
        {
            string where = TextLines.Name(path, number);
            if (!headed && line != Header)
                throw new PermafrostException($"{where}: a table of expressions begins with a line of two words with a tab between them, Source and Target");
            if (headed) yield return Row(where, line);
            any |= headed;
            headed = true;
        }
        if (!any) throw new PermafrostException($"{path} holds no expression; expected are a line Source<TAB>Target, then an expression and its value a line");
    }

    private static (string Where, string Expression, int Value) Row(string where, string line)
    {
        if (line.Split('\t') is not [var expression, [>= '0' and <= '9'] target]) throw new PermafrostException($"{where}: not an expression, a tab and its value from 0 to 9");
        try
        {
            int value = ListOpsExpression.Evaluate(expression);
            return value == target[0] - '0' ? (where, expression, value) : throw new PermafrostException($"{where}: the expression's value is {value}, its Target {target}");
        }
        catch (FormatException error)
        {
            throw new PermafrostException($"{where}: {error.Message}");
        }
    }
}
