namespace Permafrost.Tokenizers;

/// <summary>Texts of bytes with a number each, found from their first byte on. The children of a node stand side by side, in the order of their bytes.</summary>
internal sealed class PieceTrie
{
    private readonly byte[] labels;
    private readonly int[] firstChild;
    private readonly int[] values;
    private readonly int[] roots = new int[256];

    /// <param name="pieces">The texts, none of them empty or there twice, with numbers from 0.</param>
    public PieceTrie(IEnumerable<(byte[] Text, int Value)> pieces)
    {
        (byte[] Text, int Value)[] sorted = [.. pieces];
        Array.Sort(sorted, (a, b) => a.Text.AsSpan().SequenceCompareTo(b.Text));
        (var labelList, var first, var valueList) = (new List<byte> { 0 }, new List<int>(), new List<int> { -1 });
        // A node is a range of texts that agree up to a depth; its children are made when its turn comes, so they stand side by side.
        var nodes = new Queue<(int From, int To, int Depth)>([(0, sorted.Length, 0)]);
        while (nodes.TryDequeue(out (int From, int To, int Depth) node))
        {
            (int from, int to, int depth) = node;
            first.Add(labelList.Count);
            if (from < to && sorted[from].Text.Length == depth) from++;
            while (from < to)
            {
                byte label = sorted[from].Text[depth];
                int end = from + 1;
                while (end < to && sorted[end].Text[depth] == label) end++;
                labelList.Add(label);
                valueList.Add(sorted[from].Text.Length == depth + 1 ? sorted[from].Value : -1);
                nodes.Enqueue((from, end, depth + 1));
                from = end;
            }
        }
        first.Add(labelList.Count);
        (labels, firstChild, values) = ([.. labelList], [.. first], [.. valueList]);
        for (int child = firstChild[0]; child < firstChild[1]; child++) roots[labels[child]] = child;
    }

    /// <summary>One byte further from a node, which is 0 at the beginning.</summary>
    /// <returns>Whether a text goes on so.</returns>
    public bool Follow(ref int node, byte label)
    {
        if (node == 0) return (node = roots[label]) != 0;
        int from = firstChild[node], to = firstChild[node + 1];
        if (to - from > 8)
        {
            int found = labels.AsSpan(from, to - from).BinarySearch(label);
            if (found < 0) return false;
            node = from + found;
            return true;
        }
        for (; from < to; from++)
        {
            if (labels[from] != label) continue;
            node = from;
            return true;
        }
        return false;
    }

    /// <summary>The number of the text that ends at a node; -1 where none does.</summary>
    public int Value(int node) => values[node];
}
