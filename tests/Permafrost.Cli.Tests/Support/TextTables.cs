namespace Permafrost.Cli.Tests;

/// <summary>Tables of short texts of which one word tells the label, and a small body that reads them.</summary>
internal static class TextTables
{
    private static readonly string[] Words = ["the", "film", "is", "a", "story", "of", "people", "and", "music", "it", "was", "long"];

    /// <summary>Writes a table of texts.</summary>
    /// <returns>Its path.</returns>
    public static string Write(Scratch scratch, string name, int rows)
    {
        // Rows differ from table to table, the same at every run of the tests.
        int salt = name.Sum(c => c);
        string Word(int row, int at) => Words[(row * 31 + at * 17 + row * at * 7 + salt) % Words.Length];
        IEnumerable<string> lines = Enumerable.Range(0, rows).Select(row =>
        {
            string[] words = [.. Enumerable.Range(0, 5).Select(at => at == (row / 2 + salt) % 5 ? (row % 2 == 0 ? "zzz" : "qqq") : Word(row, at))];
            return $"\"{string.Join(' ', words)}, it says\",{row},{(row % 2 == 0 ? "bad" : "good")}";
        });
        return scratch.Write(name, "review,number,verdict\n" + string.Join('\n', lines) + "\n");
    }

    /// <summary>Writes the body.</summary>
    /// <returns>Its folder.</returns>
    public static string Body(Scratch scratch) => SmallBert.Write(scratch["body"]);

    /// <summary>The flags of a short run on a table.</summary>
    public static string[] Finetune(string body, string data, string output, params string[] more) =>
    [
        "finetune", "--task", "csv", "--backbone", body, "--init", "random", "--data", data, "--text-column", "review", "--label-column", "verdict",
        "--learning-rate", "0.003", "--eval-steps", "10", "--output-dir", output, .. more,
    ];
}
