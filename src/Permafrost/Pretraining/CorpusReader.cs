using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Formats;

namespace Permafrost.Pretraining;

/// <summary>A file of text.</summary>
/// <param name="Path">Where it is.</param>
/// <param name="Name">Its name, which no other file of the corpus has: the path below the folder that was given, or a given file's name without folders.</param>
/// <param name="Sha256">Of its bytes as they are on disk, in lower-case hex.</param>
public sealed record CorpusFile(string Path, string Name, string Sha256)
{
    /// <summary>The name without folders.</summary>
    public string BareName => System.IO.Path.GetFileName(Name);
}

/// <summary>A stretch of a document: its tokens, one stretch after the other, are the document's.</summary>
/// <param name="Document">The document's name.</param>
/// <param name="First">Whether the document begins here.</param>
/// <param name="Text">The text, line ends as line feeds.</param>
internal sealed record CorpusPiece(string Document, bool First, string Text);

/// <summary>
/// Reads text for pretraining: <c>.txt</c> files, one document each, or several where lines <c>&lt;doc NAME&gt;</c> begin them (WikiExtractor's convention), and <c>.jsonl</c>
/// files with an object a line, whose <c>text</c> is a document. Files packed by gzip are unpacked. A text is UTF-8; bytes that are none become U+FFFD, and are counted.
/// </summary>
internal sealed class CorpusReader(CorpusFile file, bool strict = false)
{
    // A piece is at least so long, so that all cores have something to do and no document need be in memory whole.
    private const int PieceCharacters = 1 << 16;

    private readonly CountingFallback fallback = new();

    /// <summary>How many byte sequences were no UTF-8.</summary>
    public long Replaced => fallback.Count;

