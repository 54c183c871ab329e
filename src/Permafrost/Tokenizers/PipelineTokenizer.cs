namespace Permafrost.Tokenizers;

/// <summary>What a tokenizer is made of, whatever file told it: from a text to tokens, and back.</summary>
internal sealed record Pipeline
{
    /// <summary>The scheme's name.</summary>
    public required string Kind { get; init; }

    /// <summary>The tokens by their ids; null where an id has none.</summary>
    public required IReadOnlyList<string?> Vocabulary { get; init; }

    /// <summary>Cuts words into tokens.</summary>
    public required WordModel Model { get; init; }

    public Normalizer? Normalizer { get; init; }

    /// <summary>Cuts texts into words; null where a text is one word.</summary>
    public PreTokenizer? PreTokenizer { get; init; }

    public Decoder Decoder { get; init; } = new Spacing();

    /// <summary>The tokens that are recognised in a text, with their ids.</summary>
    public IReadOnlyList<(AddedToken Token, int Id)> Added { get; init; } = [];

    /// <summary>The tokens that stand around a text.</summary>
    public Surroundings Around { get; init; } = Surroundings.None;

    public int? Unknown { get; init; }

    public int? Pad { get; init; }

    public int? LongestText { get; init; }
}

/// <summary>What is done to a text's tokens.</summary>
/// <param name="Before">The ids before them.</param>
/// <param name="After">The ids behind them.</param>
/// <param name="Trim">Offsets leave out the spaces that tokens begin or end with.</param>
/// <param name="Prefixed">A space was put before the text, which no offset has.</param>
internal sealed record Surroundings(IReadOnlyList<int> Before, IReadOnlyList<int> After, bool Trim = false, bool Prefixed = false)
{
    public static Surroundings None { get; } = new([], []);
}

/// <summary>
/// A tokenizer in general (Hugging Face tokenizers 0.2x, tokenizer/mod.rs): added tokens are found, what is between them is normalised, cut into words, and each word into tokens.
/// </summary>
internal sealed class PipelineTokenizer : Tokenizer
{
    private readonly Pipeline parts;
    private readonly AddedTokens asWritten;
    private readonly AddedTokens normalized;
    private readonly Dictionary<AddedToken, int> added;
    private readonly HashSet<int> special;
    private readonly int[] before;
    private readonly int[] after;

    // For each token how many spaces it begins and ends with, where offsets leave them out.
    private readonly (int Leading, int Trailing)[]? spaces;

    public PipelineTokenizer(Pipeline parts)
    {
        this.parts = parts;
        added = parts.Added.Where(one => one.Token.Content.Length > 0).DistinctBy(one => one.Token).ToDictionary(one => one.Token, one => one.Id);
        special = [.. parts.Added.Where(one => one.Token.Special).Select(one => one.Id)];
        asWritten = new AddedTokens(added.Keys.Where(token => !token.Normalized).Select(token => (token.Content, token)));
        normalized = new AddedTokens(added.Keys.Where(token => token.Normalized).Select(token => (Normal(token.Content), token)));
        (before, after) = ([.. parts.Around.Before], [.. parts.Around.After]);
        if (parts.Around.Trim) spaces = [.. parts.Vocabulary.Select(token => token is null ? default : (Spaces(token), Spaces(token.Reverse())))];
    }

    /// <inheritdoc/>
    public override string Kind => parts.Kind;

    /// <inheritdoc/>
    public override int VocabularySize => parts.Vocabulary.Count;

    /// <inheritdoc/>
    public override int? PadId => parts.Pad;

    /// <inheritdoc/>
    public override int? UnknownId => parts.Unknown;

    /// <inheritdoc/>
    public override int? LongestText => parts.LongestText;

    /// <inheritdoc/>
    public override int SpecialTokens => before.Length + after.Length;

    /// <inheritdoc/>
    protected override TokenizedText Tokenize(string text, bool addSpecialTokens, int? maxLength, bool splitSpecialTokens)
    {
        (int[] first, int[] last) = addSpecialTokens ? (before, after) : ([], []);
        var list = new TokenList(first, last, maxLength, text.Length);
        var tokens = new Trimmed(this, text, list);
        if (!asWritten.AreIn(text)) AddPart(text, 0, text.Length, tokens, !splitSpecialTokens);
        else
        {
            var written = AlignedText.Of(text);
            foreach ((int from, int to, AddedToken? token) in asWritten.Split(written, special: !splitSpecialTokens))
            {
                if (token is null) AddPart(text, written[from].Start, written[to - 1].End, tokens, !splitSpecialTokens);
                else tokens.Add(added[token], written, from, to);
            }
        }
        return list.Finish();
    }

