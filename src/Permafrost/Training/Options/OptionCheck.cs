namespace Permafrost.Training.Options;

/// <summary>The checks that options share.</summary>
internal static class OptionCheck
{
    public static void OneOf(string key, string value, params string[] allowed)
    {
        if (!allowed.Contains(value)) throw new UsageException($"`{key}` '{value}' does not exist; there are {string.Join(", ", allowed)}");
    }

    public static void Between(string key, double value, double low, double high)
    {
        if (value >= low && value <= high) return;
        string range = high == double.MaxValue ? FormattableString.Invariant($"at least {low}") : FormattableString.Invariant($"from {low} to {high}");
        throw new UsageException(FormattableString.Invariant($"`{key}` is {value}; it must be {range}"));
    }
}
