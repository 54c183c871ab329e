using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>One step from tokens, as a vocabulary writes them, to a text (Hugging Face tokenizers 0.2x, decoders): what it leaves is joined.</summary>
internal abstract record Decoder
{
    public abstract IReadOnlyList<string> Apply(IReadOnlyList<string> tokens);
}

/// <summary>Step after step.</summary>
internal sealed record DecoderSequence(IReadOnlyList<Decoder> Steps) : Decoder
{
    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens) => Steps.Aggregate(tokens, (current, step) => step.Apply(current));
}

/// <summary>Tokens that <see cref="ByteAlphabet"/> writes, together the bytes of a text; bytes that are no text become U+FFFD.</summary>
internal sealed record ByteLevelDecoder : Decoder
{
    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens)
    {
        var bytes = new List<byte>();
        foreach (string token in tokens) ByteAlphabet.Append(token, bytes);
        return [Encoding.UTF8.GetString([.. bytes])];
    }
}

/// <summary>Tokens such as <c>&lt;0x0A&gt;</c>, side by side the bytes of a text; where they are none, each becomes U+FFFD.</summary>
internal sealed record ByteFallbackDecoder : Decoder
{
    private static readonly Encoding Strict = new UTF8Encoding(false, throwOnInvalidBytes: true);
    private static readonly Dictionary<string, byte> Bytes = Enumerable.Range(0, 256).ToDictionary(b => WordModel.ByteToken((byte)b), b => (byte)b);

    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens)
    {
        var decoded = new List<string>();
        var bytes = new List<byte>();
        void Flush()
        {
            if (bytes.Count == 0) return;
            try
            {
                decoded.Add(Strict.GetString([.. bytes]));
            }
            catch (DecoderFallbackException)
            {
                decoded.AddRange(Enumerable.Repeat("\uFFFD", bytes.Count));
            }
            bytes.Clear();
        }
        foreach (string token in tokens)
        {
            if (Bytes.TryGetValue(token, out byte value))
            {
                bytes.Add(value);
                continue;
            }
            Flush();
            decoded.Add(token);
        }
        Flush();
        return decoded;
    }
}

/// <summary>All tokens are one from here on.</summary>
internal sealed record Fusing : Decoder
{
    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens) => [string.Concat(tokens)];
}

/// <summary>So many of a character at most, from the beginning and from the end of each token, are left out.</summary>
internal sealed record StripDecoder(char Content, int Start, int Stop) : Decoder
{
    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens) => [.. tokens.Select(Stripped)];

    private string Stripped(string token)
    {
        (int from, int to) = (0, token.Length);
        while (from < to && from < Start && token[from] == Content) from++;
        while (to > from && token.Length - to < Stop && token[to - 1] == Content) to--;
        return token[from..to];
    }
}

/// <summary>One text in place of what a pattern finds in each token.</summary>
internal sealed record ReplaceDecoder(TextPattern Old, string New) : Decoder
{
    private readonly Replacing replacing = new(Old, New);

    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens) =>
        [.. tokens.Select(token => replacing.MayChange(token) ? replacing.Apply(AlignedText.Of(token)).ToString() : token)];
}

/// <summary>Marks become spaces; one that was put before the text is left out.</summary>
internal sealed record MetaspaceDecoder(char Mark, bool Prepended) : Decoder
{
    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens) =>
        [.. tokens.Select((token, i) => (i == 0 && Prepended && token.StartsWith(Mark) ? token[1..] : token).Replace(Mark, ' '))];
}

/// <summary>A mark at the end of a token ends a word.</summary>
internal sealed record SuffixDecoder(string Suffix) : Decoder
{
    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens) =>
        [.. tokens.Select((token, i) => Suffix.Length == 0 ? token : token.Replace(Suffix, i == tokens.Count - 1 ? "" : " ", StringComparison.Ordinal))];
}

/// <summary>WordPiece's: a token begins a word unless a mark says otherwise; blanks that words have not are left out, where asked for.</summary>
internal sealed record WordPieceDecoder(string Prefix, bool CleansUp) : Decoder
{
    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens)
    {
        var decoded = new List<string>();
        foreach (string token in tokens)
        {
            bool continues = token.StartsWith(Prefix, StringComparison.Ordinal);
            string text = decoded.Count == 0 ? token : continues ? token[Prefix.Length..] : " " + token;
            decoded.Add(CleansUp ? WordPiece.Joined(new StringBuilder(text)).ToString() : text);
        }
        return decoded;
    }
}

/// <summary>No decoder: tokens with spaces between.</summary>
internal sealed record Spacing : Decoder
{
    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens) => [string.Join(' ', tokens)];
}

/// <summary>SentencePiece's own (sentencepiece_processor.cc, Decode): U+2581 becomes a space, those before the text are left out, what is unknown has a text of its own.</summary>
/// <param name="TrimsStart">The text begins with blanks that were put there.</param>
/// <param name="TrimsAll">All of them, not one.</param>
/// <param name="Unknown">The unknown piece.</param>
/// <param name="UnknownText">What it is decoded to.</param>
internal sealed record SentencePieceDecoder(bool TrimsStart, bool TrimsAll, string? Unknown, string UnknownText) : Decoder
{
    public override IReadOnlyList<string> Apply(IReadOnlyList<string> tokens)
    {
        bool isStart = TrimsStart;
        var decoded = new List<string>();
        foreach (string token in new ByteFallbackDecoder().Apply(tokens))
        {
            string piece = token;
            if (token == Unknown) piece = UnknownText;
            else
            {
                if (isStart && piece.StartsWith('\u2581'))
                {
                    piece = piece[1..];
                    isStart = TrimsAll;
                }
                piece = piece.Replace('\u2581', ' ');
            }
            if (piece.Length > 0) isStart = false;
            decoded.Add(piece);
        }
        return decoded;
    }
}
