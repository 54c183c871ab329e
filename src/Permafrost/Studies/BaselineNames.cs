namespace Permafrost.Studies;

/// <summary>Readable names for the baselines of results.json.</summary>
public static class BaselineNames
{
    /// <summary>A rule in a few words; a rule that is not known keeps its own name.</summary>
    public static string Of(string rule) => rule switch
    {
        "majority" => "most frequent class",
        "linear" => "linear on the inputs",
        "nearest_kmers" => "the nearest training protein by runs of three letters",
        "copy" => "copy visible bits, guess the rest",
        "first_operator" => "from the first operator alone",
        "root" => "first operator and the digits directly under it",
        "ngram-linear" => "linear on n-grams of words and characters",
        "nearest-neighbour" => "the nearest training series",
        "random-convolutions" => "linear on random convolutions",
        "kmer-linear" => "linear on counts of single, paired and threefold ids",
        "boosted-trees" => "boosted trees on the inputs",
        "linear-probe" => "linear probe: linear on the frozen body's embedding",
        _ => rule,
    };
}
