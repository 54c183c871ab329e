using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Data;

/// <summary>Texts as batches: their ids, their padding, and what is counted about them.</summary>
public sealed class TextRowsTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose() => scope.Dispose();

    private static TextRows Rows(int maxLength, params string[] texts) => new(texts, [.. texts.Select((_, i) => (long)i)], SmallTokenizer.Instance, maxLength);

    [Fact]
    public void A_batch_is_as_long_as_its_longest_text_and_the_others_are_masked()
    {
        TextRows rows = Rows(20, "ab", "abcd", "a");
        Assert.Equal([4, 6, 3], rows.Lengths);
        Batch batch = rows.Get([2, 1]);
        Assert.Equal([2, 6], batch.Inputs.shape);
        Assert.Equal([1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1], batch.Mask!.ToArray<long>());
        Assert.Equal([0, 0, 0], batch.Inputs.ToArray<long>()[3..6]);
        Assert.Equal([2, 1], batch.Targets.ToArray<long>());
        Assert.Null(rows.Get([1]).Mask);
        // [CLS] first and [SEP] last, also where a text is cut.
        long[] cut = Rows(4, "abcd").Get([0]).Inputs.ToArray<long>();
        Assert.Equal((4, 2, 3), (cut.Length, cut[0], cut[^1]));
    }

    [Fact]
    public void Cut_empty_and_unknown_texts_are_counted_and_said()
    {
        TextRows rows = Rows(5, "abc", "abcd", string.Concat(Enumerable.Repeat("a ", 1_000_000)), "\u65e5\u672c", "\u65e5a", "", " \u0001\u200b ", "\ud800");
        Assert.Equal((2, 3, 5), (rows.CutTexts, rows.EmptyTexts, rows.FirstEmpty));
        Assert.Equal(1, rows.UnknownTexts);
        string[] notes = [.. rows.Notes("training text")];
        Assert.Equal(2, notes.Length);
        Assert.Contains("2 of 8 training text(s) have more than 5 tokens and were cut (`max_length`)", notes[0], StringComparison.Ordinal);
        Assert.Empty(Rows(10, "abc").Notes("text"));
    }

    [Fact]
    public void A_length_without_room_for_a_text_is_refused() => Refusal.OfUsage("`max_length` is 2", () => Rows(2, "abc"));
}
