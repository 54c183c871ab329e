using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using static Permafrost.Tokenizers.TokenizerFields;

namespace Permafrost.Tokenizers;

/// <summary>
/// Reads tokenizers as Hugging Face's libraries write them: <c>tokenizer.json</c>, or older files: <c>vocab.txt</c>, <c>vocab.json</c> with <c>merges.txt</c>, or a SentencePiece
/// model, with <c>tokenizer_config.json</c>.
/// </summary>
public static class TokenizerFiles
{
    private const string Fast = "tokenizer.json";
    private const string Vocabulary = "vocab.txt";
    private const int LongestToken = 1 << 12;

    // SentencePiece models by the names that they have.
    private static readonly string[] SentencePieceNames = ["spiece.model", "tokenizer.model", "sentencepiece.bpe.model"];

    // The forms that a folder may hold a tokenizer in, several for several readers, and what lies beside them.
    private static readonly string[] Forms = [Fast, Vocabulary, BytePairFiles.Vocabulary, BytePairFiles.MergesName, .. SentencePieceNames];
    private static readonly string[] Beside = [TokenizerSettings.ConfigName, "added_tokens.json", "special_tokens_map.json"];

    /// <summary>The files that a folder with a tokenizer has, for errors.</summary>
    internal const string Wanted = $"{Fast}, {Vocabulary}, {BytePairFiles.Vocabulary} and {BytePairFiles.MergesName}, spiece.model or tokenizer.model";

    /// <summary>The tokenizer of a folder; null where there is none.</summary>
    /// <param name="folder">A model folder.</param>
    /// <exception cref="PermafrostException">Its files are damaged, or of a kind that is not known.</exception>
    public static Tokenizer? Find(string folder) => In(folder) is { } found ? Read(found) : null;

    /// <summary>The tokenizer of a folder, or of one of its files.</summary>
    /// <param name="path">A folder, a <c>tokenizer.json</c>, a <c>vocab.txt</c>, a <c>vocab.json</c> with its <c>merges.txt</c>, or a SentencePiece model.</param>
    /// <exception cref="PermafrostException">There is none, or it is damaged, or of a kind that is not known.</exception>
    public static Tokenizer Load(string path) => Read(Located(path));

    /// <summary>The files that <see cref="Load"/> reads a tokenizer from and, of a folder, those that hold the same one for other readers.</summary>
    /// <param name="path">As for <see cref="Load"/>.</param>
    /// <returns>Where each is, and the name by which it is found in a model's folder; never none.</returns>
    /// <exception cref="PermafrostException">There is no tokenizer.</exception>
    public static IReadOnlyList<(string Path, string Name)> FilesOf(string path)
    {
        (string main, string name) = Located(path);
        string folder = Folder(main);
        bool isWhole = Directory.Exists(path) || Path.GetFileName(path) == TokenizerSettings.ConfigName;
        string[] forms = isWhole ? Forms : name == BytePairFiles.Vocabulary ? [name, BytePairFiles.MergesName] : [];
        // The kind of model in config.json decides how these are read where nothing else does.
        string[] beside = name is Fast or Vocabulary ? Beside : [.. Beside, ModelConfig];
        (string Path, string Name)[] There(string[] names) => [.. names.Select(one => (Path.Combine(folder, one), one)).Where(one => File.Exists(one.Item1))];
        (string Path, string Name)[] found = There(forms);
        return found.Any(one => one.Name == name) ? [.. found, .. There(beside)] : [(main, name), .. found, .. There(beside)];
    }

    /// <summary>The model's own configuration, which lies beside a tokenizer in a model's folder.</summary>
    internal const string ModelConfig = "config.json";

    // Of a folder: what is read, and its name in a model's folder.
    private static (string Path, string Name)? In(string folder)
    {
        if (File.Exists(Path.Combine(folder, Fast))) return (Path.Combine(folder, Fast), Fast);
        if (File.Exists(Path.Combine(folder, Vocabulary))) return (Path.Combine(folder, Vocabulary), Vocabulary);
        (string pairs, string merges) = (Path.Combine(folder, BytePairFiles.Vocabulary), Path.Combine(folder, BytePairFiles.MergesName));
        if (File.Exists(pairs) || File.Exists(merges)) return (pairs, BytePairFiles.Vocabulary);
        string? name = SentencePieceNames.FirstOrDefault(one => File.Exists(Path.Combine(folder, one)));
        return name is null ? null : (Path.Combine(folder, name), name);
    }

    private static (string Path, string Name) Located(string path)
    {
        if (Directory.Exists(path))
        {
            if (In(path) is { } found) return found;
            string[] models = Directory.GetFiles(path, "*.model");
            return models.Length == 1 ? (models[0], SentencePieceNames[0]) : throw new PermafrostException($"{path} holds no tokenizer ({Wanted})");
        }
        if (!File.Exists(path)) throw new PermafrostException($"{path} does not exist; a tokenizer is a folder or a file: {Wanted}");
        string name = Path.GetFileName(path);
        // The configuration belongs to what lies beside it.
        if (name == TokenizerSettings.ConfigName) return Located(Folder(path));
        if (name is BytePairFiles.MergesName or BytePairFiles.Vocabulary) return (Path.Combine(Folder(path), BytePairFiles.Vocabulary), BytePairFiles.Vocabulary);
        if (Path.GetExtension(path) == ".json") return (path, Fast);
        if (Path.GetExtension(path) == ".model" || IsBinary(path)) return (path, SentencePieceNames.Contains(name) ? name : SentencePieceNames[0]);
        return (path, Vocabulary);
    }

