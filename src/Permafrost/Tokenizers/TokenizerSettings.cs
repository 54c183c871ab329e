using System.Globalization;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using static Permafrost.Tokenizers.TokenizerFields;

namespace Permafrost.Tokenizers;

/// <summary>
/// What lies beside a vocabulary in a folder of Hugging Face's: <c>tokenizer_config.json</c>, <c>special_tokens_map.json</c>, <c>added_tokens.json</c>, and the kind of model in
/// <c>config.json</c>.
/// </summary>
/// <param name="folder">The folder.</param>
internal sealed class TokenizerSettings(string folder)
{
    public const string ConfigName = "tokenizer_config.json";
    private const string AddedTokensName = "added_tokens.json";

    private readonly JsonObject map = Optional(folder, "special_tokens_map.json");

    public JsonObject Config { get; } = Optional(folder, ConfigName);

    public string ConfigPath => Path.Combine(folder, ConfigName);

    /// <summary>The configuration beside a tokenizer's file.</summary>
    public static string Beside(string path) => Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, ConfigName);

    /// <summary>The family by its class, such as <c>Bert</c> of <c>BertTokenizerFast</c>; null where the configuration does not say.</summary>
    /// <exception cref="PermafrostException">It is no text.</exception>
    public string? Class
    {
        get
        {
            if (Config["tokenizer_class"] is not { } node) return null;
            string name = TokenizerFields.Text(node)
                ?? throw new PermafrostException($"{ConfigPath}: \"tokenizer_class\" is {ShownText.Short(node.ToJsonString())}, where a name is needed");
            return (name.EndsWith("Fast", StringComparison.Ordinal) ? name[..^4] : name).Replace("Tokenizer", "", StringComparison.Ordinal);
        }
    }

    /// <summary>The kind of model that the folder is for (<c>model_type</c>); null where there is no configuration.</summary>
    public string? ModelType => TokenizerFields.Text(Optional(folder, "config.json")["model_type"]);

    public bool? Flag(string key) => TokenizerFields.Flag(Config, key, ConfigPath);

    /// <summary>A special token by what it is for, such as <c>cls_token</c>.</summary>
    public string? Named(string key) => Content(Config[key]) ?? Content(map[key]);

    /// <summary>All that are named there.</summary>
    public IEnumerable<string> Special
    {
        get
        {
            string[] keys = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token"];
            foreach (JsonObject file in new[] { map, Config })
            {
                foreach (string key in keys) if (Content(file[key]) is { } token) yield return token;
                foreach (JsonNode? one in file["additional_special_tokens"] as JsonArray ?? []) if (Content(one) is { } token) yield return token;
            }
        }
    }

    /// <summary>The added tokens with their ids, and the file that each is from; those whose description is there go first.</summary>
    /// <param name="special">The tokens that are special where a file does not say.</param>
    public IEnumerable<(AddedToken Token, int Id, string Source)> Added(IReadOnlyCollection<string> special)
    {
        foreach ((string id, JsonNode? token) in Config["added_tokens_decoder"] as JsonObject ?? [])
        {
            int number = int.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out int parsed) ? parsed : -1;
            yield return (TokenizerFields.Added(token, special.Contains(Content(token) ?? ""), ConfigPath), number, ConfigPath);
        }
        foreach ((string token, JsonNode? id) in Optional(folder, AddedTokensName))
            yield return (new AddedToken(token, special.Contains(token), Normalized: !special.Contains(token)), Id(id), Path.Combine(folder, AddedTokensName));
    }

    /// <summary>The tokens that are found in texts, with their ids: those that are described, and the special ones that the vocabulary has. New ones are added to it.</summary>
    /// <exception cref="PermafrostException">An added token has another's id, or another id than its own.</exception>
    public IReadOnlyList<(AddedToken Token, int Id)> AddTo(VocabularyBuilder vocabulary, IReadOnlyCollection<AddedToken> special)
    {
        var found = new OrderedDictionary<string, (AddedToken, int)>(StringComparer.Ordinal);
        foreach ((AddedToken token, int id, string source) in Added([.. special.Select(token => token.Content)]).OrderBy(one => one.Id))
        {
            if (token.Content.Length == 0) throw new PermafrostException($"{source}: an added token has no content");
            if (!vocabulary.Ids.TryGetValue(token.Content, out int there)) vocabulary.Add(token.Content, id);
            else if (there != id) throw new PermafrostException($"{source}: the added token '{ShownText.Short(token.Content)}' has the id {id}, but {there} in the vocabulary");
            found.TryAdd(token.Content, (token, id));
        }
        foreach (AddedToken token in special) if (vocabulary.Ids.TryGetValue(token.Content, out int id)) found.TryAdd(token.Content, (token, id));
        return [.. found.Values];
    }

    public int? LongestText => TokenizerFields.LongestText(Config, ConfigPath);
}
