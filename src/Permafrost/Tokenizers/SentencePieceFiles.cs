using Permafrost.Formats;

namespace Permafrost.Tokenizers;

/// <summary>
/// Reads SentencePiece models (<c>spiece.model</c>, <c>tokenizer.model</c>). A model by itself is read as SentencePiece reads it; the special tokens around a text, and what
/// Hugging Face's classes do before, follow from the configuration beside it, and where there is none from the pieces: a model that ends texts and does not begin them is T5's.
/// </summary>
internal static class SentencePieceFiles
{
    private const int LongestMerged = 256;
    private const int T5Sentinels = 100;

    /// <exception cref="PermafrostException">The file is damaged, or of a kind that is not known.</exception>
    public static PipelineTokenizer Read(string path)
    {
        var file = SentencePieceFile.Read(path);
        if (file.ModelType is not (1 or 2))
            throw new PermafrostException($"{path} is a SentencePiece model of {(file.ModelType == 3 ? "words" : "characters")}; Unigram and BPE are known");
        var settings = new TokenizerSettings(Path.GetDirectoryName(Path.GetFullPath(path))!);
        var vocabulary = new VocabularyBuilder(path);
        foreach (SentencePiece piece in file.Pieces) vocabulary.Add(piece.Text, vocabulary.Ids.Count);
        int[] unknown = [.. Numbers(file, SentencePieceType.Unknown)];
        if (unknown.Length != 1) throw new PermafrostException($"{path} has {unknown.Length} unknown pieces, and a SentencePiece model has one");
        string family = Family(file, settings, path);
        string? Piece(int id) => id >= 0 && id < file.Pieces.Count ? file.Pieces[id].Text : null;
        string? begin = settings.Named("bos_token") ?? Piece(file.Ids.Begin), end = settings.Named("eos_token") ?? Piece(file.Ids.End);
        IEnumerable<string> control = Numbers(file, SentencePieceType.Control).Concat(unknown).Select(id => file.Pieces[id].Text);
        List<AddedToken> special = [.. settings.Special.Concat(control).Select(token => new AddedToken(token))];
        if (family == "albert") special.Insert(0, new AddedToken("[MASK]", LeftStrip: true));
        if (family == "t5") AddSentinels(special, settings, vocabulary, path);
        string[] own = [.. Numbers(file, SentencePieceType.UserDefined).Select(id => Piece(id)!)];
        IReadOnlyList<(AddedToken, int)> added = settings.AddTo(vocabulary, [.. special.DistinctBy(token => token.Content)]);
        string? pad = settings.Named("pad_token") ?? Piece(file.Ids.Pad);
        WordModel model = file.ModelType == 1 ? Unigram(file, unknown[0], path) : Pairs(file, vocabulary, unknown[0], path);
        return new PipelineTokenizer(new Pipeline
        {
            Kind = file.ModelType == 1 ? "Unigram" : "BPE",
            Vocabulary = vocabulary.Tokens(),
            Model = model,
            Normalizer = Normalizer(file, family, settings, own, path),
            Decoder = new SentencePieceDecoder(file.AddDummyPrefix || file.RemoveExtraWhitespaces, file.RemoveExtraWhitespaces, Piece(unknown[0]), file.UnknownSurface),
            Added = added,
            Around = Around(family, begin, end, settings, vocabulary),
            Unknown = file.ByteFallback ? null : unknown[0],
            Pad = pad is not null && vocabulary.Ids.TryGetValue(pad, out int padId) ? padId : null,
            LongestText = settings.LongestText,
        });
    }

    private static IEnumerable<int> Numbers(SentencePieceFile file, SentencePieceType type) =>
        Enumerable.Range(0, file.Pieces.Count).Where(id => file.Pieces[id].Type == type);

    private static string Family(SentencePieceFile file, TokenizerSettings settings, string path)
    {
        string? name = settings.Class?.ToLowerInvariant() ?? (settings.ModelType is { } type and ("t5" or "mt5" or "albert" or "llama" or "mistral") ? type : null);
        string? known = name switch
        {
            "t5" or "mt5" or "umt5" => "t5",
            "albert" => "albert",
            "llama" or "mistral" => "llama",
            null => "",
            _ => throw new PermafrostException(
                $"{settings.ConfigPath}: tokenizer_class is {ShownText.Short(settings.Class ?? name)}; of those with a SentencePiece model T5, Albert and Llama are known"),
        };
        if (known.Length > 0) return known;
        if (Path.GetFileName(path) == "tokenizer.model") return "llama";
        bool isControl(string text) => file.Pieces.Exists(piece => piece.Text == text && piece.Type == SentencePieceType.Control);
        // What ALBERT's class does before is the class's, not the model's.
        if (isControl("[CLS]") && isControl("[SEP]")) return "around";
        return file.Ids is { Begin: < 0, End: >= 0 } ? "t5" : "";
    }

