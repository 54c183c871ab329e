using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using static Permafrost.Tokenizers.TokenizerFields;

namespace Permafrost.Tokenizers;

/// <summary>Reads tokenizers as Hugging Face's libraries write them: <c>tokenizer.json</c>, or <c>vocab.txt</c> with <c>tokenizer_config.json</c>.</summary>
public static class TokenizerFiles
{
    private const string Fast = "tokenizer.json";
    private const string Vocabulary = "vocab.txt";
    private const string Config = "tokenizer_config.json";
    private const string SpecialMap = "special_tokens_map.json";
    private const string AddedTokensFile = "added_tokens.json";
    private const int LongestToken = 1 << 12;

    /// <summary>The tokenizer of a folder; null where there is none.</summary>
    /// <param name="folder">A model folder.</param>
    /// <exception cref="PermafrostException">Its files are damaged, or of a kind that is not known.</exception>
    public static Tokenizer? Find(string folder)
    {
        string fast = Path.Combine(folder, Fast), plain = Path.Combine(folder, Vocabulary);
        return File.Exists(fast) ? FromJson(fast) : File.Exists(plain) ? FromVocabulary(plain) : null;
    }

    /// <summary>The tokenizer of a folder, or of one of its files.</summary>
    /// <param name="path">A folder, a <c>tokenizer.json</c> or a <c>vocab.txt</c>.</param>
    /// <exception cref="PermafrostException">There is none, or it is damaged, or of a kind that is not known.</exception>
    public static Tokenizer Load(string path)
    {
        if (Directory.Exists(path)) return Find(path) ?? throw new PermafrostException($"{path} holds no tokenizer ({Fast} or {Vocabulary})");
        if (!File.Exists(path)) throw new PermafrostException($"{path} does not exist; a tokenizer is a folder, a {Fast} or a {Vocabulary}");
        // The configuration belongs to what lies beside it.
        if (Path.GetFileName(path) == Config) return Load(Folder(path));
        return Path.GetExtension(path) == ".json" ? FromJson(path) : FromVocabulary(path);
    }

    // The classes of Hugging Face's that are BERT's WordPiece over a vocab.txt.
    private static readonly string[] WordPieceClasses =
        ["Bert", "DistilBert", "MobileBert", "SqueezeBert", "ConvBert", "VisualBert", "RetriBert", "Electra", "LayoutLM", "Lxmert", "Realm", "MPNet", "PreTrained", "WordPiece"];

    private static WordPiece FromJson(string path) => new TokenizerJson(path, ReadJson(path), Optional(Folder(path), Config)).Read();

