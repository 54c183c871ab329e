using System.Collections.Concurrent;
using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>
/// BERT's tokenizer (Devlin et al. 2018; Hugging Face transformers 4.30, tokenization_bert.py): a text is cut into words, and each word into the longest pieces that the vocabulary
/// has, from left to right; a word that cannot be cut so is unknown as a whole.
/// </summary>
public sealed class WordPiece : Tokenizer
{
    // Words of a text repeat: the pieces of the first so many different ones are remembered.
    private const int MostKnownWords = 1 << 16;
    private const int LongestKnownWord = 32;

    // Written by Hugging Face's decoder without the blank before them (tokenization_utils_base.py, clean_up_tokenization; the library in Rust: decoders/wordpiece.rs).
    private static readonly (string Apart, string Joined)[] Joins =
        [(" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")];

    private readonly WordPieceSettings settings;
    private readonly string?[] vocabulary;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> beginnings;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> continuations;
    private readonly (int Beginning, int Continuation) longest;
    private readonly Dictionary<AddedToken, int> added;
    private readonly HashSet<int> special;
    private readonly AddedTokens asWritten;
    private readonly AddedTokens normalized;
    private readonly TextPipeline? pipeline;
    private readonly int[] before;
    private readonly int[] after;
    private readonly int unknown;
    private readonly ConcurrentDictionary<string, Piece[]> known = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Piece[]>.AlternateLookup<ReadOnlySpan<char>> knownBySpan;
    private int knownWords;

    /// <summary>A tokenizer over a vocabulary.</summary>
    /// <param name="vocabulary">The tokens: id 0, 1, ...</param>
    /// <param name="settings">How texts are read; null for BERT's usual way.</param>
    /// <param name="source">Names the vocabulary in errors.</param>
    /// <exception cref="PermafrostException">A token stands there twice, or a special token is missing.</exception>
    public WordPiece(IReadOnlyList<string> vocabulary, WordPieceSettings? settings = null, string source = "the vocabulary") : this([.. vocabulary], settings, source) { }

