using System.Runtime.InteropServices;

namespace Permafrost.Torch.Interop;

/// <summary>pf_kind of native/permafrost_torch.h.</summary>
internal enum NativeKind
{
    None = 0,
    Tensor = 1,
    Int = 2,
    Double = 3,
    Bool = 4,
    String = 5,
    IntList = 6,
    DoubleList = 7,
    BoolList = 8,
    TensorList = 9,
    Generator = 10,
    Device = 11,
    Default = 12,
}

/// <summary>pf_value of native/permafrost_torch.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct NativeValue
{
    [FieldOffset(0)] public NativeKind Kind;
    [FieldOffset(4)] public int Length;
    [FieldOffset(8)] public long Int;
    [FieldOffset(8)] public double Double;
    [FieldOffset(8)] public nint Pointer;
}

/// <summary>pf_tensor_info of native/permafrost_torch.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeTensorInfo
{
    public long Elements;
    public nint Data;
    public int Dimensions;
    public int DType;
    public int DeviceType;
    public int DeviceIndex;
    public int ElementSize;
    public int Contiguous;
    public int RequiresGrad;
    public int IsLeaf;
}
