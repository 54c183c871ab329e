using Permafrost.Tasks.Baselines;

namespace Permafrost.Baselines;

/// <summary>The baselines of this package.</summary>
public static class StrongBaselines
{
    /// <summary>All of them; each says what it applies to.</summary>
    public static IReadOnlyList<IStrongBaseline> All { get; } =
    [
        new NGramBaseline(), new BoostedTreesBaseline(), new NearestNeighbourBaseline(), new RandomConvolutionsBaseline(), new KMerBaseline(),
    ];
}
