namespace Permafrost.Studies;

/// <summary>What the floors of results.json are called in front of people.</summary>
public static class FloorNames
{
    /// <summary>A rule in a few words; a rule that is not known keeps its own name.</summary>
    public static string Of(string rule) => rule switch
    {
        "majority" => "most frequent class",
        "linear" => "linear on the inputs",
        "copy" => "copy visible bits, guess the rest",
        "first_operator" => "from the first operator alone",
        "root" => "first operator and the digits directly under it",
        _ => rule,
    };
}
