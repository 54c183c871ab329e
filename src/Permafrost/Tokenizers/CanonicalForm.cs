using System.Globalization;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>
/// Unicode's decompositions and composition (Unicode Standard Annex 15; forms D, C, KD and KC). .NET's own <c>string.Normalize</c> does nothing where globalization is
/// invariant, as in our program, which must run without ICU.
/// </summary>
internal static class CanonicalForm
{
    // Hangul syllables are composed by a rule (The Unicode Standard, section 3.12).
    private const int FirstSyllable = 0xAC00, FirstLead = 0x1100, FirstVowel = 0x1161, BeforeTail = 0x11A7, Leads = 19, Vowels = 21, Tails = 28, Syllables = Leads * Vowels * Tails;

    private static readonly Lazy<Tables> Unicode = new(Tables.Read);

    /// <summary>The full decomposition of a character; the character itself where it has none.</summary>
    /// <param name="rune">The character.</param>
    /// <param name="compatible">Whether what is only compatible, such as a ligature, is decomposed too.</param>
    public static ReadOnlySpan<int> Decompose(int rune, bool compatible = false)
    {
        if (rune is >= FirstSyllable and < FirstSyllable + Syllables)
        {
            int syllable = rune - FirstSyllable, tail = syllable % Tails;
            int lead = FirstLead + syllable / (Vowels * Tails), vowel = FirstVowel + syllable / Tails % Vowels;
            return tail == 0 ? new[] { lead, vowel } : [lead, vowel, BeforeTail + tail];
        }
        Dictionary<int, int[]> table = compatible ? Unicode.Value.Compatible : Unicode.Value.Decompositions;
        return table.TryGetValue(rune, out int[]? parts) ? parts : new[] { rune };
    }

    /// <summary>Form C of some characters, or form KC: decomposed, marks in their order, and composed again.</summary>
    public static IReadOnlyList<int> Compose(IEnumerable<Rune> text, bool compatible = false)
    {
        var all = new List<int>();
        foreach (Rune rune in text) all.AddRange(Decompose(rune.Value, compatible));
        if (all.Any(rune => Class(rune) > 0)) all = [.. Ordered(all, rune => rune)];
        Tables tables = Unicode.Value;
        var composed = new List<int>();
        (int starter, int before) = (-1, 0);
        foreach (int rune in all)
        {
            int rank = Class(rune);
            bool blocked = starter < 0 || (composed.Count - 1 > starter && (before >= rank || before == 0));
            if (!blocked && Pair(tables, composed[starter], rune) is { } both)
            {
                composed[starter] = both;
                continue;
            }
            composed.Add(rune);
            if (rank == 0) starter = composed.Count - 1;
            before = rank;
        }
        return composed;
    }

    private static int? Pair(Tables tables, int first, int second)
    {
        if (first is >= FirstLead and < FirstLead + Leads && second is >= FirstVowel and < FirstVowel + Vowels)
            return FirstSyllable + ((first - FirstLead) * Vowels + second - FirstVowel) * Tails;
        bool open = first is >= FirstSyllable and < FirstSyllable + Syllables && (first - FirstSyllable) % Tails == 0;
        if (open && second is > BeforeTail and < BeforeTail + Tails) return first + second - BeforeTail;
        return tables.Compositions.TryGetValue((first, second), out int both) ? both : null;
    }

    private static int Class(int rune) => Unicode.Value.Classes.GetValueOrDefault(rune);

    /// <summary>Marks of different classes, between two characters of class 0, in the order of the classes.</summary>
    public static IEnumerable<T> Ordered<T>(IReadOnlyList<T> items, Func<T, int> rune)
    {
        for (int from = 0; from < items.Count;)
        {
            int to = from;
            while (to < items.Count && Class(rune(items[to])) > 0) to++;
            // A stable sort that is quick for a text of nothing but marks too.
            for (int i = from; to - from == 1 && i < to; i++) yield return items[i];
            if (to - from > 1) foreach (T item in Enumerable.Range(from, to - from).Select(i => items[i]).OrderBy(item => Class(rune(item)))) yield return item;
            if (to < items.Count) yield return items[to++];
            from = to;
        }
    }

    private sealed record Tables(Dictionary<int, int[]> Decompositions, Dictionary<(int, int), int> Compositions, Dictionary<int, int> Classes, Dictionary<int, int[]> Compatible)
    {
        public static Tables Read()
        {
            var tables = new Tables([], [], [], []);
            using var reader = new StreamReader(typeof(CanonicalForm).Assembly.GetManifestResourceStream("Tokenizers/canonical-forms.txt")!);
            while (reader.ReadLine() is { } line)
            {
                if (line[0] == '#') continue;
                if (line[0] == '@') tables.AddClasses(line[1..].Split(' '));
                else if (line.Split('~') is [var rune, var parts]) tables.Compatible[Hex(rune)] = [.. parts.Split(' ').Select(Hex)];
                else tables.AddDecomposition(line.Split('='));
            }
            foreach (int rune in tables.Decompositions.Keys.Concat(tables.Compatible.Keys).ToArray()) tables.Compatible[rune] = [.. tables.FullyCompatible(rune)];
            foreach (int rune in tables.Decompositions.Keys.ToArray()) tables.Decompositions[rune] = [.. tables.Full(rune)];
            return tables;
        }

        private void AddClasses(string[] parts)
        {
            string[] range = parts[1].Split('-');
            for (int rune = Hex(range[0]); rune <= Hex(range[^1]); rune++) Classes[rune] = int.Parse(parts[0], CultureInfo.InvariantCulture);
        }

        private void AddDecomposition(string[] sides)
        {
            int rune = Hex(sides[0]);
            bool excluded = sides[1].EndsWith('!');
            int[] parts = [.. sides[1].TrimEnd('!').Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(Hex)];
            Decompositions[rune] = parts;
            if (!excluded) Compositions[(parts[0], parts[1])] = rune;
        }

        private IEnumerable<int> Full(int rune) => Decompositions.TryGetValue(rune, out int[]? parts) ? parts.SelectMany(Full) : [rune];

        private IEnumerable<int> FullyCompatible(int rune) =>
            Compatible.TryGetValue(rune, out int[]? parts) || Decompositions.TryGetValue(rune, out parts) ? parts.SelectMany(FullyCompatible) : [rune];

        private static int Hex(string text) => int.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    }
}
