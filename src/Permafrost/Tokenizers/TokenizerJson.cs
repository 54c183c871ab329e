using System.Text.Json.Nodes;
using Permafrost.Formats;
using static Permafrost.Tokenizers.TokenizerFields;

namespace Permafrost.Tokenizers;

/// <summary>
/// Reads a <c>tokenizer.json</c> (Hugging Face tokenizers 0.2x): its vocabulary, its steps, what stands around a text, its added tokens, its decoder.
/// Its truncation and padding are not looked at, as by Hugging Face's transformers: what a caller asks for counts.
/// </summary>
/// <param name="path">Names the file in errors.</param>
/// <param name="json">What is in it.</param>
/// <param name="config">The <c>tokenizer_config.json</c> beside it; empty where there is none.</param>
internal sealed class TokenizerJson(string path, JsonObject json, JsonObject config)
{
    private static readonly string[] Keys =
        ["version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"];

    private readonly TokenizerSteps steps = new(path, config);
    private readonly VocabularyBuilder vocabulary = new(path);

    public Tokenizer Read()
    {
        JsonObject model = json["model"] as JsonObject ?? throw new PermafrostException($"{path} is no tokenizer: it has no \"model\"");
        foreach ((string key, _) in json)
            if (!Keys.Contains(key)) throw new PermafrostException($"{path}: the key \"{ShownText.Short(key)}\" is not known; a tokenizer has {string.Join(", ", Keys)}");
        string type = TokenizerFields.Text(model["type"]) ?? TypeOf(model);
        return type switch
        {
            "WordPiece" => WordPiece(model),
            "BPE" => Pairs(model),
            "Unigram" => Unigram(model),
            _ => throw new PermafrostException($"{path} holds a tokenizer of the kind {ShownText.Short(type)}; BPE, Unigram and WordPiece are known"),
        };
    }

    // What older files, which do not name it, have in common.
    private static string TypeOf(JsonObject model)
    {
        if (model["merges"] is not null) return "BPE";
        if (model["max_input_chars_per_word"] is not null) return "WordPiece";
        return model["vocab"] is JsonArray ? "Unigram" : "unknown";
    }

