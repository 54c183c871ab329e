using System.Runtime.InteropServices;

namespace Permafrost.Kernels.Interop;

// The structs of native/permafrost_kernels.h, field for field.

[StructLayout(LayoutKind.Sequential)]
internal struct NativeDropout(DropoutDraw draw)
{
    public double Probability = draw.Probability;
    public ulong Key = draw.Key;
    public long FirstRow = draw.FirstRow;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NormForwardArguments()
{
    public long Size = sizeof(NormForwardArguments);
    public long Rows, Tokens, Width;
    public nint X, Y;
    public long YType;
    public NativeDropout Dropout;
    public nint Weight, Bias;
    public double Epsilon;
    public nint Sum, Normed;
    public long NormedType;
    public nint Mean, Rstd;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NormBackwardArguments()
{
    public long Size = sizeof(NormBackwardArguments);
    public long Rows, Tokens, Width;
    public long Centred;
    public nint Sum, Mean, Rstd, Weight, DNormed;
    public long DNormedType;
    public nint DSum;
    public NativeDropout Dropout;
    public nint Dx, Dy;
    public long DyType;
    public nint DWeight, DBias;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AttentionArguments()
{
    public long Size = sizeof(AttentionArguments);
    public long Batch, Heads, KeyHeads, Queries, Keys, HeadSize;
    public nint Q, K, V;
    public long QBatch, QToken, KBatch, KToken, VBatch, VToken;
    public nint Out;
    public long Type;
    public double Scale;
    public long Before, After;
    public nint Positions, KeyMask, SeenByAll, Bias;
    public long BiasColumns, BiasZero;
    public NativeDropout Dropout;
    public nint LogSum, DOut, Dq, Dk, Dv, DBias;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ConvolutionArguments()
{
    public long Size = sizeof(ConvolutionArguments);
    public long Batch, Inputs, Outputs, Width, Heads, Taps;
    public long Left, Dilation, Alternating, Each;
    public nint X;
    public long Type;
    public nint Weights, Bias, Mask, Y, DY, DX, DWeights;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ProductArguments()
{
    public long Size = sizeof(ProductArguments);
    public long Rows, Inputs, Outputs, Transposed;
    public nint X, Weight, Bias;
    public long Activation;
    public nint Y;
    public long YType;
    public nint Slope;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct PackArguments()
{
    public long Size = sizeof(PackArguments);
    public long Inputs, Outputs;
    public nint Weight;
    public long Type, InputStride, OutputStride;
    public nint Packed;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MatmulArguments()
{
    public long Size = sizeof(MatmulArguments);
    public long Rows, Inner, Columns;
    public nint A;
    public long ARow, AColumn;
    public nint B;
    public long BRow, BColumn;
    public nint Bias;
    public long Activation;
    public nint Y, Slope;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ElementwiseArguments()
{
    public long Size = sizeof(ElementwiseArguments);
    public long Count;
    public nint X, Other, Y;
    public long XType, YType;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct DropoutArguments()
{
    public long Size = sizeof(DropoutArguments);
    public long Rows, Width;
    public nint X;
    public long Type;
    public NativeDropout Dropout;
    public nint Y;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ColumnSumsArguments()
{
    public long Size = sizeof(ColumnSumsArguments);
    public long Rows, Width;
    public nint X;
    public long Type;
    public nint Sums;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct TransposeArguments()
{
    public long Size = sizeof(TransposeArguments);
    public long Rows, Width;
    public nint From, To;
    public long Stride;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ListArguments()
{
    public long Size = sizeof(ListArguments);
    public long Count;
    public nint Elements, Tensors;
    public double Factor, Result;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AdamArguments()
{
    public long Size = sizeof(AdamArguments);
    public long Count;
    public nint Elements, Parameters, Gradients, First, Second;
    public fixed double Settings[8];
}