    // Where there are gaps, an id has no token.
    internal WordPiece(string?[] vocabulary, WordPieceSettings? settings, string source)
    {
        settings ??= new WordPieceSettings();
        (this.settings, this.vocabulary) = (settings, vocabulary);
        var all = new Dictionary<string, int>(StringComparer.Ordinal);
        var continued = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int id = 0; id < vocabulary.Length; id++)
        {
            if (vocabulary[id] is not { } token) continue;
            if (!all.TryAdd(token, id)) throw new PermafrostException($"{source}: the token '{token}' is there twice, as {all[token]} and as {id}");
            if (token.Length > settings.Continuation.Length && token.StartsWith(settings.Continuation, StringComparison.Ordinal))
            {
                continued[token[settings.Continuation.Length..]] = id;
                longest.Continuation = Math.Max(longest.Continuation, token.Length - settings.Continuation.Length);
            }
            longest.Beginning = Math.Max(longest.Beginning, token.Length);
        }
        beginnings = all.GetAlternateLookup<ReadOnlySpan<char>>();
        continuations = continued.GetAlternateLookup<ReadOnlySpan<char>>();
        knownBySpan = known.GetAlternateLookup<ReadOnlySpan<char>>();
        int Id(string token) => all.TryGetValue(token, out int id) ? id
            : throw new PermafrostException($"{source}: the special token '{token}' is not among its {all.Count} tokens");
        unknown = Id(settings.Unknown);
        (before, after) = ([.. settings.Before.Select(Id)], [.. settings.After.Select(Id)]);
        PadId = settings.Pad is { } pad && all.TryGetValue(pad, out int padding) ? padding : null;
        IEnumerable<AddedToken> recognised = settings.Added ?? settings.Special.Select(token => new AddedToken(token));
        added = recognised.Where(token => token.Content.Length > 0 && all.ContainsKey(token.Content)).DistinctBy(token => token.Content)
            .ToDictionary(token => token, token => all[token.Content]);
        special = [.. added.Where(pair => pair.Key.Special).Select(pair => pair.Value)];
        asWritten = new AddedTokens(added.Keys.Where(token => !token.Normalized).Select(token => (token.Content, token)));
        bool general = settings.Pipeline is not null || added.Keys.Any(token => token.Normalized);
        pipeline = general ? settings.Pipeline ?? settings.BertPipeline : null;
        normalized = new AddedTokens(added.Keys.Where(token => token.Normalized).Select(token => (Normalize(AlignedText.Of(token.Content)).ToString(), token)));
    }

    /// <inheritdoc/>
    public override string Kind => "WordPiece";

    /// <inheritdoc/>
    public override int VocabularySize => vocabulary.Length;

    /// <inheritdoc/>
    public override int? PadId { get; }

    /// <inheritdoc/>
    public override int? UnknownId => unknown;

    /// <inheritdoc/>
    public override int? LongestText => settings.LongestText;

    /// <inheritdoc/>
    public override int SpecialTokens => before.Length + after.Length;

    /// <inheritdoc/>
    protected override TokenizedText Tokenize(string text, bool addSpecialTokens, int? maxLength, bool splitSpecialTokens)
    {
        var tokens = new TokenList(addSpecialTokens ? before : [], addSpecialTokens ? after : [], maxLength, text.Length);
        var splitter = new WordSplitter(settings);
        void Add(ReadOnlySpan<char> word, ReadOnlySpan<int> starts, ReadOnlySpan<int> ends, int runes) => AddWord(word, starts, ends, runes, tokens);
        void AddPart(int from, int to)
        {
            if (pipeline is null) splitter.Split(text, from, to, Add);
            else AddGeneral(AlignedText.Of(text, from, to), tokens, Add, !splitSpecialTokens);
        }
        if (!asWritten.AreIn(text)) AddPart(0, text.Length);
        else
        {
            var written = AlignedText.Of(text);
            foreach ((int from, int to, AddedToken? token) in asWritten.Split(written, special: !splitSpecialTokens))
            {
                (int start, int end) = (written[from].Start, written[to - 1].End);
                if (token is null) AddPart(start, end);
                else tokens.Add(added[token], start, end);
            }
        }
        return tokens.Finish();
    }

    /// <inheritdoc/>
    public override string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = true)
    {
        var text = new StringBuilder();
        bool first = true;
        foreach (int id in ids)
        {
            string token = Token(id);
            if (skipSpecialTokens && special.Contains(id)) continue;
            if (!first) token = settings.DecodesPieces && token.StartsWith(settings.Continuation, StringComparison.Ordinal) ? token[settings.Continuation.Length..] : " " + token;
            text.Append(settings.Blanks == DecodedBlanks.OfTokens ? Joined(new StringBuilder(token)) : token);
            first = false;
        }
        return (settings.Blanks == DecodedBlanks.OfTheText ? Joined(text) : text).ToString();
    }

    internal static StringBuilder Joined(StringBuilder text)
    {
        foreach ((string apart, string joined) in Joins) text.Replace(apart, joined);
        return text;
    }

    // By any pipeline: normalised, then added tokens, then words.
    private void AddGeneral(AlignedText part, TokenList tokens, WordSplitter.WordAction add, bool findSpecial)
    {
        AlignedText text = Normalize(part);
        foreach ((int from, int to, AddedToken? token) in normalized.Split(text, findSpecial))
        {
            if (token is not null)
            {
                tokens.Add(added[token], text[from].Start, text[to - 1].End);
                continue;
            }
            var words = Words.Of(text.Range(from, to));
            if (pipeline!.PreTokenizer is { } cutter) words = cutter.Apply(words);
            foreach ((int first, int end) in words.Ranges) AddWord(words, first, end, add);
        }
    }

    private AlignedText Normalize(AlignedText text) => pipeline?.Normalizer?.Apply(text) ?? text;

    private static void AddWord(Words words, int from, int to, WordSplitter.WordAction add)
    {
        (int[] starts, int[] ends) = (new int[to - from], new int[to - from]);
        for (int i = from; i < to; i++) (starts[i - from], ends[i - from]) = (words.Start(i), words.End(i));
        ReadOnlySpan<char> letters = words.Units[from..to];
        int lowHalves = 0;
        foreach (char letter in letters) if (char.IsLowSurrogate(letter)) lowHalves++;
        add(letters, starts, ends, letters.Length - lowHalves);
    }

    /// <inheritdoc/>
    public override string Token(int id) => id >= 0 && id < vocabulary.Length && vocabulary[id] is { } token ? token
        : throw new PermafrostException($"{id} is no token; the vocabulary has 0 to {vocabulary.Length - 1}");

    private void AddWord(ReadOnlySpan<char> word, ReadOnlySpan<int> starts, ReadOnlySpan<int> ends, int runes, TokenList tokens)
    {
        if (!knownBySpan.TryGetValue(word, out Piece[]? pieces))
        {
            pieces = runes > settings.LongestWord ? [new Piece(unknown, word.Length)] : Pieces(word);
            if (word.Length <= LongestKnownWord && Volatile.Read(ref knownWords) < MostKnownWords && knownBySpan.TryAdd(word, pieces)) Interlocked.Increment(ref knownWords);
        }
        int start = 0;
        foreach (Piece piece in pieces)
        {
            tokens.Add(piece.Id, starts[start], ends[start + piece.Length - 1]);
            start += piece.Length;
        }
    }

    private Piece[] Pieces(ReadOnlySpan<char> word)
    {
        var pieces = new List<Piece>();
        int start = 0;
        while (start < word.Length)
        {
            int most = Math.Min(word.Length - start, start == 0 ? longest.Beginning : longest.Continuation), size = most, id = -1;
            Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> table = start == 0 ? beginnings : continuations;
            while (size > 0 && !table.TryGetValue(word.Slice(start, size), out id)) size--;
            if (size == 0) return [new Piece(unknown, word.Length)];
            pieces.Add(new Piece(id, size));
            start += size;
        }
        return [.. pieces];
    }

    // A token and how many UTF-16 units of its word it stands for.
    private readonly record struct Piece(int Id, int Length);
}