    private static Tokenizer Read((string Path, string Name) file) => file.Name switch
    {
        Fast => FromJson(file.Path),
        Vocabulary => FromVocabulary(file.Path),
        BytePairFiles.Vocabulary => BytePairFiles.Read(Folder(file.Path)),
        _ => SentencePieceFiles.Read(file.Path),
    };

    // A SentencePiece model begins with its first piece, and that with its text or its score; no text does.
    private static bool IsBinary(string path)
    {
        using FileStream file = File.OpenRead(path);
        Span<byte> start = stackalloc byte[64];
        start = start[..file.Read(start)];
        return start.Length > 2 && start[0] == 0x0A && start.Contains((byte)0) && start[2] is 0x0A or 0x15;
    }

    // The classes of Hugging Face's that are BERT's WordPiece over a vocab.txt.
    private static readonly string[] WordPieceClasses =
        ["Bert", "DistilBert", "MobileBert", "SqueezeBert", "ConvBert", "VisualBert", "RetriBert", "Electra", "LayoutLM", "Lxmert", "Realm", "MPNet", "PreTrained", "WordPiece"];

    private static Tokenizer FromJson(string path) => new TokenizerJson(path, ReadJson(path), Optional(Folder(path), TokenizerSettings.ConfigName)).Read();

    private static WordPiece FromVocabulary(string path)
    {
        List<string> tokens = ReadVocabulary(path);
        var settings = new TokenizerSettings(Folder(path));
        (JsonObject config, string configPath) = (settings.Config, settings.ConfigPath);
        string kind = settings.Class ?? "Bert";
        if (!WordPieceClasses.Contains(kind))
            throw new PermafrostException(
                $"{configPath}: tokenizer_class is {ShownText.Short(Text(config["tokenizer_class"]) ?? kind)}; of tokenizers with a {Vocabulary} only BERT's WordPiece is known");
        if (config["never_split"] is JsonArray { Count: > 0 })
            throw new PermafrostException($"{configPath}: words that are never split (never_split) are not known; make them added tokens");
        bool isMpNet = kind == "MPNet";
        string Named(string key, string usual) => settings.Named(key) ?? usual;
        (string cls, string sep) = (Named("cls_token", isMpNet ? "<s>" : "[CLS]"), Named("sep_token", isMpNet ? "</s>" : "[SEP]"));
        (string pad, string mask) = (Named("pad_token", isMpNet ? "<pad>" : "[PAD]"), Named("mask_token", isMpNet ? "<mask>" : "[MASK]"));
        string unknown = Named("unk_token", "[UNK]");
        List<string> special = [.. new[] { unknown, sep, pad, cls, mask }.Concat(settings.Special).Distinct()];
        (AddedToken Token, int Id, string Source)[] added = [.. settings.Added(special)];
        foreach (IGrouping<string, (AddedToken Token, int Id, string Source)> file in added.GroupBy(one => one.Source).Reverse())
            Append(file.Select(one => (one.Token, one.Id)), tokens, file.Key);
        IEnumerable<AddedToken> found = added.Select(one => one.Token).Concat(special.Select(token => new AddedToken(token)));
        bool words = Flag(config, "do_basic_tokenize", configPath) ?? true;
        var how = new WordPieceSettings
        {
            LowerCase = Flag(config, "do_lower_case", configPath) ?? true,
            StripAccents = Flag(config, "strip_accents", configPath),
            SplitChinese = Flag(config, "tokenize_chinese_chars", configPath) ?? true,
            Unknown = unknown,
            Pad = pad,
            Before = [cls],
            After = [sep],
            Special = special,
            Added = [.. found.DistinctBy(token => token.Content)],
            LongestText = settings.LongestText,
            Pipeline = words ? null : new TextPipeline(null, PreTokenizer.BlanksOnly),
            Blanks = Flag(config, "clean_up_tokenization_spaces", configPath) ?? true ? DecodedBlanks.OfTheText : DecodedBlanks.All,
        };
        return new WordPiece(tokens, how, path);
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

    internal static string ReadText(string path)
    {
        try
        {
            byte[] bytes = BoundedFile.Read(path, MostBytes) ?? throw new PermafrostException($"{path} is larger than any tokenizer is ({MostBytes >> 20:N0} MiB)");
            if (WrongContent.Of(bytes) is { } what) throw new PermafrostException($"{path} is {what}");
            ReadOnlySpan<byte> content = bytes.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? bytes.AsSpan(3) : bytes;
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(content);
        }
        catch (DecoderFallbackException error)
        {
            throw new PermafrostException($"{path} is no UTF-8 text (at byte {error.Index}), so it is no tokenizer file");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }
}
