using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>
/// Nested list operations, such as <c>[MAX 4 [SM 7 5 ] 1 ]</c> (Nangia and Bowman 2018): written, evaluated and drawn at random by the rules of Long
/// Range Arena (Tay et al. 2020, data/listops.py).
/// </summary>
public static class ListOpsExpression
{
    /// <summary>The operators that Long Range Arena draws, in the order of their ids.</summary>
    public static IReadOnlyList<string> Operators { get; } = ["[MIN", "[MAX", "[MED", "[SM"];

    private const string End = "]";
    private const double OperatorProbability = 0.25;

    /// <summary>The value, 0 to 9. FIRST and LAST are understood too, and round brackets (binary-parse decoration) are skipped.</summary>
    /// <exception cref="FormatException">The text is not an expression.</exception>
    public static int Evaluate(string text)
    {
        string[] tokens = [.. text.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries).Where(token => token is not ("(" or ")"))];
        int at = 0;
        int value = Evaluate(tokens, ref at, 0);
        return at == tokens.Length ? value : throw new FormatException($"'{tokens[at]}' follows the end of the expression");
    }

    /// <summary>
    /// Draws an expression. Above the deepest level, <paramref name="maxDepth"/>, a token is an operator with probability 1/4, which takes 2 to
    /// <paramref name="maxArguments"/> arguments; otherwise it is a digit.
    /// </summary>
    /// <returns>The tokens, or null as soon as they are <paramref name="maxLength"/> or more.</returns>
    public static List<string>? Draw(ref CounterRandom random, int maxDepth, int maxArguments, int maxLength)
    {
        var tokens = new List<string>();
        return Draw(ref random, tokens, 1, maxDepth, maxArguments, maxLength) ? tokens : null;
    }

    // The limit on depth protects the stack from hostile nesting.
    private static int Evaluate(string[] tokens, ref int at, int depth)
    {
        if (depth > 1000) throw new FormatException("nested more than 1,000 deep");
        if (at >= tokens.Length) throw new FormatException("the expression ends too early");
        string token = tokens[at++];
        if (token is [>= '0' and <= '9']) return token[0] - '0';
        if (!token.StartsWith('[')) throw new FormatException($"'{token}' is neither a digit nor an operator");
        var arguments = new List<int>();
        while (at < tokens.Length && tokens[at] != End) arguments.Add(Evaluate(tokens, ref at, depth + 1));
        if (at >= tokens.Length) throw new FormatException($"'{token}' is not closed");
        if (arguments.Count == 0) throw new FormatException($"'{token}' has no arguments");
        at++;
        return token switch
        {
            "[MIN" => arguments.Min(),
            "[MAX" => arguments.Max(),
            "[MED" => Median(arguments),
            "[SM" => arguments.Sum() % 10,
            "[FIRST" => arguments[0],
            "[LAST" => arguments[^1],
            _ => throw new FormatException($"the operator '{token}' is not known"),
        };
    }

    // int(median) in the reference code: of an even number of values, the mean of the middle two, rounded down.
    private static int Median(List<int> values)
    {
        int[] ordered = [.. values.Order()];
        int middle = ordered.Length / 2;
        return ordered.Length % 2 == 1 ? ordered[middle] : (ordered[middle - 1] + ordered[middle]) / 2;
    }

    private static bool Draw(ref CounterRandom random, List<string> tokens, int depth, int maxDepth, int maxArguments, int maxLength)
    {
        if (tokens.Count >= maxLength) return false;
        if (depth >= maxDepth || random.NextDouble() > OperatorProbability)
        {
            tokens.Add(((char)('0' + random.Next(10))).ToString());
            return true;
        }
        int arguments = 2 + random.Next(maxArguments - 1);
        tokens.Add(Operators[random.Next(Operators.Count)]);
        for (int i = 0; i < arguments; i++)
            if (!Draw(ref random, tokens, depth + 1, maxDepth, maxArguments, maxLength)) return false;
        tokens.Add(End);
        return tokens.Count < maxLength;
    }
}
