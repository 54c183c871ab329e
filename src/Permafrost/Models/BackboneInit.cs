using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>Where a backbone's weights come from (DESIGN section 3, "init").</summary>
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

    /// <summary>Draws every parameter by the architecture's own scheme.</summary>
    /// <param name="module">The model.</param>
    /// <param name="seed">The body's seed; a parameter's values depend on it and on the parameter's name only.</param>
    /// <param name="unscaled">GPT-2 as of transformers 4.1: residual projections drawn like every other weight.</param>
    /// <param name="initializerRange">The configuration's standard deviation, for <paramref name="unscaled"/>.</param>
    /// <param name="drawn">Told of each parameter as soon as its value is there.</param>
    public static void DrawRandom(Module module, long seed, bool unscaled = false, double initializerRange = 0.02, Action<string, Parameter>? drawn = null)
    {
        foreach ((string name, Parameter parameter) in module.NamedParameters())
        {
            using Generator random = Initializers.GeneratorFor(seed, name);
            parameter.Initialize(random, unscaled && name.EndsWith("c_proj.weight", StringComparison.Ordinal) ? Initializers.Normal(initializerRange) : null);
            drawn?.Invoke(name, parameter);
        }
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
        return deviation > 0 ? torch.empty(tensor.shape).normal_(mean, deviation, random) : torch.full(tensor.shape, mean);
    }

    private static Tensor Shuffle(Tensor tensor, Generator random) =>
        tensor.reshape(-1).index_select(0, torch.randperm(tensor.NumberOfElements, ScalarType.Int64, generator: random)).view(tensor.shape);
}
