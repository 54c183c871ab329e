using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>Names of devices.</summary>
public class DeviceTests
{
    [Fact]
    public void Reads_and_prints_the_names_of_devices()
    {
        Assert.Equal(torch.CPU, Devices.Parse("cpu"));
        Assert.Equal("cpu", torch.CPU.Name());
        Assert.Equal("cuda", new Device(DeviceType.CUDA).Name());
        Assert.Equal("cuda:1", new Device(DeviceType.CUDA, 1).Name());
        Assert.Equal("cuda", new Device(DeviceType.CUDA, -1).Name());
    }

    [Fact]
    public void Auto_is_CUDA_exactly_where_there_is_one() =>
        Assert.Equal(Engine.CudaDevices > 0 ? DeviceType.CUDA : DeviceType.CPU, Devices.Parse("auto").type);

    [Theory]
    [InlineData("")]
    [InlineData("gpu")]
    [InlineData("CPU")]
    [InlineData(" cpu")]
    [InlineData("cpu:0")]
    [InlineData("cuda:")]
    [InlineData("cuda:x")]
    [InlineData("cuda:-1")]
    [InlineData("cuda:+1")]
    [InlineData("cuda: 1")]
    [InlineData("cuda:1:2")]
    [InlineData("cuda:99999999999")]
    [InlineData("mps")]
    public void Anything_else_is_no_device(string text)
    {
        var error = Assert.Throws<FormatException>(() => Devices.Parse(text));
        Assert.Contains($"'{text}' is not a device: use auto, cpu, cuda or cuda:N", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_GPU_that_is_not_there_is_refused_with_what_is()
    {
        string text = $"cuda:{Engine.CudaDevices}";
        var error = Assert.Throws<FormatException>(() => Devices.Parse(text));
        Assert.Contains(text, error.Message, StringComparison.Ordinal);
        Assert.Contains(Engine.CudaDevices == 0 ? "use cpu" : "this machine has cuda:0", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_default_device_is_the_processor()
    {
        using Tensor tensor = torch.zeros([1]);
        Assert.Equal("cpu", tensor.device.Name());
        using Tensor told = torch.zeros([1], ScalarType.Float32, torch.CPU);
        Assert.Equal("cpu", told.device.Name());
    }
}
