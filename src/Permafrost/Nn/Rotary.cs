using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>Cosines and sines of the angles by which tokens are turned, float32.</summary>
/// <param name="Cos">(1, T, D/2), or (B, T, D/2) where every row has positions of its own.</param>
/// <param name="Sin">The same of the sines.</param>
public sealed record RotaryAngles(Tensor Cos, Tensor Sin);

/// <summary>
/// Rotary positions (Su et al. 2021) in the layout of Hugging Face's decoders: number i of a head's first half and number i of its second half are turned together, by the token's
/// position times a frequency. The angles are computed once for each device, in float32 as there, and kept until the model is freed.
/// </summary>
public sealed class Rotary : Module
{
    private readonly float[] frequencies;
    private readonly long longest;
    private readonly Lock gate = new();
    private readonly Dictionary<string, RotaryAngles> tables = [];
    private readonly List<Tensor> owned = [];

    /// <summary>Rotary positions of heads of twice as many numbers as there are frequencies.</summary>
    /// <param name="frequencies">Radians a position, as <see cref="Frequencies"/> and its companions give.</param>
    /// <param name="longest">The number of positions.</param>
    public Rotary(IReadOnlyList<float> frequencies, long longest) => (this.frequencies, this.longest) = ([.. frequencies], longest);

    /// <summary>theta^(-2i / D) for i = 0 .. D/2 - 1: the plain frequencies.</summary>
    /// <param name="headSize">D, an even number.</param>
    /// <param name="theta">The base, usually 10000.</param>
    public static float[] Frequencies(int headSize, double theta)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        float[] exponents = [.. Enumerable.Range(0, headSize / 2).Select(i => 2f * i / headSize)];
        // libtorch's own power, so that no bit differs from PyTorch's: far positions multiply it.
        Tensor wavelengths = torch.full([headSize / 2], theta.Hold(), ScalarType.Float32).pow(Tensors.From(exponents));
        return [.. wavelengths.ToArray<float>().Select(wavelength => 1 / wavelength)];
    }

    /// <summary>Frequencies divided by a factor: positions lie closer by as much (Chen et al. 2023).</summary>
    public static float[] Slower(IReadOnlyList<float> frequencies, double factor) => [.. frequencies.Select(frequency => frequency / (float)factor)];

    /// <summary>
    /// Llama 3.1's scaling: slow frequencies are divided by a factor, fast ones stay, those between are blended (transformers modeling_rope_utils.py, <c>llama3</c>).
    /// </summary>
    /// <param name="frequencies">The plain ones.</param>
    /// <param name="factor">The factor of slow ones.</param>
    /// <param name="low">A frequency that turns fewer times than this over the original length is slow.</param>
    /// <param name="high">One that turns more often than this is fast; above <paramref name="low"/>.</param>
    /// <param name="originalLength">The length that was trained on first, in tokens.</param>
    public static float[] Llama3(IReadOnlyList<float> frequencies, double factor, double low, double high, long originalLength)
    {
        (float longWave, float shortWave) = ((float)(originalLength / low), (float)(originalLength / high));
        return [.. frequencies.Select(Scaled)];

        // In float32 and in the order of the reference.
        float Scaled(float frequency)
        {
            float wave = (float)(2 * Math.PI) / frequency;
            if (wave > longWave) return frequency / (float)factor;
            if (wave < shortWave) return frequency;
            float smooth = (originalLength / wave - (float)low) / (float)(high - low);
            return (1 - smooth) * frequency / (float)factor + smooth * frequency;
        }
    }

    /// <summary>The angles of positions that follow each other, the same in every row.</summary>
    /// <param name="first">The first token's position.</param>
    /// <param name="tokens">T.</param>
    /// <param name="device">Where they are needed.</param>
    public RotaryAngles At(long first, long tokens, Device device)
    {
        RotaryAngles table = Table(first + tokens, device);
        return new RotaryAngles(table.Cos.narrow(0, first, tokens).unsqueeze(0), table.Sin.narrow(0, first, tokens).unsqueeze(0));
    }

    /// <summary>The angles of given positions.</summary>
    /// <param name="positions">(B, T) or (1, T) int64.</param>
    /// <exception cref="PermafrostException">One is not among the model's positions.</exception>
    public RotaryAngles At(Tensor positions)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        (long low, long high) = positions.NumberOfElements == 0 ? (0, 0) : (positions.min().Integer(), positions.max().Integer());
        if (low < 0 || high >= longest) throw new PermafrostException($"positions from {low} to {high} are not all among the model's, which are 0 to {longest - 1}");
        RotaryAngles table = Table(high + 1, positions.device);
        Tensor Picked(Tensor rows) => scope.MoveToOuter(rows.index_select(0, positions.reshape(-1)).view([.. positions.shape, frequencies.Length]));
        return new RotaryAngles(Picked(table.Cos), Picked(table.Sin));
    }

    /// <summary>Queries or keys, turned by their positions; the gradient is turned back.</summary>
    /// <param name="x">(B, T, heads * D), float32 or bfloat16; so is the result.</param>
    /// <param name="angles">The tokens' angles.</param>
    /// <exception cref="ArgumentException">The shapes do not belong together.</exception>
    public static Tensor Turn(Tensor x, RotaryAngles angles)
    {
        (Tensor cos, Tensor sin) = angles;
        if (x.Dimensions != 3 || cos.Dimensions != 3 || x.size(1) != cos.size(1) || (cos.size(0) != 1 && cos.size(0) != x.size(0)) || x.size(2) % (2 * cos.size(2)) != 0)
            throw new ArgumentException($"{x.Describe()} cannot be turned by angles {cos.Describe()}");
        if (!KernelSet.Takes(x)) return Segment.Compose(inputs => Composed(inputs[0], cos, sin), x);
        bool grad = torch.is_grad_enabled() && x.requires_grad;
        if (grad && Tape.Current is null) return Segment.Run(given => Turn(given, angles), x);
        Tensor result = Turned(x, cos, sin, back: false);
        if (!grad || Tape.Current is not { } tape || !tape.Wants(x)) return result;
        tape.Result(result);
        (cos, sin) = (tape.Hold(cos), tape.Hold(sin));
        tape.Add(() =>
        {
            if (tape.Take(result) is { } given) tape.Give(x, Turned(given, cos, sin, back: true));
        });
        return result;
    }

    /// <summary>Frees the angles.</summary>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            lock (gate)
            {
                foreach (Tensor tensor in owned) tensor.Dispose();
                owned.Clear();
                tables.Clear();
            }
        }
        base.Dispose(disposing);
    }

    // Each number is a sum of two products, rounded one by one as in the composition, so that none depends on where it stands in a vector.
    private static Tensor Turned(Tensor x, Tensor cos, Tensor sin, bool back)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        Tensor halves = Halves(Elementwise.As(x, ScalarType.Float32), cos);
        Tensor turned = halves * Spread(cos), crossed = halves * Spread(sin);
        (Tensor first, Tensor second) = (turned.select(3, 0), turned.select(3, 1));
        (Tensor minus, Tensor plus) = back ? (second, first) : (first, second);
        minus.sub_(crossed.select(3, back ? 0 : 1));
        plus.Increase(crossed.select(3, back ? 1 : 0));
        return scope.MoveToOuter(Elementwise.As(turned.reshape(x.shape), x.dtype));
    }

    private static Tensor Composed(Tensor x, Tensor cos, Tensor sin)
    {
        Tensor[] halves = Halves(x.to(ScalarType.Float32), cos).unbind(3);
        (Tensor c, Tensor s) = (Spread(cos).squeeze(3), Spread(sin).squeeze(3));
        return torch.stack([halves[0] * c - halves[1] * s, (halves[1] * c).Plus(halves[0] * s)], 3).reshape(x.shape).to(x.dtype);
    }

    private static Tensor Halves(Tensor x, Tensor cos) => x.reshape(x.size(0), x.size(1), x.size(2) / (2 * cos.size(2)), 2, cos.size(2));  // (B, T, heads, 2, D/2)

    private static Tensor Spread(Tensor angles) => angles.view(angles.size(0), angles.size(1), 1, 1, angles.size(2));

    // (N, D/2) each, of at least so many positions. Tables grow in powers of two; those that were outgrown may still be read by others, and are freed with the last.
    private RotaryAngles Table(long positions, Device device)
    {
        lock (gate)
        {
            string name = device.Name();
            if (tables.TryGetValue(name, out RotaryAngles? known) && known.Cos.size(0) >= positions) return known;
            long rows = 256;
            while (rows < positions) rows *= 2;
            using DisposeScope scope = torch.NewDisposeScope();
            Tensor angles = Scalars.Range(0, Math.Min(rows, Math.Max(longest, positions)), torch.CPU).to(ScalarType.Float32).unsqueeze(1) * Tensors.From(frequencies);
            Tensor Kept(Tensor tensor) => tensor.to(device).DetachFromDisposeScope();
            var table = new RotaryAngles(Kept(angles.cos()), Kept(angles.sin()));
            owned.AddRange([table.Cos, table.Sin]);
            return tables[name] = table;
        }
    }
}
