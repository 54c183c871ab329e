using Permafrost.Data;

namespace Permafrost.Tests.Data;

/// <summary>Lines of files that are not kept in memory.</summary>
public sealed class LineIndexTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("one\ntwo\nthree\n")]
    [InlineData("one\ntwo\nthree")]
    [InlineData("\uFEFFone\r\ntwo\r\nthree\r\n")]
    [InlineData("\n\none\n\ntwo\n   \nthree\n\n")]
    public void Any_line_is_read_by_its_number(string text)
    {
        string path = folder.Write("lines", text);
        var seen = new List<(string Where, string Line)>();
        using var index = LineIndex.Of(path, (where, line) => seen.Add((where, line)));
        Assert.Equal(["one", "two", "three"], seen.Select(line => line.Line));
        Assert.Equal(3, index.Count);
        string[] all = text.TrimStart('\uFEFF').Split('\n');
        foreach (int number in new[] { 2, 0, 1 })
        {
            Assert.Equal(seen[number], (index.Where(number), index.Line(number)));
            Assert.Equal($"{path}:{1 + Array.FindIndex(all, line => line.Trim() == seen[number].Line)}", index.Where(number));
        }
    }

    [Fact]
    public void Lines_go_beyond_the_pieces_that_are_read()
    {
        string[] lines = [.. Enumerable.Range(0, 7).Select(i => new string((char)('a' + i), 300_000 * (i % 3 + 1)))];
        using var index = LineIndex.Of(folder.Write("lines", string.Join('\n', lines)), (_, _) => { });
        Assert.Equal(lines, Enumerable.Range(0, 7).Select(i => index.Line(i)));
        using var same = LineIndex.Of(folder.Write("same", string.Join('\n', lines)), (_, _) => { });
        Assert.Equal(index.Sha256, same.Sha256);
    }

    [Fact]
    public void Empty_lines_cost_no_memory_however_many_there_are()
    {
        const int Empty = 20 << 20;
        string path = folder["empty"];
        using (FileStream file = File.Create(path))
        {
            file.Write("one\n"u8);
            var empty = new byte[Empty];
            Array.Fill(empty, (byte)'\n');
            file.Write(empty);
            file.Write("two\n"u8);
        }
        long before = GC.GetAllocatedBytesForCurrentThread();
        using var index = LineIndex.Of(path, (_, _) => { });
        long whole = GC.GetAllocatedBytesForCurrentThread() - before;
        before = GC.GetAllocatedBytesForCurrentThread();
        string[] lines = [index.Line(0), index.Line(1)];
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(["one", "two"], lines);
        Assert.Equal([$"{path}:1", $"{path}:{Empty + 2}"], [index.Where(0), index.Where(1)]);
        Assert.True(whole < 8 << 20, $"{whole:N0} bytes for the index of two lines");
        Assert.True(allocated < 4 << 20, $"{allocated:N0} bytes for two short lines");
    }

    [Theory]
    [InlineData(new byte[] { }, "holds no lines")]
    [InlineData(new byte[] { (byte)'a', 10, 0xff, 10 }, "lines:2")]
    [InlineData(new byte[] { 0xff, 0xfe, (byte)'a', 0 }, "UTF-16")]
    public void What_is_no_text_is_refused(byte[] content, string reason)
    {
        PermafrostException refused = Assert.Throws<PermafrostException>(() => LineIndex.Of(folder.Write("lines", content), (_, _) => { }));
        Assert.Contains(reason, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_line_without_an_end_is_refused_and_a_file_that_is_not_there_too()
    {
        string path = folder["long"];
        using (FileStream file = File.Create(path)) for (int i = 0; i < 66; i++) file.Write(new byte[1 << 20]);
        Assert.Contains("more than 64 MiB", Assert.Throws<PermafrostException>(() => LineIndex.Of(path, (_, _) => { })).Message, StringComparison.Ordinal);
        Assert.Contains(folder["gone"], Assert.Throws<PermafrostException>(() => LineIndex.Of(folder["gone"], (_, _) => { })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_was_cut_while_it_was_read_is_noticed()
    {
        string path = folder.Write("lines", "one\ntwo\n");
        using var index = LineIndex.Of(path, (_, _) => { });
        using (var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) file.SetLength(5);
        Assert.Contains("shorter", Assert.Throws<PermafrostException>(() => index.Line(1)).Message, StringComparison.Ordinal);
    }
}