    /// <summary>The files below some paths, folders in the order of their files' names.</summary>
    /// <exception cref="PermafrostException">A path does not exist or holds no text, or two files have the same content or the same name.</exception>
    public static IReadOnlyList<CorpusFile> Files(IReadOnlyList<string> paths)
    {
        var found = new List<CorpusFile>();
        foreach (string path in paths)
        {
            if (Directory.Exists(path))
            {
                string[] inside = [.. Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories).Where(IsText).Order(StringComparer.Ordinal)];
                if (inside.Length == 0) throw new PermafrostException($"{path} holds no text: no .txt, .txt.gz, .jsonl or .jsonl.gz");
                found.AddRange(inside.Select(file => Described(file, Path.GetRelativePath(path, file).Replace(Path.DirectorySeparatorChar, '/'))));
            }
            else if (File.Exists(path)) found.Add(Described(path, Path.GetFileName(path)));
            else throw new PermafrostException($"{path} does not exist; data for pretraining are text files, or folders of them");
        }
        foreach (IGrouping<string, CorpusFile> same in found.GroupBy(file => file.Sha256))
            if (same.Skip(1).FirstOrDefault() is { } twice) throw new PermafrostException($"{twice.Path} has the same content as {same.First().Path}; leave one out");
        foreach (IGrouping<string, CorpusFile> same in found.GroupBy(file => file.Name))
            if (same.Skip(1).FirstOrDefault() is { } twice)
                throw new PermafrostException($"{same.First().Path} and {twice.Path} would both be called {same.Key}; give the folder above both, or rename one");
        return found;
    }

    /// <summary>The pieces of the file's documents, in order.</summary>
    /// <exception cref="PermafrostException">The file cannot be read, is damaged, or, where that is refused, holds bytes that are no UTF-8.</exception>
    public IEnumerable<CorpusPiece> Pieces() => IsJsonLines(file.Path) ? JsonLines() : PlainText();

    private IEnumerable<CorpusPiece> PlainText()
    {
        var text = new StringBuilder();
        string document = file.BareName;
        bool first = true, blank = true;
        foreach ((string line, int _) in Lines())
        {
            if (Begins(line) is { } name)
            {
                if (text.Length > 0) yield return new CorpusPiece(document, first, text.ToString());
                text.Clear();
                (document, first, blank) = (name, true, true);
                continue;
            }
            if (line == "</doc>") continue;
            // Cut where a line of words ends and another begins: a tokenizer finds the same words there.
            if (text.Length >= PieceCharacters && !blank && line.Length > 0 && !char.IsWhiteSpace(line[0]))
            {
                yield return new CorpusPiece(document, first, text.ToString());
                text.Clear();
                first = false;
            }
            blank = string.IsNullOrWhiteSpace(line);
            // Nothing begins with an empty line.
            if (text.Length == 0 && first && blank) continue;
            text.Append(line).Append('\n');
        }
        if (text.Length > 0) yield return new CorpusPiece(document, first, text.ToString());
    }

    private IEnumerable<CorpusPiece> JsonLines()
    {
        foreach ((string line, int number) in Lines())
        {
            if (line.Length == 0) continue;
            string? text;
            try
            {
                text = (JsonNode.Parse(line) as JsonObject)?["text"]?.GetValue<string>();
            }
            catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException or ArgumentException)
            {
                throw new PermafrostException($"{file.Path} line {number} is not valid JSON: {JsonFile.Reason(error)}");
            }
            if (text is null) throw new PermafrostException($"{file.Path} line {number} has no \"text\"; a line is an object with the text of a document");
            for (int at = 0; at < text.Length;)
            {
                int end = Cut(text, at);
                yield return new CorpusPiece($"{file.BareName}:{number}", at == 0, text[at..end]);
                at = end;
            }
        }
    }

    private static int Cut(string text, int from)
    {
        for (int end = from + PieceCharacters; end < text.Length; end++)
            if (text[end - 1] == '\n' && !char.IsWhiteSpace(text[end]) && !char.IsWhiteSpace(text[end - 2])) return end;
        return text.Length;
    }

    private IEnumerable<(string Line, int Number)> Lines()
    {
        FileStream stream;
        try
        {
            stream = File.OpenRead(file.Path);
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(file.Path, error);
        }
        using Stream bytes = Gzip.Unpacked(stream);
        var encoding = Encoding.GetEncoding("utf-8", EncoderFallback.ReplacementFallback, fallback);
        using var reader = new StreamReader(bytes, encoding, detectEncodingFromByteOrderMarks: true, 1 << 16);
        for (int number = 1; Next(reader) is { } line; number++)
        {
            if (strict && fallback.Count > 0)
                throw new PermafrostException($"{file.Path} line {number} or just behind it: bytes that are not UTF-8; mend the file, or let them be replaced");
            yield return (line, number);
        }
    }

    private string? Next(StreamReader reader)
    {
        try
        {
            return reader.ReadLine();
        }
        catch (InvalidDataException)
        {
            throw new PermafrostException($"{file.Path} is damaged: gzip cannot unpack it");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(file.Path, error);
        }
    }

    // <doc NAME>, or WikiExtractor's <doc id="12" url="..." title="NAME">.
    private static string? Begins(string line)
    {
        if (!line.StartsWith("<doc ", StringComparison.Ordinal) || !line.EndsWith('>')) return null;
        string inside = line[5..^1].Trim();
        int title = inside.IndexOf("title=\"", StringComparison.Ordinal);
        if (title < 0) return inside;
        string rest = inside[(title + 7)..];
        return rest.IndexOf('"') is > 0 and var end ? rest[..end] : inside;
    }

    private static bool IsText(string path) => Plain(path) is ".txt" or ".jsonl";

    private static bool IsJsonLines(string path) => Plain(path) == ".jsonl";

    private static string Plain(string path) => Path.GetExtension(path.EndsWith(".gz", StringComparison.Ordinal) ? path[..^3] : path);

    private static CorpusFile Described(string path, string name)
    {
        try
        {
            using FileStream stream = File.OpenRead(path);
            return new CorpusFile(path, name, Convert.ToHexStringLower(SHA256.HashData(stream)));
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    /// <summary>U+FFFD for what cannot be decoded, counted.</summary>
    private sealed class CountingFallback : DecoderFallback
    {
        public long Count { get; private set; }

        public override int MaxCharCount => 1;

        public override DecoderFallbackBuffer CreateFallbackBuffer() => new Mark(this);

        private sealed class Mark(CountingFallback owner) : DecoderFallbackBuffer
        {
            private bool pending;

            public override int Remaining => pending ? 1 : 0;

            public override bool Fallback(byte[] bytesUnknown, int index)
            {
                owner.Count++;
                pending = true;
                return true;
            }

            public override char GetNextChar()
            {
                char next = pending ? '\uFFFD' : '\0';
                pending = false;
                return next;
            }

            public override bool MovePrevious() => false;
        }
    }
}
