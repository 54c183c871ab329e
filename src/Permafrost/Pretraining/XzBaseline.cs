using System.ComponentModel;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;

namespace Permafrost.Pretraining;

/// <summary>What a general compressor makes of held-out text: <c>xz -9</c>, where that program is installed. It sees the text alone, nothing of what was trained on.</summary>
internal static class XzBaseline
{
    /// <summary>Bits for each byte in UTF-8, of the held-out documents of each file, one behind the other; null where there is no such program, or it failed.</summary>
    /// <param name="heldOut">The documents, by file.</param>
    /// <param name="program">The program.</param>
    /// <param name="cancellation">Ends it.</param>
    public static double?[] BitsPerByte(IReadOnlyList<TokenStream> heldOut, string program = "xz", CancellationToken cancellation = default) =>
        [.. heldOut.Select(documents => BitsPerByte(documents, program, cancellation))];

    private static double? BitsPerByte(TokenStream documents, string program, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo(program, ["-9", "-T1", "-c"])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // They may hold options.
        foreach (string variable in new[] { "XZ_DEFAULTS", "XZ_OPT" }) start.Environment.Remove(variable);
        try
        {
            using var process = Process.Start(start)!;
            using CancellationTokenRegistration ends = cancellation.Register(process.Kill);
            process.ErrorDataReceived += static (_, _) => { };
            process.BeginErrorReadLine();
            Task<long> packed = Task.Run(() => Count(process.StandardOutput.BaseStream), CancellationToken.None);
            long written = 0;
            using (Stream input = process.StandardInput.BaseStream)
                foreach (string text in Texts(documents, cancellation))
                {
                    byte[] bytes = Encoding.UTF8.GetBytes(text);
                    input.Write(bytes);
                    written += bytes.Length;
                }
            process.WaitForExit();
            cancellation.ThrowIfCancellationRequested();
            return process.ExitCode == 0 && written == documents.Bytes && written > 0 ? 8.0 * packed.Result / written : null;
        }
        catch (Exception error) when (error is Win32Exception or IOException)
        {
            // Not installed, or ended before it had read all: out of memory, of which it takes 700 MB.
            cancellation.ThrowIfCancellationRequested();
            return null;
        }
    }

    // The texts of the documents again, from their files: tokens may not hold all of a text.
    private static IEnumerable<string> Texts(TokenStream documents, CancellationToken cancellation)
    {
        foreach (IGrouping<CorpusFile, (CorpusFile File, CorpusDocument Document, long Start)> file in documents.Documents.GroupBy(one => one.File))
        {
            HashSet<string> names = [.. file.Select(one => one.Document.Name)], hashes = [.. file.Select(one => one.Document.Sha256)];
            var text = new StringBuilder();
            string? Whole()
            {
                string whole = text.ToString();
                text.Clear();
                return whole.Length > 0 && hashes.Contains(Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(whole)))) ? whole : null;
            }
            foreach (CorpusPiece piece in new CorpusReader(file.Key).Pieces())
            {
                cancellation.ThrowIfCancellationRequested();
                if (piece.First && Whole() is { } before) yield return before;
                if (names.Contains(piece.Document)) text.Append(piece.Text);
            }
            if (Whole() is { } last) yield return last;
        }
    }

    private static long Count(Stream stream)
    {
        var buffer = new byte[1 << 16];
        long bytes = 0;
        for (int read; (read = stream.Read(buffer)) > 0;) bytes += read;
        return bytes;
    }
}
