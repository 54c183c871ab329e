using Permafrost.Tokenizers;

namespace Permafrost.Tests.Tokenizers;

public sealed class PaddedTokensTests
{
    private static readonly int[][] Texts = [[5, 6, 7], [8], [9, 10]];

    [Fact]
    public void Shorter_texts_are_filled_up_behind()
    {
        PaddedTokens padded = PaddedTokens.Of(Texts, pad: 1);
        Assert.Equal([5, 6, 7, 8, 1, 1, 9, 10, 1], padded.Ids);
        Assert.Equal([1, 1, 1, 1, 0, 0, 1, 1, 0], padded.Mask);
        Assert.Equal((3, 3, true), (padded.Rows, padded.Length, padded.IsPadded));
    }

    [Fact]
    public void Or_before_and_up_to_a_length()
    {
        PaddedTokens padded = PaddedTokens.Of(Texts, pad: 0, length: 4, left: true);
        Assert.Equal([0, 5, 6, 7, 0, 0, 0, 8, 0, 0, 9, 10], padded.Ids);
        Assert.Equal([0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 1], padded.Mask);
        Assert.False(PaddedTokens.Of([[3], [4]], pad: 0).IsPadded);
        Assert.Equal("length", Assert.Throws<ArgumentException>(() => PaddedTokens.Of(Texts, 0, length: 2)).ParamName);
        Assert.Equal("texts", Assert.Throws<ArgumentException>(() => PaddedTokens.Of([], 0)).ParamName);
    }
}
