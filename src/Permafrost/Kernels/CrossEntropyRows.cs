using System.Runtime.Intrinsics;

namespace Permafrost.Kernels;

/// <summary>Softmax, cross entropy and its gradient, row by row, with the vectors of .NET: exact in float32, on all cores.</summary>
internal static unsafe class CrossEntropyRows
{
    /// <summary>losses[i] = log(sum(exp(row i))) - row i[answer]; slope = (softmax - one-hot) * factor, rounded to bfloat16.</summary>
    /// <param name="logits">(N, V) float32, which is used up.</param>
    /// <param name="slope">(N, V) bfloat16; 0 where it is not wanted.</param>
    /// <param name="answers">N ids; a negative one gives 0 and zeros.</param>
    /// <param name="width">V.</param>
    /// <param name="factor">Multiplies the gradient.</param>
    /// <param name="losses">N numbers.</param>
    public static void Run(nint logits, nint slope, long[] answers, int width, float factor, double[] losses) =>
        Parallel.For(0, answers.Length, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, torch.get_num_threads()) }, row =>
        {
            var x = new Span<float>((float*)logits + (long)row * width, width);
            ushort* y = slope == 0 ? null : (ushort*)slope + (long)row * width;
            if (answers[row] < 0)
            {
                if (y is not null) new Span<ushort>(y, width).Clear();
                return;
            }
            int answer = (int)answers[row];
            float wanted = x[answer], most = Max(x), sum = Exponentials(x, most);
            losses[row] = most - wanted + Math.Log(sum);
            if (y is null) return;
            float scale = factor / sum;
            float one = x[answer] * scale - factor;
            Round(x, scale, y);
            y[answer] = Rounded(one);
        });

    private static float Max(ReadOnlySpan<float> x)
    {
        int i = 0;
        Vector512<float> most = Vector512.Create(float.NegativeInfinity);
        for (; i + 16 <= x.Length; i += 16) most = Vector512.Max(most, Vector512.Create(x[i..]));
        float result = float.NegativeInfinity;
        for (int lane = 0; lane < 16; lane++) result = Math.Max(result, most[lane]);
        for (; i < x.Length; i++) result = Math.Max(result, x[i]);
        return result;
    }

    // exp(x - most) in place; their sum.
    private static float Exponentials(Span<float> x, float most)
    {
        int i = 0;
        Vector512<float> sums = Vector512<float>.Zero, shift = Vector512.Create(most);
        for (; i + 16 <= x.Length; i += 16)
        {
            Vector512<float> e = Vector512.Exp(Vector512.Create<float>(x[i..]) - shift);
            e.CopyTo(x[i..]);
            sums += e;
        }
        float sum = 0;
        for (int lane = 0; lane < 16; lane++) sum += sums[lane];
        for (; i < x.Length; i++) sum += x[i] = MathF.Exp(x[i] - most);
        return sum;
    }

    private static void Round(ReadOnlySpan<float> x, float scale, ushort* y)
    {
        int i = 0;
        Vector512<float> factor = Vector512.Create(scale);
        for (; i + 32 <= x.Length; i += 32)
        {
            Vector512<uint> low = Rounded(Vector512.Create(x[i..]) * factor), high = Rounded(Vector512.Create(x[(i + 16)..]) * factor);
            Vector512.Narrow(low, high).Store(y + i);
        }
        for (; i < x.Length; i++) y[i] = Rounded(x[i] * scale);
    }

    // To the nearest, ties to even; the numbers are finite.
    private static Vector512<uint> Rounded(Vector512<float> x)
    {
        Vector512<uint> bits = x.AsUInt32();
        return (bits + Vector512.Create(0x7fffu) + ((bits >> 16) & Vector512<uint>.One)) >> 16;
    }

    private static ushort Rounded(float x)
    {
        uint bits = BitConverter.SingleToUInt32Bits(x);
        return (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
}
