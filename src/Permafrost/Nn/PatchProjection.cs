using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>
/// Cuts pictures into patches, row by row, and maps each linearly: a torch.nn.Conv2d whose stride is its kernel, as a product (Dosovitskiy et al. 2020, equation 1). Shape:
/// (B, channels, height, width) to (B, patches, outputs). Pixels at the right and lower edge that do not fill a patch are left out.
/// </summary>
public sealed class PatchProjection : Module
{
    /// <summary>A map of patches of <paramref name="height"/> by <paramref name="width"/> pixels; its bias starts at zero.</summary>
    public PatchProjection(long channels, long height, long width, long outputs, Initializer weightInitializer)
    {
        Weight = Declare("weight", [outputs, channels, height, width], weightInitializer, MatrixLayout.OutputsFirst);
        Bias = Declare("bias", [outputs], Initializers.Zeros);
    }

    /// <summary>The weight, (outputs, channels, height, width).</summary>
    public Parameter Weight { get; }

    /// <summary>The bias, (outputs).</summary>
    public Parameter Bias { get; }

    /// <summary>One vector for each patch.</summary>
    public Tensor Forward(Tensor pixels) => LinearMap.Apply(Segment.Compose(inputs => Cut(inputs[0]), pixels), Weight, Bias, Bias.Shape[0], null, ActivationType);

    // (B, patches, channels * height * width): within a patch the channels, within those the pixels row by row, as the weight has them.
    private Tensor Cut(Tensor pixels)
    {
        (long B, long channels, long height, long width) = (pixels.size(0), pixels.size(1), Weight.Shape[2], Weight.Shape[3]);
        (long rows, long columns) = (pixels.size(2) / height, pixels.size(3) / width);
        return pixels.narrow(2, 0, rows * height).narrow(3, 0, columns * width)
            .reshape(B, channels, rows, height, columns, width)
            .permute(0, 2, 4, 1, 3, 5)
            .reshape(B, rows * columns, channels * height * width);
    }
}
