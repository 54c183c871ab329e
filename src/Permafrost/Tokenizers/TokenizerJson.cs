using System.Text.Json.Nodes;
using static Permafrost.Tokenizers.TokenizerFields;

namespace Permafrost.Tokenizers;

/// <summary>
/// Reads a <c>tokenizer.json</c> of the kind WordPiece (Hugging Face tokenizers 0.2x): its normaliser, what cuts words, what stands around a text, its added tokens, its decoder.
/// Its truncation and padding are not looked at, as by Hugging Face's transformers: what a caller asks for counts.
/// </summary>
/// <param name="path">Names the file in errors.</param>
/// <param name="json">What is in it.</param>
/// <param name="config">The <c>tokenizer_config.json</c> beside it; empty where there is none.</param>
internal sealed class TokenizerJson(string path, JsonObject json, JsonObject config)
{
    // More ids than any vocabulary has.
    private const int MostIds = 1 << 24;

    public WordPiece Read()
    {
        JsonObject model = json["model"] as JsonObject ?? throw new PermafrostException($"{path} is no tokenizer: it has no \"model\"");
        string type = TokenizerFields.Text(model["type"]) ?? (model["merges"] is not null ? "BPE" : model["max_input_chars_per_word"] is not null ? "WordPiece" : "unknown");
        if (type != "WordPiece") throw new PermafrostException($"{path} holds a tokenizer of the kind {type}; only WordPiece (BERT's) is known");
        JsonObject vocabulary = model["vocab"] as JsonObject ?? throw new PermafrostException($"{path}: its model has no \"vocab\"");
        var ids = new Dictionary<int, string>();
        var known = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach ((string token, JsonNode? node) in vocabulary) Add(token, Id(node), ids, known);
        var added = new List<AddedToken>();
        foreach (JsonNode? one in json["added_tokens"] as JsonArray ?? [])
        {
            AddedToken token = Added(one, special: false, path);
            if (token.Content.Length == 0) throw new PermafrostException($"{path}: an added token has no content");
            int id = Id((one as JsonObject)?["id"]);
            if (!known.TryGetValue(token.Content, out int there)) Add(token.Content, id, ids, known);
            else if (there != id) throw new PermafrostException($"{path}: the added token '{token.Content}' has the id {id}, but {there} in the vocabulary");
            added.Add(token);
        }
        string?[] tokens = new string?[ids.Count == 0 ? 0 : ids.Keys.Max() + 1];
        foreach ((int id, string token) in ids) tokens[id] = token;
        (IReadOnlyList<string> before, IReadOnlyList<string> after) = Around(json["post_processor"] as JsonObject);
        var normalizer = json["normalizer"] as JsonObject;
        var cutter = json["pre_tokenizer"] as JsonObject;
        bool isBert = Kind(normalizer) == "BertNormalizer" && Kind(cutter) == "BertPreTokenizer";
        var decoder = json["decoder"] as JsonObject;
        bool pieces = Kind(decoder) == "WordPiece";
        if (decoder is not null && !pieces) throw new PermafrostException($"{path}: the decoder {Kind(decoder)} is not known; only WordPiece is");
        WordPieceSettings settings = Bert(isBert ? normalizer! : []) with
        {
            Slow = false,
            Pipeline = isBert ? null : new TextPipeline(Step(normalizer), new PreTokenizer([.. Cuts(cutter)])),
            Unknown = TokenizerFields.Text(model["unk_token"]) ?? "[UNK]",
            Continuation = TokenizerFields.Text(model["continuing_subword_prefix"]) ?? "##",
            LongestWord = model["max_input_chars_per_word"] is { } most ? Id(most) : 100,
            Pad = Content(config["pad_token"]) ?? TokenizerFields.Text((json["padding"] as JsonObject)?["pad_token"]) ?? "[PAD]",
            Before = before,
            After = after,
            Special = [.. added.Where(token => token.Special).Select(token => token.Content)],
            Added = added,
            LongestText = LongestText(config),
            DecodesPieces = pieces,
            Blanks = Blanks(pieces && (Flag(decoder!, "cleanup", path) ?? true)),
        };
        return new WordPiece(tokens, settings, path);
    }

    private void Add(string token, int id, Dictionary<int, string> ids, Dictionary<string, int> known)
    {
        if (id is < 0 or >= MostIds) throw new PermafrostException($"{path}: the token '{token}' has no id that can be; ids are whole numbers from 0");
        if (!ids.TryAdd(id, token)) throw new PermafrostException($"{path}: the tokens '{ids[id]}' and '{token}' have the same id, {id}");
        known[token] = id;
    }

    // The configuration is Hugging Face's transformers', which put blanks right in the whole text where it does not say otherwise.
    private DecodedBlanks Blanks(bool decoderCleans)
    {
        if (config.Count > 0 && (Flag(config, "clean_up_tokenization_spaces", "tokenizer_config.json") ?? true)) return DecodedBlanks.OfTheText;
        return decoderCleans ? DecodedBlanks.OfTokens : DecodedBlanks.All;
    }

    private static string Kind(JsonObject? json) => TokenizerFields.Text(json?["type"]) ?? "";

