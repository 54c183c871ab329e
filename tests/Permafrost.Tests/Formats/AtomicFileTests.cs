using System.Text;
using Permafrost.Formats;

namespace Permafrost.Tests.Formats;

/// <summary>The old file or the new one, never half of either, and nothing left beside it.</summary>
public class AtomicFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose()
    {
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Writes_a_new_file_and_replaces_an_old_one()
    {
        string path = folder["a.txt"];
        AtomicFile.WriteText(path, "first, and longer");
        AtomicFile.WriteText(path, "zweite: ü");
        Assert.Equal("zweite: ü"u8.ToArray(), File.ReadAllBytes(path));  // UTF-8, no byte order mark
        Assert.Equal([path], Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData(typeof(InvalidOperationException))]
    [InlineData(typeof(OperationCanceledException))]
    [InlineData(typeof(PermafrostException))]
    public void An_exception_in_the_writer_leaves_the_old_file_and_nothing_else(Type type)
    {
        string path = folder.Write("a.txt", "old");
        Exception thrown = Assert.Throws(type, () => AtomicFile.Write(path, stream =>
        {
            stream.Write(Encoding.UTF8.GetBytes("half of the new"));
            stream.Flush();
            throw type == typeof(PermafrostException) ? new PermafrostException("stop") : (Exception)Activator.CreateInstance(type, "stop")!;
        }));
        Assert.Equal("stop", thrown.Message);
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Equal([path], Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void A_full_disk_is_told_in_one_sentence_and_leaves_the_old_file()
    {
        string path = folder.Write("a.txt", "old");
        string message = Refusal.Of(path, () => AtomicFile.Write(path, _ => throw new IOException("No space left on device.")));
        Assert.Contains("cannot write", message, StringComparison.Ordinal);
        Assert.Contains("No space left on device;", message, StringComparison.Ordinal);
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Equal([path], Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void A_folder_that_is_not_there_and_one_in_the_place_of_the_file_are_told()
    {
        Refusal.Of(folder["no", "a.txt"], () => AtomicFile.WriteText(folder["no", "a.txt"], "x"));
        Directory.CreateDirectory(folder["taken"]);
        Refusal.Of(folder["taken"], () => AtomicFile.WriteText(folder["taken"], "x"));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void What_a_killed_process_left_half_written_is_removed_and_nothing_else()
    {
        string own = folder.Write("notes.tmp", "mine");
        string whole = folder.Write(Path.Combine("adapter", "model.safetensors"), "whole");
        folder.Write("predictions.jsonl.4711.tmp", "half");
        folder.Write(Path.Combine("adapter", "model.safetensors.12.tmp"), "half");
        AtomicFile.RemoveLeftovers(folder.Path);
        Assert.Equal([own, whole], Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Reverse());
    }
}