    private WordPiece WordPiece(JsonObject model)
    {
        Only(model, "vocab", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word");
        AddVocabulary(model);
        AddedToken[] added = [.. AddedTokens().Select(one => one.Token)];
        JsonObject? normalizer = Step("normalizer"), cutter = Step("pre_tokenizer"), decoder = Step("decoder");
        TokenizerSteps.Around around = steps.PostProcessor(Step("post_processor"));
        bool isBert = TokenizerSteps.Kind(normalizer) == "BertNormalizer" && TokenizerSteps.Kind(cutter) == "BertPreTokenizer";
        bool pieces = TokenizerSteps.Kind(decoder) == "WordPiece";
        if (decoder is not null && !pieces) throw new PermafrostException($"{path}: the decoder {TokenizerSteps.Kind(decoder)} is not known with WordPiece; only WordPiece is");
        steps.Decoder(decoder);
        WordPieceSettings settings = steps.Bert(isBert ? normalizer! : []) with
        {
            Slow = false,
            Pipeline = isBert ? null : new TextPipeline(steps.Normalizer(normalizer), steps.PreTokenizer(cutter)),
            Unknown = TokenizerFields.Text(model["unk_token"]) ?? "[UNK]",
            Continuation = TokenizerFields.Text(model["continuing_subword_prefix"]) ?? "##",
            LongestWord = LongestWord(model),
            Pad = PadToken() ?? "[PAD]",
            Before = around.Before,
            After = around.After,
            Special = [.. added.Where(token => token.Special).Select(token => token.Content)],
            Added = added,
            LongestText = LongestText(config, TokenizerSettings.Beside(path)),
            DecodesPieces = pieces,
            Blanks = Blanks(pieces && (Flag(decoder!, "cleanup", path) ?? true)),
        };
        if (steps.IsByteLevel || around.Trims) throw new PermafrostException($"{path}: ByteLevel goes with BPE, and the tokenizer is of the kind WordPiece");
        return new WordPiece(vocabulary.Tokens(), settings, path);
    }

    private int LongestWord(JsonObject model)
    {
        if (model["max_input_chars_per_word"] is not { } most) return 100;
        return Id(most) >= 1 ? Id(most)
            : throw new PermafrostException(
                $"{path}: the model's \"max_input_chars_per_word\" is {ShownText.Short(most.ToJsonString())}, where a whole number of at least 1 is needed");
    }

    private PipelineTokenizer Pairs(JsonObject model)
    {
        Only(model, "vocab", "merges", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges");
        if (model["dropout"] is JsonValue value && !(value.TryGetValue(out double dropout) && dropout == 0))
            throw new PermafrostException($"{path}: the model's \"dropout\" is {value.ToJsonString()}, which cuts words at random; only null and 0 are known");
        AddVocabulary(model);
        PreTokenizer? cutter = steps.PreTokenizer(Step("pre_tokenizer"));
        var settings = new BytePairSettings
        {
            ByteLevel = steps.IsByteLevel,
            Unknown = TokenizerFields.Text(model["unk_token"]),
            FuseUnknown = Flag(model, "fuse_unk", path) ?? false,
            ByteFallback = Flag(model, "byte_fallback", path) ?? false,
            IgnoreMerges = Flag(model, "ignore_merges", path) ?? false,
            ContinuingPrefix = TokenizerFields.Text(model["continuing_subword_prefix"]) ?? "",
            EndSuffix = TokenizerFields.Text(model["end_of_word_suffix"]) ?? "",
        };
        JsonArray merges = model["merges"] as JsonArray ?? throw new PermafrostException($"{path}: its model has no \"merges\"");
        // Added tokens are none of the model's.
        var pairs = new BytePairs(new Dictionary<string, int>(vocabulary.Ids, StringComparer.Ordinal), Merges(merges), settings, path);
        return Assembled("BPE", pairs, cutter, pairs.UnknownId);
    }

    private List<Merge> Merges(JsonArray merges)
    {
        var list = new List<Merge>(merges.Count);
        foreach (JsonNode? one in merges)
        {
            string[] pair = one is JsonArray both ? [.. both.Select(token => TokenizerFields.Text(token) ?? "")] : TokenizerFields.Text(one)?.Split(' ') ?? [];
            if (pair is not [{ Length: > 0 } left, { Length: > 0 } right]) throw new PermafrostException($"{path}: merge {list.Count + 1} is not two tokens");
            list.Add(new Merge(left, right, list.Count));
        }
        return list;
    }

    private PipelineTokenizer Unigram(JsonObject model)
    {
        Only(model, "vocab", "unk_id", "byte_fallback");
        JsonArray list = model["vocab"] as JsonArray ?? throw new PermafrostException($"{path}: its model has no \"vocab\" that is a list of pieces and scores");
        var pieces = new List<UnigramPiece>(list.Count);
        foreach (JsonNode? one in list)
        {
            if (one is not JsonArray { Count: 2 } pair || TokenizerFields.Text(pair[0]) is not { } piece || !(pair[1] is JsonValue number && number.TryGetValue(out double score)))
                throw new PermafrostException($"{path}: piece {pieces.Count} of the vocabulary is not a text and a score");
            vocabulary.Add(piece, pieces.Count);
            pieces.Add(new UnigramPiece(piece, score));
        }
        int? unknown = model["unk_id"] is { } node ? Id(node) : null;
        if (unknown < 0 || unknown >= pieces.Count)
            throw new PermafrostException($"{path}: the model's \"unk_id\" is {model["unk_id"]!.ToJsonString()}, and it has {pieces.Count} pieces");
        var settings = new UnigramSettings(unknown, Flag(model, "byte_fallback", path) ?? false);
        var unigram = new Unigram(pieces, settings, path);
        if (unknown is null && !unigram.KnowsBytes) throw new PermafrostException($"{path}: the model has no \"unk_id\", the id of what its vocabulary cannot express");
        PreTokenizer? cutter = steps.PreTokenizer(Step("pre_tokenizer"));
        if (steps.IsByteLevel) throw new PermafrostException($"{path}: ByteLevel goes with BPE, and the tokenizer is of the kind Unigram");
        return Assembled("Unigram", unigram, cutter, unigram.KnowsBytes ? null : unknown);
    }

    private PipelineTokenizer Assembled(string kind, WordModel model, PreTokenizer? cutter, int? unknown)
    {
        (AddedToken Token, int Id)[] added = [.. AddedTokens()];
        TokenizerSteps.Around around = steps.PostProcessor(Step("post_processor"));
        return new PipelineTokenizer(new Pipeline
        {
            Kind = kind,
            Vocabulary = vocabulary.Tokens(),
            Model = model,
            Normalizer = steps.Normalizer(Step("normalizer")),
            PreTokenizer = cutter,
            Decoder = steps.Decoder(Step("decoder")) ?? new Spacing(),
            Added = added,
            Around = new Surroundings([.. around.Before.Select(vocabulary.Special)], [.. around.After.Select(vocabulary.Special)], around.Trims, around.Prefixed),
            Unknown = unknown,
            Pad = PadToken() is { } pad && vocabulary.Ids.TryGetValue(pad, out int id) ? id : null,
            LongestText = LongestText(config, TokenizerSettings.Beside(path)),
        });
    }

    private string? PadToken() => Content(config["pad_token"]) ?? TokenizerFields.Text((json["padding"] as JsonObject)?["pad_token"]);

    private JsonObject? Step(string key) => json[key] is not { } node ? null
        : node as JsonObject ?? throw new PermafrostException($"{path}: \"{key}\" is no object with a type");

    private void AddVocabulary(JsonObject model)
    {
        JsonObject tokens = model["vocab"] as JsonObject ?? throw new PermafrostException($"{path}: its model has no \"vocab\" that is an object of tokens with their ids");
        if (tokens.Count == 0) throw new PermafrostException($"{path}: its model's vocabulary is empty");
        foreach ((string token, JsonNode? node) in tokens) vocabulary.Add(token, Id(node));
    }

    private List<(AddedToken Token, int Id)> AddedTokens()
    {
        var added = new List<(AddedToken, int)>();
        foreach (JsonNode? one in json["added_tokens"] as JsonArray ?? [])
        {
            AddedToken token = Added(one, special: false, path);
            if (token.Content.Length == 0) throw new PermafrostException($"{path}: an added token has no content");
            int id = Id((one as JsonObject)?["id"]);
            if (!vocabulary.Ids.TryGetValue(token.Content, out int there)) vocabulary.Add(token.Content, id);
            else if (there != id) throw new PermafrostException($"{path}: the added token '{ShownText.Short(token.Content)}' has the id {id}, but {there} in the vocabulary");
            added.Add((token, id));
        }
        return added;
    }

    private void Only(JsonObject model, params string[] keys)
    {
        foreach ((string key, JsonNode? value) in model)
            if (key != "type" && value is not null && !keys.Contains(key))
                throw new PermafrostException($"{path}: the model's setting \"{ShownText.Short(key)}\" is not known; {string.Join(", ", keys)} are");
    }

    // The configuration is Hugging Face's transformers', which put blanks right in the whole text where it does not say otherwise.
    private DecodedBlanks Blanks(bool decoderCleans)
    {
        if (config.Count > 0 && (Flag(config, "clean_up_tokenization_spaces", "tokenizer_config.json") ?? true)) return DecodedBlanks.OfTheText;
        return decoderCleans ? DecodedBlanks.OfTokens : DecodedBlanks.All;
    }
}