    // What the configuration says in its own words goes before the normaliser, as in Hugging Face's BertTokenizerFast.
    private WordPieceSettings Bert(JsonObject normalizer) => new()
    {
        LowerCase = Flag(config, "do_lower_case", "tokenizer_config.json") ?? Flag(normalizer, "lowercase", path) ?? true,
        StripAccents = Flag(config, "strip_accents", "tokenizer_config.json") ?? Flag(normalizer, "strip_accents", path),
        SplitChinese = Flag(config, "tokenize_chinese_chars", "tokenizer_config.json") ?? Flag(normalizer, "handle_chinese_chars", path) ?? true,
        CleanText = Flag(normalizer, "clean_text", path) ?? true,
    };

    private Normalizer? Step(JsonObject? step)
    {
        if (step is null) return null;
        string Given(string key) => TokenizerFields.Text(step[key]) ?? throw new PermafrostException($"{path}: the normalizer {Kind(step)} has no \"{key}\"");
        switch (Kind(step))
        {
            case "BertNormalizer":
                WordPieceSettings bert = Bert(step);
                return new BertNormalizer(bert.CleanText, bert.SplitChinese, bert.StripAccents ?? bert.LowerCase, bert.LowerCase);
            case "Sequence":
                return new NormalizerSequence([.. (step["normalizers"] as JsonArray ?? []).Select(one => Step(one as JsonObject)).OfType<Normalizer>()]);
            case "Lowercase":
                return new LowerCasing();
            case "Strip":
                return new Stripping(Flag(step, "strip_left", path) ?? true, Flag(step, "strip_right", path) ?? true);
            case "StripAccents":
                return new AccentsOut(Spacing: true);
            case "NFC":
                return new Composition();
            case "NFD":
                return new Decomposition();
            case "Replace" when TokenizerFields.Text((step["pattern"] as JsonObject)?["String"]) is { Length: > 0 } old:
                return new Replacing(old, Given("content"));
            case "Prepend":
                return new Prepending(Given("prepend"));
            case "Replace":
                throw new PermafrostException($"{path}: the normalizer Replace has a regular expression; only a text can be replaced");
            case var other:
                const string Known = "BertNormalizer, Lowercase, Strip, StripAccents, NFC, NFD, Replace, Prepend and sequences of them";
                throw new PermafrostException($"{path}: the normalizer {other} is not known; {Known} are");
        }
    }

    private IEnumerable<Cut> Cuts(JsonObject? cutter)
    {
        if (cutter is null) return [];
        switch (Kind(cutter))
        {
            case "Sequence":
                return (cutter["pretokenizers"] as JsonArray ?? []).SelectMany(one => Cuts(one as JsonObject));
            case "BertPreTokenizer":
                return PreTokenizer.Bert.Cuts;
            case "WhitespaceSplit":
                return PreTokenizer.BlanksOnly.Cuts;
            case "Whitespace":
                return PreTokenizer.Words.Cuts;
            case "Punctuation":
                string behavior = TokenizerFields.Text(cutter["behavior"]) ?? nameof(CutBehavior.Isolated);
                if (!Enum.TryParse(behavior, out CutBehavior parsed))
                    throw new PermafrostException($"{path}: the pre_tokenizer Punctuation has the behavior '{behavior}', which is not known");
                return [new Cut(Characters.IsPunctuation, parsed)];
            case "Digits":
                return [new Cut(Characters.IsNumeric, Flag(cutter, "individual_digits", path) ?? false ? CutBehavior.Isolated : CutBehavior.Contiguous)];
            case var other:
                const string Known = "BertPreTokenizer, Whitespace, WhitespaceSplit, Punctuation, Digits and sequences of them";
                throw new PermafrostException($"{path}: the pre_tokenizer {other} is not known; {Known} are");
        }
    }

    // The special tokens before and behind a single text.
    private (IReadOnlyList<string> Before, IReadOnlyList<string> After) Around(JsonObject? processor)
    {
        if (processor is null) return ([], []);
        switch (Kind(processor))
        {
            case "BertProcessing" or "RobertaProcessing" when First(processor["cls"]) is { } cls && First(processor["sep"]) is { } sep:
                return ([cls], [sep]);
            case "Sequence" when processor["processors"] is JsonArray { Count: 1 } one:
                return Around(one[0] as JsonObject);
            case "TemplateProcessing" when processor["single"] is JsonArray single:
                return Template(single, processor["special_tokens"] as JsonObject ?? []);
            case var other:
                throw new PermafrostException($"{path}: the post_processor {other} is not known; TemplateProcessing and BertProcessing are");
        }

        static string? First(JsonNode? node) => node is JsonArray { Count: 2 } pair ? TokenizerFields.Text(pair[0]) : null;
    }

    private (IReadOnlyList<string> Before, IReadOnlyList<string> After) Template(JsonArray single, JsonObject named)
    {
        (List<string> before, List<string> after, bool seen) = ([], [], false);
        foreach (JsonNode? part in single)
        {
            if ((part as JsonObject)?["Sequence"] is not null) seen = true;
            else if (TokenizerFields.Text(((part as JsonObject)?["SpecialToken"] as JsonObject)?["id"]) is { } name)
            {
                // A name stands for tokens, and is nearly always the one token's own.
                var tokens = (named[name] as JsonObject)?["tokens"] as JsonArray;
                (seen ? after : before).AddRange(tokens is { Count: > 0 } ? tokens.Select(one => TokenizerFields.Text(one) ?? name) : [name]);
            }
            else throw new PermafrostException($"{path}: the post_processor's template holds something else than special tokens and the text");
        }
        return (before, after);
    }
}
