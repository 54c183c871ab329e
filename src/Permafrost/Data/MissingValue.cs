namespace Permafrost.Data;

/// <summary>How tables write that a number is missing.</summary>
internal static class MissingValue
{
    /// <summary>Whether a field, without spaces around it, says so.</summary>
    public static bool Is(ReadOnlySpan<char> field)
    {
        if (field.Length == 0 || field is "?") return true;
        foreach (string word in (ReadOnlySpan<string>)["NA", "N/A", "NaN", "null", "None"]) if (field.Equals(word, StringComparison.OrdinalIgnoreCase)) return true;
        return false;
    }
}
