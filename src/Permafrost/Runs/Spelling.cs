namespace Permafrost.Runs;

/// <summary>Guesses what a misspelt word was meant to be.</summary>
public static class Spelling
{
    /// <summary><c>; did you mean X?</c> for the nearest known word, or <paramref name="otherwise"/> where none is near.</summary>
    public static string Hint(string word, IEnumerable<string> known, string otherwise)
    {
        (string Word, int Distance) best = known.Select(candidate => (candidate, Distance(candidate, word))).DefaultIfEmpty(("", int.MaxValue)).MinBy(pair => pair.Item2);
        return best.Distance <= Math.Max(1, word.Length / 4) ? $"; did you mean {best.Word}?" : otherwise;
    }

    // Levenshtein's distance.
    private static int Distance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)));
        }
        return row[^1];
    }
}
