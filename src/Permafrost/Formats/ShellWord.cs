namespace Permafrost.Formats;

/// <summary>Quotes words of command lines in messages and records, so that they can be copied from there.</summary>
public static class ShellWord
{
    /// <summary>A word as a shell reads it back.</summary>
    public static string Quoted(string word) =>
        word.Length > 0 && word.All(c => char.IsLetterOrDigit(c) || "-_=./:@,+".Contains(c)) ? word : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
