using System.Globalization;

namespace Permafrost.Kernels;

/// <summary>Devices by the names that PyTorch gives them.</summary>
public static class Devices
{
    /// <summary>Reads <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>; <c>auto</c> is CUDA where there is one.</summary>
    /// <exception cref="FormatException">The text is none of them, or names a device that is not there.</exception>
    public static Device Parse(string text)
    {
        if (text == "auto") return Engine.CudaDevices > 0 ? new Device(DeviceType.CUDA, 0) : torch.CPU;
        if (text == "cpu") return torch.CPU;
        int index = 0;
        if (text != "cuda" && !(text.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(text.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out index)))
            throw new FormatException($"'{text}' is not a device: use auto, cpu, cuda or cuda:N");
        if (Engine.CudaDevices == 0)
            throw new FormatException(
                $"'{text}' asks for CUDA, but {(Engine.HasCudaLibrary ? "libtorch finds no GPU here" : "this program was built with the CPU build of libtorch")} " +
                "(see `permafrost env`): use cpu");
        if (index >= Engine.CudaDevices) throw new FormatException($"'{text}' does not exist: this machine has cuda:0 to cuda:{Engine.CudaDevices - 1}");
        return new Device(DeviceType.CUDA, index);
    }

    /// <summary>Whether a tensor lies in the CPU's memory.</summary>
    public static bool IsOnCpu(this Tensor tensor) => tensor.device_type == DeviceType.CPU;

    /// <summary>Whether a device is the CPU.</summary>
    public static bool IsCpu(this Device device) => device.type == DeviceType.CPU;

    /// <summary><c>cpu</c>, <c>cuda</c> or <c>cuda:1</c>.</summary>
    public static string Name(this Device device)
    {
        if (device.IsCpu()) return "cpu";
        return device.index < 0 ? "cuda" : FormattableString.Invariant($"cuda:{device.index}");
    }
}
