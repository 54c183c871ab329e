using System.Globalization;

namespace Permafrost.Torch;

/// <summary>Kinds of devices; the values are those of c10::DeviceType.</summary>
public enum DeviceType
{
    /// <summary>The processor.</summary>
    Cpu = 0,
    /// <summary>An NVIDIA GPU.</summary>
    Cuda = 1,
}

/// <summary>Where a tensor lives: <c>cpu</c>, <c>cuda</c> or <c>cuda:1</c>.</summary>
/// <param name="Type">The kind of device.</param>
/// <param name="Index">Which one; -1 means the current one.</param>
public readonly record struct Device(DeviceType Type, int Index = -1)
{
    /// <summary>The processor.</summary>
    public static Device Cpu => new(DeviceType.Cpu);

    /// <summary>Reads <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>; <c>auto</c> is CUDA where there is one.</summary>
    /// <exception cref="FormatException">The text is none of them, or names a device that is not there.</exception>
    public static Device Parse(string text)
    {
        if (text == "auto") return Engine.CudaDevices > 0 ? new Device(DeviceType.Cuda, 0) : Cpu;
        if (text == "cpu") return Cpu;
        int index = 0;
        if (text != "cuda" && !(text.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(text.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out index)))
            throw new FormatException($"'{text}' is no device: use auto, cpu, cuda or cuda:N");
        if (Engine.CudaDevices == 0) throw new FormatException($"'{text}' asks for CUDA, but this libtorch has none or finds no GPU (see `permafrost env`): use cpu");
        if (index >= Engine.CudaDevices) throw new FormatException($"'{text}' does not exist: this machine has cuda:0 to cuda:{Engine.CudaDevices - 1}");
        return new Device(DeviceType.Cuda, index);
    }

    /// <inheritdoc/>
    public override string ToString() => Type == DeviceType.Cpu ? "cpu" : Index < 0 ? "cuda" : $"cuda:{Index}";
}
