using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>A row's numbers depend neither on the rows beside it, nor on its place, nor on padding behind it, nor on the number of threads.</summary>
[Collection(ProcessWide.Name)]
public class BatchInvarianceTests : IDisposable
{
    private const ulong Key = 0x9d8f3c0152a6b7e4;
    private const long B = 5, T = 37, C = 24;

    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly int threads = Engine.Threads;

    // libtorch's own operators make no such promise.
    public static TheoryData<string> Kernels => [.. KernelSets.WithKernels];

    public static TheoryData<string> Sets => KernelSets.All;

    public void Dispose()
    {
        Engine.Threads = threads;
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Linear_maps(string set)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        Tensor weight = Random(2, C, 100), bias = Random(3, 100);
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            Invariant($"{set} {type}", type, C, (x, _) => x.FusedLinear(weight, bias, 100, FusedActivation.GeluTanh, type));
            Invariant($"{set} {type} outputs first", type, C, (x, _) => x.FusedLinear(weight.transpose(0, 1).contiguous(), bias, 100, FusedActivation.None, type, outputsFirst: true));
            if (!KernelSets.Multiplying.Contains(set)) continue;
            Tensor packed = weight.Pack();
            Invariant($"{set} {type} packed", type, C, (x, _) => x.FusedLinear(packed, bias, 100, FusedActivation.GeluTanh, type));
            Invariant($"{set} {type} part", type, C, (x, _) => x.FusedLinearPart(packed, bias, 100, 30, 60, type));
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Norms(string set)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        Tensor gain = Random(2, C), bias = Random(3, C);
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            Invariant($"{set} {type}", ScalarType.Float32, C, (x, _) => x.FusedNorm(gain, bias, 1e-5, type));
            Invariant($"{set} {type} residual", ScalarType.Float32, 2 * C, (x, row) =>
            {
                (Tensor sum, Tensor normed) = x.narrow(2, 0, C).contiguous().ResidualNorm(x.narrow(2, C, C).to(type), gain, bias, 1e-5, new DropoutDraw(0.3, Key, row), type);
                return torch.cat([sum, normed.to(ScalarType.Float32)], 2);
            });
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Attention(string set)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            foreach (double p in new[] { 0, 0.3 })
            {
                Invariant($"{set} {type} {p}", type, 3 * C, (x, row) => x.SelfAttention(new(2, 0.3, Causal: true, Dropout: new DropoutDraw(p, Key, row))));
                Invariant($"{set} {type} {p} masked", type, 3 * C, (x, row) => x.SelfAttention(new(2, 0.3, Causal: false, KeyMask: Mask(x.size(0), x.size(1)), Dropout: new DropoutDraw(p, Key, row))));
            }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Dropout(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            Invariant($"{set} {type}", type, C, (x, row) => x.FusedDropout(new DropoutDraw(0.3, Key, row)));
            // What is dropped of attention weights does not depend on the number of keys and queries either.
            Tensor Kept(long rows, long tokens, long first) => torch.zeros([rows, tokens, 3 * C], type).SelfAttention(new(2, 1, Causal: true, Dropout: new DropoutDraw(0.3, Key, first)));
            Assert.Equal(torch.zeros([2, 9, C], type).ToBytes(), Kept(2, 9, 0).ToBytes());
        }
        var draw = new DropoutDraw(0.3, Key);
        Tensor whole = draw.AttentionFactors(B, 2, T, T, torch.CPU);
        Assert.True(whole.narrow(0, 3, 1).narrow(2, 0, 9).narrow(3, 0, 7).ValuesEqual((draw with { FirstRow = 3 }).AttentionFactors(1, 2, 9, 7, torch.CPU)));
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Sums_over_rows_do_not_depend_on_threads(string set)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        foreach ((string name, Func<byte[]> gradients) in Sums(B, T, T).Concat(Sums(40, 130, 130)))
        {
            Engine.Threads = 1;
            byte[] expected = gradients();
            foreach (int count in new[] { 2, 3 })
            {
                Engine.Threads = count;
                Assert.True(expected.AsSpan().SequenceEqual(gradients()), $"{set} {name}: {count} threads");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Sums_over_rows_do_not_depend_on_padding_behind(string set)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        foreach ((long rows, long tokens) in new[] { (B, T), (3L, 130L) })
        {
            (string Name, Func<byte[]> Gradients)[] tight = [.. Sums(rows, tokens, tokens)], loose = [.. Sums(rows, tokens, tokens + 29)];
            for (int i = 0; i < tight.Length; i++) Assert.True(tight[i].Gradients().AsSpan().SequenceEqual(loose[i].Gradients()), $"{set} {tight[i].Name}: {rows} x {tokens} padded");
        }
    }

    // Gradients that are sums over rows and tokens; those behind the real ones are zeros.
    private static IEnumerable<(string Name, Func<byte[]> Gradients)> Sums(long rows, long tokens, long padded)
    {
        Tensor Padded(ulong seed, long width) => Pad(Random(seed, rows, tokens, width), padded);
        Tensor x = Padded(1, C), dNormed = Padded(2, C), dWide = Padded(3, 50);
        byte[] Of(Func<Tensor[], Tensor> function, Tensor gradient, params Tensor[] leaves)
        {
            foreach (Tensor leaf in leaves) leaf.requires_grad_(true);
            Segment.Backward((function(leaves).to(ScalarType.Float32) * gradient).sum());
            return [.. leaves.SelectMany(leaf => leaf.grad!.ToBytes())];
        }
        Tensor gain() => Random(4, C);
        yield return ("norm", () => Of(p => x.FusedNorm(p[0], p[1], 1e-5, ScalarType.Float32), dNormed, gain(), Random(5, C)));
        yield return ("residual norm", () => Of(p => x.ResidualNorm(x * 0.5, p[0], p[1], 1e-5, new DropoutDraw(0.3, Key), ScalarType.Float32).Normed, dNormed, gain(), Random(5, C)));
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            yield return ($"linear {type}", () => Of(p => x.FusedLinear(p[0], p[1], 50, FusedActivation.GeluTanh, type), dWide, Random(6, C, 50), Random(7, 50)));
        yield return ("positions", () => Of(p => x.AddPositions(p[0], null), dNormed, Random(8, 200, C)));
        Tensor ids = (torch.arange(rows * padded, ScalarType.Int64).view(rows, padded) * 7).remainder(50);
        Tensor same = torch.cat([ids.narrow(1, 0, 0), (torch.arange(padded, ScalarType.Int64).view(1, padded) * 3 + torch.arange(rows, ScalarType.Int64).view(rows, 1) * 11).remainder(50)], 1);
        yield return ("positions by id", () => Of(p => x.AddPositions(p[0], same), dNormed, Random(8, 50, C)));
        yield return ("lookup", () => Of(p => p[0].Lookup(same), dNormed, Random(9, 50, C)));
    }

    // Alone, among others, elsewhere, with padding behind, with another number of threads: forward, and the gradient of the input.
    private static void Invariant(string name, ScalarType type, long width, Func<Tensor, long, Tensor> function)
    {
        Tensor x = Random(1, B, T, width).to(type);
        byte[][] Rows(Tensor given, long first, long tokens)
        {
            Tensor leaf = given.detach().clone().requires_grad_(true);
            Tensor y = function(leaf, first);
            Tensor gradient = Pad(Random(11, 1, T, y.size(-1)), given.size(1)).expand(y.shape);
            Segment.Backward((y.to(ScalarType.Float32) * gradient).sum());
            return [.. Enumerable.Range(0, (int)given.size(0)).Select(row => (byte[])[.. Part(y.detach(), row, tokens).ToBytes(), .. Part(leaf.grad!, row, tokens).ToBytes()])];
        }
        Engine.Threads = 1;
        byte[][] expected = Rows(x, 0, T);
        void Same(string how, byte[] actual, int row) => Assert.True(expected[row].AsSpan().SequenceEqual(actual), $"{name}: row {row} {how}");
        foreach (int count in new[] { 1, 2, 3 })
        {
            Engine.Threads = count;
            byte[][] again = Rows(x, 0, T), padded = Rows(Pad(x, T + 29), 0, T), micro = [.. Rows(x.narrow(0, 0, 2), 0, T), .. Rows(x.narrow(0, 2, 3), 2, T)];
            // Behind two other rows, where the draw says that it is still the same row of the run.
            byte[][] shifted = [.. Rows(torch.cat([x.narrow(0, 3, 2), x], 0), -2, T).Skip(2)];
            for (int row = 0; row < B; row++)
            {
                Same($"with {count} threads", again[row], row);
                Same($"padded, {count} threads", padded[row], row);
                Same($"in a smaller batch, {count} threads", micro[row], row);
                Same($"behind others, {count} threads", shifted[row], row);
                Same($"alone, {count} threads", Rows(x.narrow(0, row, 1), row, T)[0], row);
            }
        }
    }

    private static Tensor Part(Tensor tensor, long row, long tokens) => tensor.narrow(0, row, 1).narrow(1, 0, tokens);

    private static Tensor Pad(Tensor x, long tokens) => tokens == x.size(1) ? x : torch.cat([x, torch.zeros([x.size(0), tokens - x.size(1), x.size(2)], x.dtype)], 1);

    // A third is hidden, and what lies behind the first T tokens.
    private static Tensor Mask(long rows, long tokens) => torch.arange(tokens, ScalarType.Int64).remainder(3).ne(0).logical_and(torch.arange(tokens, ScalarType.Int64).lt(T)).view(1, tokens).expand(rows, tokens).to(ScalarType.Int64);

    private static Tensor Random(ulong seed, params long[] shape) => KernelSets.Normal(seed, ScalarType.Float32, 0, 1, shape);
}