    // <extra_id_0> has the last id.
    private static void AddSentinels(List<AddedToken> special, TokenizerSettings settings, VocabularyBuilder vocabulary, string path)
    {
        int count = settings.Config["extra_ids"] is { } node ? TokenizerFields.Id(node) : T5Sentinels;
        if (count is < 0 or > 1 << 16) throw new PermafrostException($"{settings.ConfigPath}: extra_ids is no number that can be");
        if (vocabulary.Ids.ContainsKey("<extra_id_0>")) count = 0;
        int first = vocabulary.Ids.Count;
        for (int i = 0; i < count; i++)
        {
            special.Add(new AddedToken($"<extra_id_{count - 1 - i}>"));
            vocabulary.Add(special[^1].Content, first + i);
        }
    }

    private static Surroundings Around(string family, string? begin, string? end, TokenizerSettings settings, VocabularyBuilder vocabulary)
    {
        int[] One(string? token) => token is null ? [] : [vocabulary.Special(token)];
        return family switch
        {
            "t5" => new Surroundings([], One(end)),
            "albert" or "around" => new Surroundings(One(settings.Named("cls_token") ?? "[CLS]"), One(settings.Named("sep_token") ?? "[SEP]")),
            "llama" => new Surroundings(settings.Flag("add_bos_token") ?? true ? One(begin) : [], settings.Flag("add_eos_token") ?? false ? One(end) : []),
            _ => Surroundings.None,
        };
    }

    private static Normalizer Normalizer(SentencePieceFile file, string family, TokenizerSettings settings, string[] own, string path)
    {
        CharsMap? map = file.CharsMap.Length > 0 ? new CharsMap(file.CharsMap, path) : null;
        var rules = new SentencePieceRules(file.AddDummyPrefix, file.RemoveExtraWhitespaces, file.EscapeWhitespaces, file.WhitespaceIsSuffix);
        var last = new SentencePieceNormalizer(map, rules, own.Length > 0 ? new AddedTokens(own.Select(text => (text, new AddedToken(text)))) : null);
        if (family != "albert") return last;
        List<Normalizer> steps = [new Replacing(new LiteralPattern("``"), "\""), new Replacing(new LiteralPattern("''"), "\"")];
        if (!(settings.Flag("keep_accents") ?? false)) steps.AddRange([new Decomposition(Compatible: true), new AccentsOut(Spacing: true)]);
        if (settings.Flag("do_lower_case") ?? true) steps.Add(new LowerCasing());
        return new NormalizerSequence([.. steps, last]);
    }

    private static Unigram Unigram(SentencePieceFile file, int unknown, string path)
    {
        IEnumerable<UnigramPiece> pieces = file.Pieces.Select(piece => new UnigramPiece(
            piece.Text, piece.Score, piece.Type is SentencePieceType.Normal or SentencePieceType.UserDefined, piece.Type == SentencePieceType.UserDefined));
        return new Unigram([.. pieces], new UnigramSettings(unknown, file.ByteFallback, FusesFallback: false, SinglePrecision: true), path);
    }

    // SentencePiece merges whatever makes a piece, the most probable piece first.
    private static BytePairs Pairs(SentencePieceFile file, VocabularyBuilder vocabulary, int unknown, string path)
    {
        if (Numbers(file, SentencePieceType.Unused).Any()) throw new PermafrostException($"{path} has unused pieces, which are not known in BPE models");
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> ids = vocabulary.Ids.GetAlternateLookup<ReadOnlySpan<char>>();
        bool Merges(int id) => id < file.Pieces.Count && file.Pieces[id].Type == SentencePieceType.Normal;
        var merges = new List<Merge>();
        (int rank, float before) = (-1, float.NaN);
        foreach (SentencePiece piece in file.Pieces.Where(piece => piece.Type == SentencePieceType.Normal && piece.Text.Length > 1).OrderByDescending(piece => piece.Score))
        {
            if (piece.Text.Length > LongestMerged) throw new PermafrostException($"{path}: a piece has {piece.Text.Length:N0} characters; at most {LongestMerged} can be merged");
            if (piece.Score != before) rank++;
            before = piece.Score;
            for (int at = 1; at < piece.Text.Length; at++)
                if (ids.TryGetValue(piece.Text.AsSpan(0, at), out int left) && Merges(left) && ids.TryGetValue(piece.Text.AsSpan(at), out int right) && Merges(right))
                    merges.Add(new Merge(piece.Text[..at], piece.Text[at..], rank));
        }
        var settings = new BytePairSettings { Unknown = file.Pieces[unknown].Text, FuseUnknown = true, ByteFallback = file.ByteFallback };
        return new BytePairs(vocabulary.Ids, merges, settings, path);
    }
}
