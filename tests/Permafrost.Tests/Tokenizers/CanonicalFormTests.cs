using System.Text;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Tokenizers;

/// <summary>Canonical forms by the examples of Unicode Standard Annex 15.</summary>
public class CanonicalFormTests
{
    [Theory]
    [InlineData("\u1E0A", "\u0044\u0307", "\u1E0A")]
    [InlineData("\u1E0A\u0323", "\u0044\u0323\u0307", "\u1E0C\u0307")]
    [InlineData("\u0044\u0307\u0323", "\u0044\u0323\u0307", "\u1E0C\u0307")]
    [InlineData("\u1E14", "\u0045\u0304\u0300", "\u1E14")]
    [InlineData("\u212B", "\u0041\u030A", "\u00C5")]  // the angstrom sign is another spelling of the letter
    [InlineData("\u0958", "\u0915\u093C", "\u0915\u093C")]  // excluded from composition
    [InlineData("\uAC01", "\u1100\u1161\u11A8", "\uAC01")]
    [InlineData("\uF900", "\u8C48", "\u8C48")]
    [InlineData("\uFB01 a", "\uFB01 a", "\uFB01 a")]  // compatibility decompositions are none of ours
    public void Text_is_decomposed_and_composed_as_the_standard_says(string text, string decomposed, string composed)
    {
        Assert.Equal(composed, Text(CanonicalForm.Compose(text.EnumerateRunes())));
        Assert.Equal(composed, Text(CanonicalForm.Compose(decomposed.EnumerateRunes())));
        if (text.Length == 1) Assert.Equal(decomposed, Text(CanonicalForm.Decompose(text[0]).ToArray()));
    }

    private static string Text(IEnumerable<int> codes) => string.Concat(codes.Select(code => new Rune(code).ToString()));
}
