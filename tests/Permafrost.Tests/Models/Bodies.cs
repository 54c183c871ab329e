using Permafrost.Adaptation;
using Permafrost.Models;
using Permafrost.Tasks;

namespace Permafrost.Tests.Models;

/// <summary>Bodies and models of one line, in float32 unless told otherwise.</summary>
internal static class Bodies
{
    /// <summary>A body by itself.</summary>
    public static Backbone Load(string reference, string init = "random", long seed = 0, ScalarType type = ScalarType.Float32)
    {
        using var weights = FrozenWeights.Load(reference, init, seed);
        return weights.CreateBackbone(frozenType: type);
    }

    /// <summary>A body adapted to a task; without dropout unless told otherwise.</summary>
    public static AdaptedModel Adapt(
        string reference, TaskSpec spec, string policy = "fpt", string init = "random", bool ownTokens = false, string? readout = null, double dropout = 0, long seed = 0, long initSeed = 0,
        ScalarType type = ScalarType.Float32)
    {
        using var weights = FrozenWeights.Load(reference, init, initSeed);
        return Adapt(weights, spec, policy, ownTokens, readout, dropout, seed, type);
    }

    /// <summary>A loaded body adapted to a task.</summary>
    public static AdaptedModel Adapt(
        FrozenWeights weights, TaskSpec spec, string policy = "fpt", bool ownTokens = false, string? readout = null, double dropout = 0, long seed = 0, ScalarType type = ScalarType.Float32) =>
        new(weights, spec, new AdaptationOptions
        {
            Policy = Policy.Parse(policy),
            Readout = readout is null ? null : Readout.Parse(readout),
            PretrainedEmbedding = ownTokens,
            Dropout = dropout,
            Seed = seed,
            FrozenType = type,
        });
}
