using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>A text that is being cut into words: its UTF-16 units, which units of the original text each came from, and the ranges of the words so far.</summary>
internal sealed class Words
{
    private readonly ReadOnlyMemory<char> units;
    private readonly int[]? starts;  // null: the units are those of the original text, from an index on
    private readonly int[]? ends;
    private readonly int first;
    private readonly bool hasPairs;

    private Words(ReadOnlyMemory<char> units, int[]? starts, int[]? ends, int first)
    {
        (this.units, this.starts, this.ends, this.first) = (units, starts, ends, first);
        hasPairs = starts is null && units.Span.ContainsAnyInRange('\uD800', '\uDFFF');
        if (units.Length > 0) Ranges.Add((0, units.Length));
    }

    /// <summary>A part of a text as it is, as one word.</summary>
    public static Words Of(string text, int from, int to) => new(text.AsMemory(from, to - from), null, null, from);

    /// <summary>A normalised text, as one word.</summary>
    public static Words Of(AlignedText text)
    {
        var builder = new Builder(text.Count);
        builder.Begin();
        Span<char> pair = stackalloc char[2];
        for (int i = 0; i < text.Count; i++)
        {
            (int rune, int start, int end) = text[i];
            if (rune <= char.MaxValue) builder.Add((char)rune, start, end);
            else
            {
                new Rune(rune).EncodeToUtf16(pair);
                builder.Add(pair[0], start, end);
                builder.Add(pair[1], start, end);
            }
        }
        builder.End();
        return builder.Words();
    }

    public List<(int From, int To)> Ranges { get; private set; } = [];

    public ReadOnlySpan<char> Units => units.Span;

    /// <summary>The index in the original text where what a unit came from begins.</summary>
    public int Start(int unit) => starts is null ? first + unit - (IsPair(unit - 1) ? 1 : 0) : starts[unit];

    /// <summary>The index behind what a unit came from.</summary>
    public int End(int unit) => ends is null ? first + unit + (IsPair(unit) ? 2 : 1) : ends[unit];

    private bool IsPair(int unit) => hasPairs && unit >= 0 && unit + 1 < units.Length && char.IsSurrogatePair(Units[unit], Units[unit + 1]);

    /// <summary>The same text, cut otherwise.</summary>
    public Words Cut(List<(int From, int To)> ranges)
    {
        Ranges = ranges;
        return this;
    }

    /// <summary>Makes words of other units.</summary>
    internal sealed class Builder(int capacity)
    {
        private readonly List<(int From, int To)> ranges = [];
        private char[] units = new char[Math.Max(capacity, 16)];
        private int[] starts = new int[Math.Max(capacity, 16)];
        private int[] ends = new int[Math.Max(capacity, 16)];
        private int count;
        private int word;

        public void Begin() => word = count;

        public void Add(char unit, int start, int end)
        {
            if (count == units.Length)
            {
                Array.Resize(ref units, 2 * count);
                Array.Resize(ref starts, 2 * count);
                Array.Resize(ref ends, 2 * count);
            }
            (units[count], starts[count], ends[count]) = (unit, start, end);
            count++;
        }

        /// <summary>Ends a word, if it has a unit.</summary>
        public void End()
        {
            if (count > word) ranges.Add((word, count));
            word = count;
        }

        public Words Words() => new Words(units.AsMemory(0, count), starts, ends, 0).Cut(ranges);
    }
}
