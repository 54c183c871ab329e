using Permafrost.Formats;

namespace Permafrost.Tokenizers;

/// <summary>Collects tokens and their ids, and refuses what cannot be.</summary>
/// <param name="source">Names the file in errors.</param>
internal sealed class VocabularyBuilder(string source)
{
    // More ids than any vocabulary has.
    private const int MostIds = 1 << 22;

    private readonly Dictionary<int, string> tokens = [];

    public Dictionary<string, int> Ids { get; } = new(StringComparer.Ordinal);

    /// <exception cref="PermafrostException">The id cannot be or is another's, or the token is there.</exception>
    public void Add(string token, int id)
    {
        if (id is < 0 or >= MostIds) throw new PermafrostException($"{source}: the token '{ShownText.Short(token)}' has no id that can be; ids are whole numbers from 0");
        if (!tokens.TryAdd(id, token)) throw new PermafrostException($"{source}: the tokens '{ShownText.Short(tokens[id])}' and '{ShownText.Short(token)}' have the same id, {id}");
        if (!Ids.TryAdd(token, id)) throw new PermafrostException($"{source}: the token '{ShownText.Short(token)}' is there twice, as {Ids[token]} and as {id}");
    }

    /// <summary>The id of a special token.</summary>
    /// <exception cref="PermafrostException">It is not there.</exception>
    public int Special(string token) => Ids.TryGetValue(token, out int id) ? id
        : throw new PermafrostException($"{source}: the special token '{ShownText.Short(token)}' is not among its {Ids.Count} tokens");

    /// <summary>The tokens by their ids; null where an id has none.</summary>
    public string?[] Tokens()
    {
        var all = new string?[tokens.Count == 0 ? 0 : tokens.Keys.Max() + 1];
        foreach ((int id, string token) in tokens) all[id] = token;
        return all;
    }
}
