using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>Where a backbone's weights come from.</summary>
public static class BackboneInit
{
    /// <summary>Raised when a scheme below changes, because a random body is known by its scheme and seed alone.</summary>
    public const int Version = 1;

    /// <summary>Name and one line each.</summary>
    public static IReadOnlyList<(string Name, string Summary)> All { get; } =
    [
        ("pretrained", "the weights of the backbone's folder"),
        ("random", "drawn by the architecture's published scheme; for GPT-2 with scaled residual projections"),
        ("random-gpt2-2021", "as the paper's library version drew GPT-2: normal(0, 0.02) without scaled residual projections"),
        ("statistics", "every tensor of the frozen kinds redrawn normal with the pretrained tensor's mean and standard deviation; norms and positions kept"),
        ("shuffled", "every tensor of the frozen kinds with its pretrained values permuted; norms and positions kept"),
    ];

    /// <summary>Whether an init starts from pretrained weights.</summary>
    public static bool NeedsWeights(string init) => init is "pretrained" or "statistics" or "shuffled";

    /// <summary>Refuses an init that a backbone cannot have.</summary>
    /// <exception cref="UsageException">It does not exist, is another family's, or needs weights that are not there.</exception>
    public static void Check(string init, BackboneSource source)
    {
        if (All.All(known => known.Name != init)) throw new UsageException($"`init` {init} does not exist; there are {string.Join(", ", All.Select(known => known.Name))}");
        if (init == "random-gpt2-2021" && source.Config.ModelType != "gpt2")
            throw new UsageException($"`init` random-gpt2-2021 is a scheme of gpt2, not of {source.Config.ModelType}; use `init` random");
        if (source.Folder is null && NeedsWeights(init))
            throw new UsageException(
                $"'{source.Reference}' is a preset without weights, so `init` {init} has nothing to start from; " +
                $"use `init` random, or a model folder as `backbone`{source.FetchHint}");
    }

    /// <summary>Draws a parameter by the architecture's own scheme; its values depend on the body's seed and the parameter's name only.</summary>
    internal static void Draw(FrozenWeights weights, string name, Parameter parameter)
    {
        // GPT-2 as of transformers 4.1: residual projections drawn like every other weight.
        bool unscaled = weights.Init == "random-gpt2-2021" && name.EndsWith("c_proj.weight", StringComparison.Ordinal);
        using Generator random = Initializers.GeneratorFor(weights.Seed, name);
        parameter.Initialize(random, unscaled ? Initializers.Normal(weights.Config.Number("initializer_range", 0.02)) : null);
    }

    /// <summary>Replaces the pretrained values of a parameter that is neither norm nor position, as <c>statistics</c> and <c>shuffled</c> do; other inits leave it.</summary>
    public static void Redraw(string init, Backbone backbone, string name, Parameter parameter, long seed)
    {
        if (init is not ("statistics" or "shuffled") || backbone.GroupOf(name).Group is GroupName.Ln or GroupName.Pos) return;
        using var scope = torch.NewDisposeScope();
        using Generator random = Initializers.GeneratorFor(seed, name);
        parameter.Value = init == "statistics" ? MatchStatistics(parameter.Value, random) : Shuffle(parameter.Value, random);
    }

    // Normal numbers of the same mean and standard deviation.
    private static Tensor MatchStatistics(Tensor tensor, Generator random)
    {
        double deviation = tensor.NumberOfElements > 1 ? tensor.std(unbiased: false).Number() : 0;
        double mean = tensor.mean().Number();
        return deviation > 0 ? torch.empty(tensor.shape).normal_(mean, deviation, random) : torch.full(tensor.shape, mean.Hold());
    }

    private static Tensor Shuffle(Tensor tensor, Generator random) =>
        tensor.reshape(-1).index_select(0, torch.randperm(tensor.NumberOfElements, ScalarType.Int64, generator: random)).view(tensor.shape);
}
