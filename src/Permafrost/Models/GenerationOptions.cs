namespace Permafrost.Models;

/// <summary>How tokens are generated.</summary>
public sealed record GenerationOptions
{
    /// <summary>The most new tokens; of an encoder-decoder, those behind the token that its decoder starts from.</summary>
    public required int MaxNewTokens { get; init; }

    /// <summary>Sequences that are followed at once for each prompt, of which the most probable is given; 1 for none but the one.</summary>
    public int Beams { get; init; } = 1;

    /// <summary>Draw tokens by their probabilities; else the most probable one is taken.</summary>
    public bool Sample { get; init; }

    /// <summary>Divides the logits before tokens are drawn: below 1 the probable ones become more probable.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Draw among so many of the most probable tokens only; 0 for all.</summary>
    public int TopK { get; init; }

    /// <summary>Draw among the fewest most probable tokens that have this much probability together (Holtzman et al. 2020); 1 for all.</summary>
    public double TopP { get; init; } = 1;

    /// <summary>The power of a sequence's length that its log probability is divided by when beams are compared; 0 for none.</summary>
    public double LengthPenalty { get; init; } = 1;

    /// <summary>The seed of what is drawn.</summary>
    public long Seed { get; init; }

    /// <summary>The token behind which nothing more is generated; null for none.</summary>
    public int? EndId { get; init; }

    /// <summary>What stands behind the end of a sequence, where others are longer.</summary>
    public int PadId { get; init; }

    /// <summary>The last token of a sequence that reaches <see cref="MaxNewTokens"/>; null for whichever comes.</summary>
    public int? ForcedEndId { get; init; }

    /// <summary>The first new token; null for whichever comes.</summary>
    public int? ForcedStartId { get; init; }

    /// <summary>Refuses settings that cannot be.</summary>
    /// <param name="vocabulary">V, the number of the model's tokens.</param>
    /// <exception cref="UsageException">A number is out of its range, or beams are to be drawn.</exception>
    public void Check(int vocabulary)
    {
        (string, int?)[] ids = [("the end", EndId), ("padding", PadId), ("the forced first token", ForcedStartId), ("the forced last token", ForcedEndId)];
        foreach ((string name, int? id) in ids)
            if (id < 0 || id >= vocabulary) throw new UsageException($"{name} is the id {id}, and the model has 0 to {vocabulary - 1}");
        if (MaxNewTokens < 1) throw new UsageException($"`max_new_tokens` is {MaxNewTokens}; it must be at least 1");
        if (Beams is < 1 or > 1000) throw new UsageException($"`beams` is {Beams}; it must be between 1 and 1,000");
        if (Temperature is not (>= 1e-6 and <= 1000)) throw new UsageException($"`temperature` is {Temperature}; it must be between 0.000001 and 1,000");
        if (TopK < 0) throw new UsageException($"`top_k` is {TopK}; it must be at least 0, which stands for all");
        if (TopP is not (> 0 and <= 1)) throw new UsageException($"`top_p` is {TopP}; it must be above 0, and at most 1");
        if (!double.IsFinite(LengthPenalty)) throw new UsageException($"`length_penalty` is {LengthPenalty}; it must be a number");
        if (Sample && Beams > 1) throw new UsageException("`sample` and `beams` exclude each other: beams follow the most probable sequences, and sampling draws one");
        if (!Sample && (Temperature != 1 || TopK != 0 || TopP != 1))
            throw new UsageException("`temperature`, `top_k` and `top_p` change what is drawn; add `sample`, or leave them out");
    }
}
