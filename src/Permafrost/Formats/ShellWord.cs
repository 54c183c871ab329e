namespace Permafrost.Formats;

/// <summary>Words of command lines that messages and records show, to be copied from there.</summary>
public static class ShellWord
{
    /// <summary>A word as a shell reads it back.</summary>
    public static string Quoted(string word) =>
        word.Length > 0 && word.All(c => char.IsLetterOrDigit(c) || "-_=./:@,+".Contains(c)) ? word : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
