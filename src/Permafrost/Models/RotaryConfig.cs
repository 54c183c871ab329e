using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>
/// Rotary positions as configurations describe them: <c>rope_theta</c> and <c>rope_scaling</c> in files of transformers 4, <c>rope_parameters</c> in files of transformers 5
/// (transformers modeling_rope_utils.py, 4.43 to 5.16).
/// </summary>
internal static class RotaryConfig
{
    /// <summary>The frequencies (D/2) of a model's heads.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="headSize">D.</param>
    /// <param name="positions">The longest sequence.</param>
    /// <exception cref="PermafrostException">The rotation is of a kind that is not known, or a number cannot be.</exception>
    public static float[] Frequencies(HfConfig config, int headSize, int positions)
    {
        HfConfig rope = config.Section("rope_scaling") ?? config.Section("rope_parameters") ?? HfConfig.Parse("{}", config.Source);
        if (rope.Holds("full_attention") || rope.Holds("sliding_attention"))
            throw new PermafrostException($"{rope.Source} differs by the kind of layer (full_attention, sliding_attention), and only one rotation for all layers is known");
        if (headSize % 2 != 0) throw new PermafrostException($"{config.Source}: a head has {headSize} numbers (head_dim); rotary positions need an even number");
        double theta = rope.Number("rope_theta", config.Number("rope_theta", 10000));
        if (theta <= 0) throw new PermafrostException($"{(rope.Holds("rope_theta") ? rope : config).Source}: rope_theta is {theta}; it must be above 0");
        double share = rope.Number("partial_rotary_factor", config.Number("partial_rotary_factor", 1));
        if (share != 1) throw new PermafrostException($"{config.Source}: partial_rotary_factor is {share}; only heads that are turned as a whole are known");

        float[] plain = Rotary.Frequencies(headSize, theta);
        string type = rope.Text("rope_type", rope.Text("type", "default"))!;
        return type switch
        {
            "default" => plain,
            "linear" => Rotary.Slower(plain, Factor(rope)),
            // Frequencies change for sequences that are longer than the positions, and those are refused.
            "dynamic" when Factor(rope) > 0 => plain,
            "llama3" => Llama3(rope, plain, positions),
            _ => throw new PermafrostException($"{rope.Source}: the rope_type '{type}' is not known; known are default, linear, dynamic, llama3"),
        };
    }

    private static float[] Llama3(HfConfig rope, float[] plain, int positions)
    {
        (double low, double high) = (Needed(rope, "low_freq_factor"), Needed(rope, "high_freq_factor"));
        if (low <= 0 || high <= low)
            throw new PermafrostException($"{rope.Source}: low_freq_factor is {low} and high_freq_factor {high}; the first must be above 0, and the second above the first");
        return Rotary.Llama3(plain, Factor(rope), low, high, rope.Int("original_max_position_embeddings", positions));
    }

    private static double Factor(HfConfig rope) =>
        Needed(rope, "factor") is > 0 and var factor ? factor : throw new PermafrostException($"{rope.Source}: factor is {rope.Number("factor", 0)}; it must be above 0");

    private static double Needed(HfConfig rope, string key) =>
        rope.Holds(key) ? rope.Number(key, 0) : throw new PermafrostException($"{rope.Source} has no \"{key}\", which its rope_type needs");
}
