using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>Where a convolution's taps stand.</summary>
/// <param name="Kernel">k, the number of taps.</param>
/// <param name="Causal">Whether the last tap is the token itself; otherwise they are centred, with one more behind than before where k is even, as fairseq pads.</param>
/// <param name="Dilation">Tokens from one tap to the next.</param>
internal sealed record TapWindow(long Kernel, bool Causal, long Dilation = 1)
{
    /// <summary>Tokens from an output's own to its first tap.</summary>
    public long Left => (Causal ? Kernel - 1 : (Kernel - 1) / 2) * Dilation;

    /// <summary>Tokens from the first tap to the last.</summary>
    public long Span => (Kernel - 1) * Dilation;
}

/// <summary>Which inputs there are, and what is done to the taps.</summary>
/// <param name="Mask">(B, T), 0 for tokens that count as zeros; behind a cache of all tokens so far. Null when all count.</param>
/// <param name="Cache">The inputs before, of which a causal convolution keeps what its window spans; null for none.</param>
/// <param name="Place">The convolution's name in the cache.</param>
/// <param name="TapDropout">DropConnect: the probability with which a tap is dropped while the module is being trained.</param>
/// <param name="Query">(B, T, query): what a dynamic convolution computes its taps from, where it is not its input.</param>
internal sealed record TimeConvolutionInputs(Tensor? Mask = null, KeyValueCache? Cache = null, string Place = "", double TapDropout = 0, Tensor? Query = null);

/// <summary>
/// What the convolutions along time share (Wu et al. 2019, "Pay Less Attention with Lightweight and Dynamic Convolutions"; fairseq, modules/lightweight_convolution.py and
/// dynamic_convolution.py): rows of taps, made to sum to one by a softmax where the layer has one, then DropConnect, then the sum over the window. Taps beyond an edge multiply
/// zeros, and the others are not made larger for that. Shape: (B, T, C) to the same.
/// </summary>
internal abstract class TimeConvolution : Module
{
    private readonly TapWindow window;
    private readonly bool alternating;

    protected TimeConvolution(long width, long rows, TapWindow window, bool alternating)
    {
        if (rows < 1 || width % rows != 0) throw new ArgumentException($"{width} channels cannot share {rows} rows of taps");
        (this.window, this.alternating) = (window, alternating);
    }

    /// <summary>Whether a softmax makes the taps of a row sum to one.</summary>
    protected virtual bool Normalises => false;

    /// <summary>Whether that softmax leaves out the taps that read nothing.</summary>
    protected virtual bool NormalisesInside => false;

    /// <summary>Added to each channel, (C); null for nothing.</summary>
    protected abstract Parameter? Bias { get; }

    /// <summary>What is convolved, (B, T, C), and the rows of taps as they are before a softmax, (H, k) or (B, T, H, k).</summary>
    protected abstract (Tensor Inputs, Tensor Taps) Read(Tensor x, Tensor? query);

    /// <summary>Convolves.</summary>
    /// <param name="x">(B, T, C).</param>
    /// <param name="given">Masks and the like; null for nothing of them.</param>
    public Tensor Forward(Tensor x, TimeConvolutionInputs? given = null)
    {
        given ??= new TimeConvolutionInputs();
        (Tensor inputs, Tensor taps) = Read(x, given.Query);
        long T = inputs.size(1);
        if (given.Cache is not null) inputs = given.Cache.Recent(given.Place, inputs, window.Span);
        long S = inputs.size(1);
        Tensor? mask = given.Mask is { } whole && whole.size(1) != S ? whole.narrow(1, whole.size(1) - S, S) : given.Mask;
        var settings = new ConvolutionSettings(window.Left - (S - T), window.Dilation, alternating, mask) { Outputs = T };
        if (Normalises) taps = Segment.Compose(rows => Normalised(rows[0], NormalisesInside ? Inside(settings, S, x.device) : null), taps);
        DropoutDraw dropout = Dropout(given.TapDropout);
        // Taps that all tokens share are dropped for all rows of a run alike, wherever in the run a batch begins.
        if (dropout.Active) taps = taps.FusedDropout(taps.Dimensions == 2 ? dropout with { FirstRow = 0 } : dropout);
        return inputs.ConvolveTime(taps, Bias?.Value, settings);
    }

    private static Tensor Normalised(Tensor taps, Tensor? inside)
    {
        Tensor wide = taps.dtype is ScalarType.BFloat16 ? taps.to(ScalarType.Float32) : taps;
        if (inside is null) return torch.nn.functional.softmax(wide, -1);
        // A token of padding may see nothing at all.
        Tensor blind = inside.any(-1, true).logical_not();
        Tensor seen = wide.masked_fill(inside.logical_or(blind).logical_not(), double.NegativeInfinity.Hold());
        return torch.nn.functional.softmax(seen, -1).masked_fill(blind, 0.Hold());
    }

    // (1 or B, T, 1, k): whether a tap reads a token.
    private Tensor Inside(ConvolutionSettings settings, long inputs, Device device)
    {
        long T = settings.Outputs!.Value;
        Tensor places = Scalars.Range(-settings.Left, T, device).view(T, 1).Plus(Scalars.Range(0, window.Kernel, device).mul(window.Dilation.Hold()).view(1, -1));  // (T, k)
        Tensor inside = places.ge(0.Hold()).logical_and(places.lt(inputs.Hold())).view(1, T, 1, window.Kernel);
        if (settings.Mask is not { } mask) return inside;
        Tensor read = mask.ne(0.Hold()).index_select(1, places.clamp(0.Hold(), (inputs - 1).Hold()).view(-1));
        return inside.logical_and(read.view(mask.size(0), T, 1, window.Kernel));
    }
}
