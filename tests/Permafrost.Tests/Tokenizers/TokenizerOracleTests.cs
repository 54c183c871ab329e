using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.ML.Tokenizers;
using Permafrost.Tokenizers;
using Oracle = Tokenizers.DotNet.Tokenizer;
using Tokenizer = Permafrost.Tokenizers.Tokenizer;

namespace Permafrost.Tests.Tokenizers;

/// <summary>Against Hugging Face's own core in this process, which its package has for Linux, and against Microsoft's: on texts that nobody thought of.</summary>
public sealed class TokenizerOracleTests : IDisposable
{
    // Blocks of Unicode, from and to before; what was added lately is classified otherwise by an older library.
    private static readonly (int From, int To)[] Blocks =
    [
        (0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x391, 0x3A2), (0x3B1, 0x530), (0x5D0, 0x5EB), (0x620, 0x650), (0x905, 0x93A), (0xE01, 0xE3B), (0x1100, 0x1200), (0x1E00, 0x1F00),
        (0x2000, 0x2060), (0x2100, 0x2190), (0x2460, 0x2500), (0x3000, 0x3100), (0x4E00, 0x4F00), (0xAC00, 0xAD00), (0xF900, 0xFA00), (0xFB00, 0xFB07), (0xFF00, 0xFF60),
        (0x1D400, 0x1D455), (0x1F300, 0x1F600), (0x10400, 0x10450), (0x01, 0x20),
    ];

    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Names => [.. PipelineFile.Names];

    public void Dispose() => folder.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public void Ids_and_texts_of_random_Unicode_are_those_of_the_library(string name)
    {
        SkipWhereThereIsNone();
        string path = folder.Write("tokenizer.json", PipelineFile.Json(name).ToJsonString());
        Tokenizer ours = TokenizerFiles.Load(path);
        var oracle = new Oracle(path);
        var random = new Random(name.Length);
        for (int i = 0; i < 150; i++)
        {
            string text = Text(random);
            int[] expected = [.. oracle.Encode(text).Select(id => (int)id)], made = ours.Encode(text).Ids;
            Assert.True(expected.SequenceEqual(made), $"{JsonSerializer.Serialize(text)}: {string.Join(' ', made.Select(ours.Token))}, expected {string.Join(' ', expected.Select(ours.Token))}");
        }
    }

    [Fact]
    public void Byte_pairs_and_their_offsets_are_those_of_Microsofts_library()
    {
        JsonNode model = PipelineFile.Json("GPT-2")["model"]!;
        string path = folder.Write("tokenizer.json", PipelineFile.Json("GPT-2").ToJsonString());
        Tokenizer ours = TokenizerFiles.Load(path);
        var oracle = BpeTokenizer.Create(new BpeOptions(model["vocab"]!.AsObject().ToDictionary(pair => pair.Key, pair => (int)pair.Value!))
        {
            Merges = [.. model["merges"]!.AsArray().Select(merge => (string)merge!)],
            ByteLevel = true,
            PreTokenizer = new RegexPreTokenizer(new Regex(@"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), null),
        });
        var random = new Random(7);
        for (int i = 0; i < 300; i++)
        {
            // .NET's regular expressions see a character beyond U+FFFF as two.
            string text = string.Concat(Text(random).EnumerateRunes().Where(rune => rune.IsBmp));
            TokenizedText made = ours.Encode(text);
            EncodedToken[] expected = [.. oracle.EncodeToTokens(text, out _)];
            Assert.Equal(expected.Select(token => token.Id), made.Ids);
            Assert.Equal(expected.Select(token => (token.Offset.Start.Value, token.Offset.End.Value)), made.Offsets);
        }
    }

    [Fact]
    public void A_word_of_a_million_letters_comes_back()
    {
        string word = string.Create(1_000_000, new Random(1), (letters, random) => { foreach (ref char letter in letters) letter = (char)('a' + random.Next(26)); });
        Tokenizer tokenizer = TokenizerFiles.Load(folder.Write("tokenizer.json", PipelineFile.Json("GPT-2").ToJsonString()));
        Assert.Equal(word, tokenizer.Decode(tokenizer.Encode(word).Ids));
    }

    private static void SkipWhereThereIsNone() =>
        Assert.SkipUnless(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64, "needs Hugging Face's library, whose package here is for Linux on x64");

    private static string Text(Random random)
    {
        var text = new StringBuilder();
        for (int n = random.Next(1, 25); n > 0; n--)
        {
            (int from, int to) = Blocks[random.Next(3) == 0 ? 0 : random.Next(Blocks.Length)];
            if (random.Next(5) == 0) text.Append(' ');
            else text.Append(new Rune(random.Next(from, to)));
        }
        return text.ToString();
    }
}