    private static WordPiece FromVocabulary(string path)
    {
        List<string> tokens = ReadVocabulary(path);
        string folder = Folder(path), configPath = Path.Combine(folder, Config);
        JsonObject config = Optional(folder, Config), map = Optional(folder, SpecialMap);
        string kind = Text(config["tokenizer_class"]) ?? "BertTokenizer";
        string family = kind.EndsWith("Fast", StringComparison.Ordinal) ? kind[..^4] : kind;
        if (!WordPieceClasses.Contains(family.Replace("Tokenizer", "", StringComparison.Ordinal)))
            throw new PermafrostException($"{configPath}: tokenizer_class is {kind}; of tokenizers with a {Vocabulary} only BERT's WordPiece is known");
        if (config["never_split"] is JsonArray { Count: > 0 })
            throw new PermafrostException($"{configPath}: words that are never split (never_split) are not known; make them added tokens");
        bool isMpNet = family.StartsWith("MPNet", StringComparison.Ordinal);
        string Named(string key, string usual) => Content(config[key]) ?? Content(map[key]) ?? usual;
        (string cls, string sep) = (Named("cls_token", isMpNet ? "<s>" : "[CLS]"), Named("sep_token", isMpNet ? "</s>" : "[SEP]"));
        (string pad, string mask) = (Named("pad_token", isMpNet ? "<pad>" : "[PAD]"), Named("mask_token", isMpNet ? "<mask>" : "[MASK]"));
        string unknown = Named("unk_token", "[UNK]");
        List<string> special = [unknown, sep, pad, cls, mask];
        foreach (JsonObject file in new[] { map, config })
        {
            special.AddRange(new[] { "bos_token", "eos_token" }.Select(key => Content(file[key])).OfType<string>());
            if (file["additional_special_tokens"] is JsonArray more) special.AddRange(more.Select(Content).OfType<string>());
        }
        var added = new List<(AddedToken Token, int Id)>();
        foreach ((string token, JsonNode? id) in Optional(folder, AddedTokensFile))
            added.Add((new AddedToken(token, special.Contains(token), Normalized: !special.Contains(token)), Id(id)));
        Append(added, tokens, Path.Combine(folder, AddedTokensFile));
        // Here it is also said how they are found, so these go first.
        var described = new List<(AddedToken Token, int Id)>();
        foreach ((string id, JsonNode? token) in config["added_tokens_decoder"] as JsonObject ?? [])
            described.Add((Added(token, special.Contains(Content(token) ?? ""), configPath), int.TryParse(id, CultureInfo.InvariantCulture, out int number) ? number : -1));
        Append(described, tokens, configPath);
        IEnumerable<AddedToken> found = described.Concat(added).Select(one => one.Token).Concat(special.Select(token => new AddedToken(token)));
        bool words = Flag(config, "do_basic_tokenize", configPath) ?? true;
        var settings = new WordPieceSettings
        {
            LowerCase = Flag(config, "do_lower_case", configPath) ?? true,
            StripAccents = Flag(config, "strip_accents", configPath),
            SplitChinese = Flag(config, "tokenize_chinese_chars", configPath) ?? true,
            Unknown = unknown,
            Pad = pad,
            Before = [cls],
            After = [sep],
            Special = [.. special.Distinct()],
            Added = [.. found.DistinctBy(token => token.Content)],
            LongestText = LongestText(config),
            Pipeline = words ? null : new TextPipeline(null, PreTokenizer.BlanksOnly),
            Blanks = Flag(config, "clean_up_tokenization_spaces", configPath) ?? true ? DecodedBlanks.OfTheText : DecodedBlanks.All,
        };
        return new WordPiece(tokens, settings, path);
    }

    private static string Folder(string path) => Path.GetDirectoryName(Path.GetFullPath(path))!;

    // Tokens that are in the vocabulary already, or stand behind it.
    private static void Append(IEnumerable<(AddedToken Token, int Id)> added, List<string> tokens, string source)
    {
        foreach ((AddedToken token, int id) in added.OrderBy(one => one.Id))
        {
            if (token.Content.Length == 0 || id < 0 || id > tokens.Count || (id < tokens.Count && tokens[id] != token.Content))
                throw new PermafrostException($"{source}: the added token '{token.Content}' has the id {id}: another token's, or not next to the vocabulary's {tokens.Count}");
            if (id == tokens.Count) tokens.Add(token.Content);
        }
    }

    private static List<string> ReadVocabulary(string path)
    {
        string text = ReadText(path).TrimEnd('\r', '\n');
        if (text.Length == 0) throw new PermafrostException($"{path} is empty; a vocabulary has one token a line");
        if (text.Contains('\0')) throw new PermafrostException($"{path} is no vocabulary: it holds bytes that are no text");
        var tokens = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (string line in text.Split('\n'))
        {
            string token = line.TrimEnd('\r');
            if (token.Length > LongestToken) throw new PermafrostException($"{path} line {tokens.Count + 1} has {token.Length:N0} characters; a vocabulary has one token a line");
            if (!seen.Add(token)) throw new PermafrostException($"{path} line {tokens.Count + 1}: the token '{token}' is there for the second time");
            tokens.Add(token);
        }
        return tokens;
    }

    private static string ReadText(string path)
    {
        if (new FileInfo(path).Length > MostBytes) throw new PermafrostException($"{path} is larger than any tokenizer is ({MostBytes >> 20:N0} MiB)");
        try
        {
            byte[] bytes = File.ReadAllBytes(path);
            ReadOnlySpan<byte> content = bytes.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? bytes.AsSpan(3) : bytes;
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(content);
        }
        catch (DecoderFallbackException error)
        {
            throw new PermafrostException($"{path} is no UTF-8 text (at byte {error.Index}), so it is no tokenizer file");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot read {path}: {error.Message.TrimEnd('.')}");
        }
    }
}
