using Permafrost.Data;

namespace Permafrost.Pretraining.Objectives;

/// <summary>Each token is told from those before it (Radford et al. 2018, section 3.1).</summary>
/// <param name="context">T, the tokens that are read.</param>
/// <param name="tokens">The vocabulary's special tokens.</param>
public sealed class CausalObjective(int context, ObjectiveTokens tokens) : Objective
{
    /// <inheritdoc/>
    public override string Name => "causal";

    /// <inheritdoc/>
    public override int Window => context + 1;

    /// <inheritdoc/>
    public override int TokensPerWindow => context;

    /// <inheritdoc/>
    public override bool Compresses => true;

    /// <inheritdoc/>
    public override LanguageExample Make(long[][] windows, Func<int, CounterRandom> random) => new(
        [.. windows.Select(window => window[..^1].Select(id => id < 0 ? tokens.Padding : id).ToArray())], [.. windows.Select(window => window[1..])]);
}
