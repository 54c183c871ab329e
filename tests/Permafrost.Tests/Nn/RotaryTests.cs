using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Tests.Nn;

/// <summary>Rotary positions: angles, what they turn, and gradients.</summary>
public class RotaryTests
{
    [Fact]
    public void Frequencies_fall_from_one_and_scalings_are_those_of_the_papers()
    {
        float[] plain = Rotary.Frequencies(8, 10000);
        Assert.Equal([1f, 0.1f, 0.01f, 0.001f], plain, (expected, actual) => Math.Abs(actual / expected - 1) < 1e-6);
        Assert.Equal(plain.Select(frequency => frequency / 4), Rotary.Slower(plain, 4));
        // Over 64 tokens these turn 10.2, 1.02, 0.1 and 0.01 times: fast, between, slow, slow.
        float[] scaled = Rotary.Llama3(plain, factor: 4, low: 1, high: 4, originalLength: 64);
        double turns = 64 * plain[1] / (2 * Math.PI), smooth = (turns - 1) / 3;
        Assert.Equal(plain[0], scaled[0]);
        Assert.Equal((1 - smooth) * plain[1] / 4 + smooth * plain[1], scaled[1], 1e-6);
        Assert.Equal([plain[2] / 4, plain[3] / 4], scaled[2..]);
    }

    [Fact]
    public void Halves_of_a_head_are_turned_together()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using var rotary = new Rotary([1f, 0.25f], 16);
        // One row, two tokens at positions 0 and 3, two heads of four numbers.
        Tensor x = Tensors.From([1f, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8], 1, 2, 8);
        float[] turned = Rotary.Turn(x, rotary.At(Tensors.From([0L, 3], 1, 2))).ToArray<float>();
        Assert.Equal(x.ToArray<float>()[..8], turned[..8]);
        (double c, double s, double c2, double s2) = (Math.Cos(3), Math.Sin(3), Math.Cos(0.75), Math.Sin(0.75));
        double[] expected = [c - 3 * s, 2 * c2 - 4 * s2, 3 * c + s, 4 * c2 + 2 * s2, 5 * c - 7 * s, 6 * c2 - 8 * s2, 7 * c + 5 * s, 8 * c2 + 6 * s2];
        Assert.Equal(expected, turned[8..].Select(number => (double)number), (one, other) => Math.Abs(one - other) < 1e-5);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void The_gradient_is_that_of_the_formula(ScalarType type)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using var random = new Generator(1);
        using var rotary = new Rotary(Rotary.Frequencies(6, 100), 16);
        Tensor x = torch.empty([2, 5, 18]).normal_(0, 1, random).to(type), weight = torch.empty([2, 5, 18]).normal_(0, 1, random);
        RotaryAngles angles = rotary.At(3, 5, torch.CPU);
        Tensor one = x.clone().requires_grad_(true), other = x.clone().requires_grad_(true);
        Tensor turned = Segment.Run(given => Rotary.Turn(given, angles), one);
        Assert.Equal(type, turned.dtype);
        Tensor[] halves = other.to(ScalarType.Float32).view(2, 5, 3, 2, 3).unbind(3);
        (Tensor cos, Tensor sin) = (angles.Cos.unsqueeze(2), angles.Sin.unsqueeze(2));
        Tensor formula = torch.stack([halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin], 3).view(2, 5, 18).to(type);
        Assert.True(turned.ValuesEqual(formula));
        (turned * weight).sum().backward();
        (formula * weight).sum().backward();
        Golden.Close("gradient", one.grad!.to(ScalarType.Float32), other.grad!.to(ScalarType.Float32), type == ScalarType.Float32 ? 1e-6 : 0.02);
    }

    [Fact]
    public void Angles_stay_the_same_as_more_are_needed_and_end_with_the_model()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using var rotary = new Rotary(Rotary.Frequencies(6, 100), 1000);
        RotaryAngles few = rotary.At(0, 10, torch.CPU), many = rotary.At(0, 1000, torch.CPU), last = rotary.At(Tensors.From([999L, 5], 2, 1));
        Assert.Equal([1, 1000, 3], many.Cos.shape);
        Assert.True(many.Cos.narrow(1, 0, 10).ValuesEqual(few.Cos) && many.Sin.narrow(1, 0, 10).ValuesEqual(few.Sin));
        Assert.True(last.Sin[0].ValuesEqual(many.Sin[0].narrow(0, 999, 1)) && last.Sin[1].ValuesEqual(many.Sin[0].narrow(0, 5, 1)));
        foreach (long wrong in new[] { -1L, 1000 }) Refusal.Of("0 to 999", () => rotary.At(Tensors.From([wrong], 1, 1)));
        Assert.Throws<ArgumentException>(() => Rotary.Turn(torch.zeros(1, 9, 6), few));
    }
}
