using System.Text;
using Permafrost.Data;

namespace Permafrost.Tests.Data;

/// <summary>Lines of text: every encoding that a mark tells, every end of a line, and nothing that is no text.</summary>
public class LineReaderTests
{
    private static readonly string[] Expected = ["0110", "", "äß 😀 \u0a0d", "end"];

    public static TheoryData<string> Encodings => [.. new[] { "utf-8", "utf-16", "utf-16BE", "utf-32", "utf-32BE" }];

    [Theory]
    [MemberData(nameof(Encodings))]
    public void A_byte_order_mark_says_how_to_read(string name)
    {
        var encoding = Encoding.GetEncoding(name);
        foreach (string end in new[] { "\n", "\r\n", "\r" })
        {
            byte[] bytes = [.. encoding.GetPreamble(), .. encoding.GetBytes(string.Join(end, Expected))];
            Assert.Equal(Expected, Lines(bytes));
            Assert.Equal(Expected, Lines([.. bytes, .. encoding.GetBytes(end)]));
        }
        Assert.Empty(Lines(encoding.GetPreamble()));
    }

    [Fact]
    public void Without_a_mark_it_is_utf_8()
    {
        Assert.Equal(Expected, Lines(Encoding.UTF8.GetBytes(string.Join("\n", Expected))));
        Assert.Equal(["a", "b", "", "c"], Lines("a\nb\r\n\rc"u8.ToArray()));
        Assert.Equal(["7"], Lines("7"u8.ToArray()));
        Assert.Empty(Lines([]));
        Assert.Equal("\0", Assert.Single(Lines([0])));
    }

    [Theory]
    [InlineData(new byte[] { (byte)'a', (byte)'\n', 0xe9, (byte)'\n' }, "x.txt:2: ", "UTF-8")]  // Latin-1
    [InlineData(new byte[] { 0xff }, "x.txt:1: ", "UTF-8")]
    [InlineData(new byte[] { 0xef, 0xbb, 0xbf, 0xc3 }, "x.txt:1: ", "UTF-8")]
    [InlineData(new byte[] { 0xff, 0xfe, (byte)'a', 0, (byte)'\n', 0, 0, 0xd8, (byte)'b', 0 }, "x.txt:2: ", "UTF-16")]  // half a pair
    [InlineData(new byte[] { 0xfe, 0xff, 0, (byte)'a', 0 }, "x.txt:1: ", "UTF-16")]  // half a unit
    public void What_is_no_text_is_refused_with_its_line(byte[] bytes, string where, string encoding)
    {
        string message = Refusal.Of(where, () => Lines(bytes));
        Assert.Contains($"not valid {encoding}", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Lines_before_a_wrong_one_are_read_as_they_arrive()
    {
        using var stream = new MemoryStream([(byte)'a', (byte)'\n', 0xff, (byte)'\n']);
        Assert.Equal("a", new LineReader(stream, "x.txt").Lines().First());
    }

    [Fact]
    public void A_line_that_no_example_has_is_refused_before_it_fills_the_memory()
    {
        using var stream = new Endless();
        Refusal.Of("x.txt:2: the line has more than 64 MiB", () => new LineReader(stream, "x.txt").Lines().Count());
        Assert.True(stream.Given < LineReader.MostLineBytes + (1 << 17));
    }

    // A line, then one without end.
    private sealed class Endless : MemoryStream
    {
        public long Given { get; private set; }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer)
        {
            buffer.Fill((byte)'a');
            if (Given == 0) buffer[1] = (byte)'\n';
            Given += buffer.Length;
            return buffer.Length;
        }
    }

    private static string[] Lines(byte[] bytes)
    {
        using var stream = new MemoryStream(bytes);
        return [.. new LineReader(stream, "x.txt").Lines()];
    }
}
