using System.Text;

namespace Permafrost.Cli.Terminal;

/// <summary>
/// Standard output or standard error, whose other end may be full or closed. Remarks that nobody can read must not end a training; a result that cannot be
/// printed is an error.
/// </summary>
/// <param name="inner">Where the text goes.</param>
/// <param name="told">The name of <paramref name="inner"/> in the error of a failed write; null to ignore failures.</param>
internal sealed class SteadyWriter(TextWriter inner, string? told) : TextWriter
{
    public override Encoding Encoding => inner.Encoding;

    public override void Write(char value) => Try(() => inner.Write(value));

    public override void Write(string? value) => Try(() => inner.Write(value));

    public override void Write(char[] buffer, int index, int count) => Try(() => inner.Write(buffer, index, count));

    public override void Write(ReadOnlySpan<char> buffer) => Write(buffer.ToString());

    public override void WriteLine(string? value) => Write(value + NewLine);

    public override void Flush() => Try(inner.Flush);

    private void Try(Action write)
    {
        try
        {
            write();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ObjectDisposedException)
        {
            if (told is not null) throw new PermafrostException($"{told} cannot be written: {error.Message.TrimEnd('.')}", error);
        }
    }
}
