using System.Text.Json.Nodes;
using static Permafrost.Tokenizers.TokenizerFields;

namespace Permafrost.Tokenizers;

/// <summary>
/// Reads the steps of a <c>tokenizer.json</c> (Hugging Face tokenizers 0.2x): what it says is what is done, and a step or a setting that is not known is refused by its name.
/// </summary>
/// <param name="path">Names the file in errors.</param>
/// <param name="config">The <c>tokenizer_config.json</c> beside it; empty where there is none.</param>
internal sealed class TokenizerSteps(string path, JsonObject config)
{
    // Steps within steps, as deep as nobody writes them.
    private const int Deepest = 16;

    /// <summary>Whether the steps that cut make bytes of words.</summary>
    public bool IsByteLevel { get; private set; }

    public static string Kind(JsonObject? json) => TokenizerFields.Text(json?["type"]) ?? "";

    /// <summary>BERT's settings. What the configuration says in its own words goes before the normaliser, as in Hugging Face's BertTokenizerFast.</summary>
    public WordPieceSettings Bert(JsonObject normalizer)
    {
        Only("normalizer", normalizer, "lowercase", "strip_accents", "handle_chinese_chars", "clean_text");
        return new WordPieceSettings
        {
            LowerCase = Flag(config, "do_lower_case", "tokenizer_config.json") ?? Flag(normalizer, "lowercase", path) ?? true,
            StripAccents = Flag(config, "strip_accents", "tokenizer_config.json") ?? Flag(normalizer, "strip_accents", path),
            SplitChinese = Flag(config, "tokenize_chinese_chars", "tokenizer_config.json") ?? Flag(normalizer, "handle_chinese_chars", path) ?? true,
            CleanText = Flag(normalizer, "clean_text", path) ?? true,
        };
    }

    public Normalizer? Normalizer(JsonObject? step, int depth = 0)
    {
        if (step is null) return null;
        Only("normalizer", step, Kind(step) switch
        {
            "Sequence" => ["normalizers"],
            "Strip" => ["strip_left", "strip_right"],
            "Replace" => ["pattern", "content"],
            "Prepend" => ["prepend"],
            "Precompiled" => ["precompiled_charsmap"],
            "BertNormalizer" => ["lowercase", "strip_accents", "handle_chinese_chars", "clean_text"],
            _ => [],
        });
        switch (Kind(step))
        {
            case "BertNormalizer":
                WordPieceSettings bert = Bert(step);
                return new BertNormalizer(bert.CleanText, bert.SplitChinese, bert.StripAccents ?? bert.LowerCase, bert.LowerCase);
            case "Sequence":
                return new NormalizerSequence([.. Steps("normalizer", step, "normalizers", depth).Select(one => Normalizer(one, depth + 1)).OfType<Normalizer>()]);
            case "Lowercase":
                return new LowerCasing();
            case "Strip":
                return new Stripping(Flag(step, "strip_left", path) ?? true, Flag(step, "strip_right", path) ?? true);
            case "StripAccents":
                return new AccentsOut(Spacing: true);
            case "NFC" or "NFKC":
                return new Composition(Kind(step) == "NFKC");
            case "NFD" or "NFKD":
                return new Decomposition(Kind(step) == "NFKD");
            case "Nmt":
                return new TranslationNormalizer();
            case "Precompiled":
                return Given("normalizer", step, "precompiled_charsmap") is { Length: > 0 } map ? new PrecompiledNormalizer(new CharsMap(Bytes(map), path)) : null;
            case "Replace":
                return new Replacing(Pattern("normalizer", step), Given("normalizer", step, "content"));
            case "Prepend":
                return new Prepending(Given("normalizer", step, "prepend"));
            case var other:
                const string Known = "BertNormalizer, Lowercase, Strip, StripAccents, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Replace, Prepend and sequences of them";
                throw new PermafrostException($"{path}: the normalizer {other} is not known; {Known} are");
        }
    }

