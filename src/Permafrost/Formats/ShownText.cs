namespace Permafrost.Formats;

/// <summary>Texts of files as sentences show them: such a file may be hostile, and a text in it as long as the file.</summary>
internal static class ShownText
{
    private const int Most = 40;

    /// <summary>A text, or its beginning.</summary>
    public static string Short(string text) => text.Length <= Most ? text : text[..Most] + "...";
}
