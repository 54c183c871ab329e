using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>How a dynamic convolution makes its taps, as the arguments of fairseq's DynamicConv1dTBC.</summary>
internal sealed record DynamicTaps
{
    /// <summary>Whether channel c reads row c mod H, not row c / (C / H).</summary>
    public bool Alternating { get; init; }

    /// <summary>Whether a softmax makes the taps of a row sum to one.</summary>
    public bool Softmax { get; init; } = true;

    /// <summary>Whether that softmax leaves out taps beyond an edge (renorm_padding).</summary>
    public bool Renormalise { get; init; }

    /// <summary>Whether the map to the taps has a bias.</summary>
    public bool Bias { get; init; }

    /// <summary>Whether a number is added to each channel (conv_bias).</summary>
    public bool OutputBias { get; init; }

    /// <summary>Whether the map gives new inputs beside the taps (in_proj); it has a bias then.</summary>
    public bool ProjectsInputs { get; init; }

    /// <summary>The width of a query, which the taps are then computed from; null for the input itself.</summary>
    public long? QueryWidth { get; init; }
}

/// <summary>
/// A convolution whose taps are a linear map of the token itself, so that they differ from token to token (Wu et al. 2019, section 4; fairseq, DynamicConv1dTBC). Shape: (B, T, C)
/// to the same; <c>weight_linear.weight</c> (H k, C), as fairseq names and shapes it. Where a causal kernel is longer than the sequence, the softmax is over all of it, as on
/// fairseq's default path. DropConnect draws for each token.
/// </summary>
internal sealed class DynamicConv : TimeConvolution
{
    private readonly DynamicTaps settings;
    private readonly long width;
    private readonly long rows;
    private readonly long kernel;
    private readonly Linear map;

    /// <summary>A convolution whose map starts as torch.nn.Linear does, and whose bias at zero.</summary>
    public DynamicConv(long width, long rows, TapWindow window, DynamicTaps? settings = null) : base(width, rows, window, settings?.Alternating ?? false)
    {
        this.settings = settings ??= new DynamicTaps();
        (this.width, this.rows, kernel) = (width, rows, window.Kernel);
        map = Declare("weight_linear", new Linear(
            settings.QueryWidth ?? width, rows * kernel + (settings.ProjectsInputs ? width : 0), settings.Bias || settings.ProjectsInputs));
        if (settings.OutputBias) Bias = Declare("conv_bias", [width], Initializers.Zeros);
    }

    /// <inheritdoc/>
    protected override bool Normalises => settings.Softmax;

    /// <inheritdoc/>
    protected override bool NormalisesInside => settings.Renormalise;

    /// <inheritdoc/>
    protected override Parameter? Bias { get; }

    /// <inheritdoc/>
    protected override (Tensor Inputs, Tensor Taps) Read(Tensor x, Tensor? query)
    {
        Tensor asked = query ?? x, made = LinearMap.Apply(asked, map.Weight, map.Bias, map.Weight.Shape[0], null, ScalarType.Float32);
        (long B, long T) = (asked.size(0), asked.size(1));
        return settings.ProjectsInputs
            ? (made.Columns(0, width), made.Columns(width, rows * kernel).Reshaped(B, T, rows, kernel))
            : (x, made.Reshaped(B, T, rows, kernel));
    }
}