    public PreTokenizer? PreTokenizer(JsonObject? step, int depth = 0)
    {
        if (step is null) return null;
        if (IsByteLevel) throw new PermafrostException($"{path}: the pre_tokenizer {Kind(step)} stands behind ByteLevel, where no text is left; ByteLevel must be the last");
        Only("pre_tokenizer", step, Kind(step) switch
        {
            "Sequence" => ["pretokenizers"],
            "Punctuation" => ["behavior"],
            "Digits" => ["individual_digits"],
            "ByteLevel" => ["add_prefix_space", "trim_offsets", "use_regex"],
            "Metaspace" => ["replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"],
            "Split" => ["pattern", "behavior", "invert"],
            "CharDelimiterSplit" => ["delimiter"],
            _ => [],
        });
        switch (Kind(step))
        {
            case "Sequence":
                return new PreTokenizerSequence([.. Steps("pre_tokenizer", step, "pretokenizers", depth).Select(one => PreTokenizer(one, depth + 1)!)]);
            case "BertPreTokenizer":
                return Tokenizers.PreTokenizer.Bert;
            case "WhitespaceSplit":
                return Tokenizers.PreTokenizer.BlanksOnly;
            case "Whitespace":
                return Tokenizers.PreTokenizer.Runs;
            case "Punctuation":
                return new Cut(new CharacterPattern(Characters.IsPunctuation), Behavior(step));
            case "Digits":
                return new Cut(new CharacterPattern(Characters.IsNumeric), Flag(step, "individual_digits", path) ?? false ? CutBehavior.Isolated : CutBehavior.Contiguous);
            case "CharDelimiterSplit":
                return new Cut(new LiteralPattern(Character("pre_tokenizer", step, "delimiter").ToString()), CutBehavior.Removed);
            case "Split":
                return new Cut(Pattern("pre_tokenizer", step), Behavior(step), Flag(step, "invert", path) ?? false);
            case "Metaspace":
                return new Metaspace(Character("pre_tokenizer", step, "replacement"), Scheme("pre_tokenizer", step), Flag(step, "split", path) ?? true);
            case "ByteLevel":
                IsByteLevel = true;
                return new ByteLevelCut(Flag(step, "add_prefix_space", path) ?? true, Flag(step, "use_regex", path) ?? true);
            case var other:
                const string Known = "BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, Metaspace, Punctuation, Split, Whitespace, WhitespaceSplit and sequences of them";
                throw new PermafrostException($"{path}: the pre_tokenizer {other} is not known; {Known} are");
        }
    }

    public Decoder? Decoder(JsonObject? step, int depth = 0)
    {
        if (step is null) return null;
        Only("decoder", step, Kind(step) switch
        {
            "Sequence" => ["decoders"],
            "WordPiece" => ["prefix", "cleanup"],
            "ByteLevel" => ["add_prefix_space", "trim_offsets", "use_regex"],
            "Metaspace" => ["replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"],
            "BPEDecoder" => ["suffix"],
            "Strip" => ["content", "start", "stop"],
            "Replace" => ["pattern", "content"],
            _ => [],
        });
        switch (Kind(step))
        {
            case "Sequence":
                return new DecoderSequence([.. Steps("decoder", step, "decoders", depth).Select(one => Decoder(one, depth + 1)!)]);
            case "ByteLevel":
                return new ByteLevelDecoder();
            case "ByteFallback":
                return new ByteFallbackDecoder();
            case "Fuse":
                return new Fusing();
            case "Strip":
                return new StripDecoder(Character("decoder", step, "content"), Math.Max(0, Id(step["start"])), Math.Max(0, Id(step["stop"])));
            case "Replace":
                return new ReplaceDecoder(Pattern("decoder", step), Given("decoder", step, "content"));
            case "Metaspace":
                return new MetaspaceDecoder(Character("decoder", step, "replacement"), Scheme("decoder", step) != PrependScheme.Never);
            case "BPEDecoder":
                return new SuffixDecoder(TokenizerFields.Text(step["suffix"]) ?? "</w>");
            case "WordPiece":
                return new WordPieceDecoder(TokenizerFields.Text(step["prefix"]) ?? "##", Flag(step, "cleanup", path) ?? true);
            case var other:
                const string Known = "BPEDecoder, ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Strip, WordPiece and sequences of them";
                throw new PermafrostException($"{path}: the decoder {other} is not known; {Known} are");
        }
    }

    /// <summary>What stands around a single text, by name, and how offsets are trimmed.</summary>
    public Around PostProcessor(JsonObject? step, int depth = 0)
    {
        if (step is null) return Around.Nothing;
        Only("post_processor", step, Kind(step) switch
        {
            "Sequence" => ["processors"],
            "TemplateProcessing" => ["single", "pair", "special_tokens"],
            "BertProcessing" => ["sep", "cls"],
            "RobertaProcessing" => ["sep", "cls", "trim_offsets", "add_prefix_space"],
            "ByteLevel" => ["add_prefix_space", "trim_offsets", "use_regex"],
            _ => [],
        });
        bool trims = Kind(step) is "RobertaProcessing" or "ByteLevel" && (Flag(step, "trim_offsets", path) ?? true);
        bool prefixed = trims && (Flag(step, "add_prefix_space", path) ?? true);
        switch (Kind(step))
        {
            case "BertProcessing" or "RobertaProcessing" when First(step["cls"]) is { } cls && First(step["sep"]) is { } sep:
                return new Around([cls], [sep], trims, prefixed);
            case "ByteLevel":
                return new Around([], [], trims, prefixed);
            case "Sequence":
                return Steps("post_processor", step, "processors", depth).Select(one => PostProcessor(one, depth + 1)).Aggregate(Around.Nothing, (all, one) => new Around(
                    [.. one.Before, .. all.Before], [.. all.After, .. one.After], all.Trims || one.Trims, all.Prefixed || one.Prefixed));
            case "TemplateProcessing" when step["single"] is JsonArray single:
                return Template(single, step["special_tokens"] as JsonObject ?? []);
            case "BertProcessing" or "RobertaProcessing" or "TemplateProcessing":
                throw new PermafrostException($"{path}: the post_processor {Kind(step)} does not say which tokens stand around a text");
            case var other:
                const string Known = "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel and sequences of them";
                throw new PermafrostException($"{path}: the post_processor {other} is not known; {Known} are");
        }

        static string? First(JsonNode? node) => node is JsonArray { Count: 2 } pair ? TokenizerFields.Text(pair[0]) : null;
    }

