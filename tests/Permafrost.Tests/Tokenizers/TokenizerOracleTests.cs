using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Permafrost.Tokenizers;
using Oracle = Tokenizers.DotNet.Tokenizer;

namespace Permafrost.Tests.Tokenizers;

/// <summary>Against Hugging Face's own core in this process, which its package has for Linux: on texts that nobody thought of.</summary>
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
    [Trait("tier", "slow")]
    public void A_core_reads_prose_faster_than_the_library()
    {
        SkipWhereThereIsNone();
        foreach (string name in new[] { "GPT-2", "Qwen2", "T5, new", "ALBERT" })
        {
            string path = folder.Write("tokenizer.json", PipelineFile.Json(name).ToJsonString());
            string[] texts = [.. Enumerable.Range(0, 4000).Select(i => $"The thing {i % 97} is that the lower newer cat can't sit on a mat, and it ran to the lowest in the whole town; so it sings.")];
            Tokenizer ours = TokenizerFiles.Load(path);
            var oracle = new Oracle(path);
            double Seconds(Action<string> encode)
            {
                long start = Stopwatch.GetTimestamp();
                foreach (string text in texts) encode(text);
                return Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
            // The best of a few turns each: others use the machine too.
            double[] own = [.. Enumerable.Range(0, 5).Select(_ => Seconds(text => ours.Encode(text)))], theirs = [.. Enumerable.Range(0, 5).Select(_ => Seconds(text => oracle.Encode(text)))];
            double megabytes = texts.Sum(text => Encoding.UTF8.GetByteCount(text)) / 1e6;
            TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {megabytes / own.Min():F1} MB/s, the library {megabytes / theirs.Min():F1} MB/s");
            Assert.True(own.Min() < theirs.Min(), $"{name}: {megabytes / own.Min():F1} MB/s, the library {megabytes / theirs.Min():F1} MB/s");
        }
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