    /// <inheritdoc/>
    public override string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = true)
    {
        var tokens = new List<string>(ids.Length);
        foreach (int id in ids)
        {
            string token = Token(id);
            if (!skipSpecialTokens || !special.Contains(id)) tokens.Add(token);
        }
        return tokens.Count == 0 ? "" : string.Concat(parts.Decoder.Apply(tokens));
    }

    /// <inheritdoc/>
    public override string Token(int id) => id >= 0 && id < parts.Vocabulary.Count && parts.Vocabulary[id] is { } token ? token
        : throw new PermafrostException($"{id} is no token; the vocabulary has 0 to {parts.Vocabulary.Count - 1}");

    private void AddPart(string text, int from, int to, Trimmed tokens, bool findSpecial)
    {
        if (from == to) return;
        ReadOnlySpan<char> part = text.AsSpan(from, to - from);
        AlignedText? normal = parts.Normalizer is { } normalizer && normalizer.MayChange(part) ? normalizer.Apply(AlignedText.Of(text, from, to)) : null;
        if (!normalized.Any || !normalized.AreIn(normal is null ? part : normal.ToString()))
        {
            AddWords(normal is null ? Words.Of(text, from, to) : Words.Of(normal), tokens);
            return;
        }
        normal ??= AlignedText.Of(text, from, to);
        foreach ((int start, int end, AddedToken? token) in normalized.Split(normal, findSpecial))
        {
            if (token is null) AddWords(Words.Of(normal.Range(start, end)), tokens);
            else tokens.Add(added[token], normal, start, end);
        }
    }

    private void AddWords(Words words, Trimmed tokens)
    {
        if (parts.PreTokenizer is { } cutter) words = cutter.Apply(words);
        foreach ((int from, int to) in words.Ranges)
            foreach (Piece piece in parts.Model.Encode(words.Units[from..to])) tokens.Add(piece.Id, words.Start(from + piece.From), words.End(from + piece.To - 1));
    }

    private string Normal(string text) => parts.Normalizer?.Apply(AlignedText.Of(text)).ToString() ?? text;

    private static int Spaces(IEnumerable<char> token) => token.TakeWhile(c => c == ByteAlphabet.Of((byte)' ') || char.IsWhiteSpace(c)).Count();

    // Adds tokens with offsets that leave out spaces, where asked for: a space, one character (pre_tokenizers/byte_level.rs, process_offsets).
    private readonly struct Trimmed(PipelineTokenizer tokenizer, string text, TokenList tokens)
    {
        public void Add(int id, int start, int end)
        {
            if (tokenizer.spaces is { } spaces && spaces[id] is not (0, 0) and var (leading, trailing)) Add(id, start, end, leading, trailing);
            else tokens.Add(id, start, end);
        }

        // An added token, with the blanks around it that it takes.
        public void Add(int id, AlignedText where, int from, int to)
        {
            (int start, int end) = (where[from].Start, where[to - 1].End);
            int leading = 0, trailing = 0;
            while (tokenizer.spaces is not null && from + leading < to && Characters.IsWhite(where[from + leading].Rune)) leading++;
            while (tokenizer.spaces is not null && to - trailing > from && Characters.IsWhite(where[to - 1 - trailing].Rune)) trailing++;
            Add(id, start, end, leading, trailing);
        }

        private void Add(int id, int start, int end, int leading, int trailing)
        {
            bool isFirst = tokens.Count == 0 || start == 0;
            if (isFirst && tokenizer.parts.Around.Prefixed && leading == 1) leading = 0;
            for (; leading > 0 && start < end; leading--) start += char.IsHighSurrogate(text[start]) && start + 1 < end ? 2 : 1;
            for (; trailing > 0 && end > start; trailing--) end -= char.IsLowSurrogate(text[end - 1]) && end - 1 > start ? 2 : 1;
            tokens.Add(id, start, end);
        }
    }
}