    /// <summary>The names of the tokens around a text; how offsets are trimmed, as <see cref="Surroundings"/> says.</summary>
    internal sealed record Around(IReadOnlyList<string> Before, IReadOnlyList<string> After, bool Trims = false, bool Prefixed = false)
    {
        public static Around Nothing { get; } = new([], []);
    }

    private Around Template(JsonArray single, JsonObject named)
    {
        (List<string> before, List<string> after, bool seen) = ([], [], false);
        foreach (JsonNode? part in single)
        {
            if ((part as JsonObject)?["Sequence"] is not null)
            {
                if (seen) throw new PermafrostException($"{path}: the post_processor's template for a single text holds the text twice");
                seen = true;
            }
            else if (TokenizerFields.Text(((part as JsonObject)?["SpecialToken"] as JsonObject)?["id"]) is { } name)
            {
                // A name stands for tokens, and is nearly always the one token's own.
                var tokens = (named[name] as JsonObject)?["tokens"] as JsonArray;
                (seen ? after : before).AddRange(tokens is { Count: > 0 } ? tokens.Select(one => TokenizerFields.Text(one) ?? name) : [name]);
            }
            else throw new PermafrostException($"{path}: the post_processor's template holds something else than special tokens and the text");
        }
        return new Around(before, after);
    }

    private TextPattern Pattern(string what, JsonObject step)
    {
        var pattern = step["pattern"] as JsonObject;
        if (TokenizerFields.Text(pattern?["String"]) is { Length: > 0 } text) return new LiteralPattern(text);
        if (TokenizerFields.Text(pattern?["Regex"]) is { Length: > 0 } expression) return (TextPattern?)WordScanner.For(expression) ?? new RegexPattern(expression, path);
        throw new PermafrostException($"{path}: the {what} {Kind(step)} has no \"pattern\" with a \"String\" or a \"Regex\"");
    }

    private CutBehavior Behavior(JsonObject step)
    {
        string behavior = TokenizerFields.Text(step["behavior"]) ?? nameof(CutBehavior.Isolated);
        return Enum.GetNames<CutBehavior>().Contains(behavior) ? Enum.Parse<CutBehavior>(behavior)
            : throw new PermafrostException($"{path}: the pre_tokenizer {Kind(step)} has the behavior '{behavior}', which is not known");
    }

    // Older files say only whether there is a mark before the text.
    private PrependScheme Scheme(string what, JsonObject step) => TokenizerFields.Text(step["prepend_scheme"]) switch
    {
        null => Flag(step, "add_prefix_space", path) ?? true ? PrependScheme.Always : PrependScheme.Never,
        "always" => PrependScheme.Always,
        "first" => PrependScheme.First,
        "never" => PrependScheme.Never,
        var other => throw new PermafrostException($"{path}: the {what} {Kind(step)} has the prepend_scheme '{other}', which is not known; always, first and never are"),
    };

    private char Character(string what, JsonObject step, string key) => Given(what, step, key) is [var one] ? one
        : throw new PermafrostException($"{path}: the {what} {Kind(step)} has a \"{key}\" that is not one character");

    private string Given(string what, JsonObject step, string key) => TokenizerFields.Text(step[key]) ??
        throw new PermafrostException($"{path}: the {what} {Kind(step)} has no \"{key}\"");

    private byte[] Bytes(string base64)
    {
        try
        {
            return Convert.FromBase64String(base64);
        }
        catch (FormatException)
        {
            throw new PermafrostException($"{path}: the normalizer's precompiled_charsmap is not base64");
        }
    }

    private IEnumerable<JsonObject> Steps(string what, JsonObject sequence, string key, int depth)
    {
        if (depth >= Deepest) throw new PermafrostException($"{path}: the {what} has sequences within sequences, more than {Deepest} deep");
        var steps = sequence[key] as JsonArray ?? throw new PermafrostException($"{path}: the {what} Sequence has no \"{key}\"");
        return steps.Select(one => one as JsonObject ?? throw new PermafrostException($"{path}: the {what} Sequence holds something that is no step"));
    }

    private void Only(string what, JsonObject step, params string[] keys)
    {
        foreach ((string key, JsonNode? value) in step)
            if (key != "type" && value is not null && !keys.Contains(key) && keys.Length > 0)
                throw new PermafrostException($"{path}: the {what} {Kind(step)} has the setting \"{key}\", which is not known; {string.Join(", ", keys)} are");
    }
}
