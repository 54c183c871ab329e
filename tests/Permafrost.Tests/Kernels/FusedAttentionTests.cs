namespace Permafrost.Tests.Kernels;

/// <summary>permafrost::self_attention and ::attention.</summary>
[Collection(ProcessWide.Name)]
public class FusedAttentionTests : IDisposable
{
    // Batch, tokens, heads, head size: blocks of 64, vectors of 16 and pairs are all left incomplete somewhere.
    private static readonly (long B, long T, long H, long D)[] Sizes = [(1, 1, 1, 13), (2, 7, 2, 40), (1, 65, 3, 13), (2, 130, 1, 40), (1, 64, 2, 16), (3, 17, 2, 1)];

    // The same with keys of their own.
    private static readonly (long B, long T, long S, long H, long D)[] CrossSizes = [(1, 1, 7, 1, 13), (2, 7, 65, 2, 40), (1, 65, 130, 1, 13), (2, 3, 1, 2, 8), (1, 130, 7, 1, 64), (2, 1, 130, 3, 16)];

    private static readonly string[] Masks = ["none", "right", "left", "blind"];

    private readonly DisposeScope scope = new();

    public static TheoryData<string> Sets => KernelSets.All;

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Self_attention_and_its_gradients_are_libtorchs(string set)
    {
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            foreach ((long B, long T, long H, long D) in Sizes)
                foreach (bool causal in new[] { true, false })
                    foreach (string kind in Masks)
                    {
                        Tensor? mask = Mask(kind, B, T);
                        Tensor[] Map(Tensor[] inputs, ScalarType? wide) => [inputs[0].SelfAttention(H, 1 / Math.Sqrt(D), causal, mask, 0)];
                        KernelSets.Check(set, $"{type} {B} x {T} x {H} x {D}, {(causal ? "causal" : "all")}, mask {kind}", Map, coarse: type == ScalarType.BFloat16, KernelSets.Normal(1, type, 0, 1, B, T, 3 * H * D));
                    }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Cross_attention_and_its_gradients_are_libtorchs(string set)
    {
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            foreach ((long B, long T, long S, long H, long D) in CrossSizes)
                foreach (string limit in new[] { "all", "causal", "positions" })
                    foreach (string kind in Masks)
                    {
                        Tensor? mask = Mask(kind, B, S), positions = limit == "positions" ? Positions(B, T, S) : null;
                        Tensor[] Map(Tensor[] inputs, ScalarType? wide) => [inputs[0].CrossAttention(inputs[1], inputs[2], H, 1 / Math.Sqrt(D), limit != "all", positions, mask, 0)];
                        KernelSets.Check(set, $"{type} {B} x {T} x {S} x {H} x {D}, {limit}, mask {kind}", Map, coarse: type == ScalarType.BFloat16,
                            KernelSets.Normal(1, type, 0, 1, B, T, H * D), KernelSets.Normal(2, type, 0, 1, B, S, H * D), KernelSets.Normal(3, type, 0, 1, B, S, H * D));
                    }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_query_that_sees_a_single_key_gives_its_score_no_gradient_at_all(string set)
    {
        // Adam makes a step of a rounding error of 1e-8, so it has to be exactly 0.
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            foreach (double dropout in new[] { 0, 0.5 })
                foreach ((long T, long D, long first) in new[] { (1L, 16L, 0L), (1, 40, 0), (70, 16, 0), (70, 40, 66), (5, 13, 3) })
                {
                    // Keys before `first` are hidden, so the causal query there sees only itself; the others' outputs are not read.
                    Tensor? mask = first == 0 ? null : (Tensor.Arange(T) - first).Maximum(torch.full([T], -1, ScalarType.Int64)).Ne(-1).To(ScalarType.Int64).View(1, T);
                    Tensor[] Map(Tensor[] inputs) => [inputs[0].SelfAttention(3, 1, causal: true, mask, dropout).Narrow(1, first, 1)];
                    (_, Tensor?[] gradients) = KernelSets.Compute(set, Map, KernelSets.Normal(1, type, 0, 1, 1, T, 9 * D));
                    Assert.Equal(0, gradients[0]!.narrow(2, 0, 6 * D).abs().Max().Number());
                    if (dropout == 0) Assert.NotEqual(0, gradients[0]!.narrow(2, 6 * D, 3 * D).abs().Max().Number());
                }
    }

    [Fact]
    public void The_kernels_that_libtorch_has_for_gpus_give_the_same()
    {
        var library = new Operator("permafrost::library_attention");
        if (Version.Parse(Engine.Version.Split('+')[0]) < new Version(2, 0))
        {
            Assert.Throws<EngineException>(() => library.Call(torch.ones([1, 1, 1]), torch.ones([1, 1, 1]), torch.ones([1, 1, 1]), 1L, 1.0, false));
            return;
        }
        foreach ((long B, long T, long S, long H, long D) in CrossSizes.Append((2, 9, 9, 2, 8)))
            foreach (string limit in new[] { "all", "causal", "positions" })
                foreach (string kind in Masks)
                {
                    Tensor? mask = Mask(kind, B, S), positions = limit == "positions" ? Positions(B, T, S) : null;
                    Tensor[] Map(Tensor[] inputs, ScalarType? wide) => wide is null
                        ? [library.Call(inputs[0], inputs[1], inputs[2], H, 0.4, limit != "all", positions, mask, 0.0)]
                        : [inputs[0].CrossAttention(inputs[1], inputs[2], H, 0.4, limit != "all", positions, mask, 0)];
                    KernelSets.Check("composed", $"{B} x {T} x {S} x {H} x {D}, {limit}, mask {kind}", Map, coarse: false,
                        KernelSets.Normal(1, ScalarType.Float32, 0, 1, B, T, H * D), KernelSets.Normal(2, ScalarType.Float32, 0, 1, B, S, H * D), KernelSets.Normal(3, ScalarType.Float32, 0, 1, B, S, H * D));
                }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_query_that_sees_no_key_gives_zeros_and_gets_no_gradient(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            Tensor x = KernelSets.Normal(1, type, 0, 1, 2, 70, 3 * 26);
            x.requires_grad = true;
            Tensor y = x.SelfAttention(2, 0.3, causal: true, Mask("left", 2, 70), 0);
            y.backward(torch.ones([2, 70, 26], type));
            // The mask hides 1 + 70 / 3 keys of the first sequence and 2 + 70 / 3 of the second.
            for (int b = 0; b < 2; b++)
            {
                long hidden = 24 + b;
                Assert.Equal(0, y.detach().Select(0, b).Narrow(0, 0, hidden).To(ScalarType.Float32).Abs().Max().Number());
                Assert.Equal(0, x.grad!.Select(0, b).Narrow(0, 0, hidden).To(ScalarType.Float32).Abs().Max().Number());
                Assert.True(y.detach().Select(0, b).Narrow(0, hidden, 1).To(ScalarType.Float32).Abs().Max().Number() > 0);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Nothing_is_attended_to_without_tokens(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach (long[] shape in new long[][] { [0, 5, 12], [3, 0, 12] })
        {
            Tensor q = torch.zeros(shape);
            q.requires_grad = true;
            Tensor keys = torch.ones([shape[0], 5, 12]);
            keys.requires_grad = true;
            Tensor y = q.CrossAttention(keys, keys, 2, 1, causal: false, null, null, 0);
            Assert.Equal(shape, y.shape);
            y.Sum().Backward();
            Assert.Equal(shape, q.grad!.shape);
            Assert.Equal(0, keys.grad!.Sum().Number());
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Large_scores_do_not_overflow(string set)
    {
        // Scores of some 1e4, whose rounding is 1e-3: probabilities within a few 1e-3.
        Tensor[] inputs = [KernelSets.Normal(1, ScalarType.Float32, 0, 50, 2, 70, 40), KernelSets.Normal(2, ScalarType.Float32, 0, 50, 2, 70, 40), KernelSets.Normal(3, ScalarType.Float32, 0, 1, 2, 70, 40)];
        Tensor[] Map(Tensor[] given) => [given[0].CrossAttention(given[1], given[2], 2, 1, causal: true, null, null, 0)];
        Tensor[] expected = KernelSets.Compute(null, Map, inputs).Results;
        (Tensor[] actual, Tensor?[] gradients) = KernelSets.Compute(set, Map, inputs);
        Assert.True((actual[0].to(ScalarType.Float64) - expected[0]).abs().Max().Number() < 0.01);
        Assert.All(gradients, gradient => Assert.True(gradient!.AllFinite()));
        Assert.True(KernelSets.Compute(set, given => [(given[0] * 1e3).to(ScalarType.BFloat16).CrossAttention((given[1] * 1e3).to(ScalarType.BFloat16), given[2].to(ScalarType.BFloat16), 2, 1, causal: true, null, null, 0)], inputs).Results[0].AllFinite());
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Small_probabilities_are_exact(string set)
    {
        // Two keys with scores 0 and x, values 0 and 1: e^x / (1 + e^x), relative to itself. Below -87.3 a probability may be 0.
        using IDisposable _ = KernelSets.Use(set);
        const int Count = 8700;
        float[] scores = [.. Enumerable.Range(0, Count).Select(i => -i / 100f)];
        Tensor q = torch.ones([Count, 1, 1]), v = Tensors.From([0f, 1], 1, 2, 1).Expand(Count, 2, 1);
        float[] y = q.CrossAttention(torch.stack([torch.zeros([Count]), Tensors.From(scores)], 1).View(Count, 2, 1), v, 1, 1, causal: false, null, null, 0).ToArray<float>();
        double worst = 0;
        for (int i = 0; i < Count; i++)
        {
            double expected = Math.Exp(scores[i]) / (1 + Math.Exp(scores[i]));
            worst = Math.Max(worst, Math.Abs(y[i] - expected) / expected);
        }
        Assert.True(worst < 5e-7, $"relative error {worst:G3}");
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void What_is_no_number_stays_none_and_reaches_those_that_see_it(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor[] inputs = [KernelSets.Normal(1, ScalarType.Float32, 0, 1, 1, 70, 13), KernelSets.Normal(2, ScalarType.Float32, 0, 1, 1, 70, 13), KernelSets.Normal(3, ScalarType.Float32, 0, 1, 1, 70, 13)];
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            for (int which = 0; which < 3; which++)
            {
                Tensor[] given = [.. inputs.Select(input => input.clone())];
                given[which].narrow(1, 66, 1).narrow(2, 5, 1).fill_(double.NaN);
                given = [.. given.Select(tensor => tensor.to(type))];
                foreach (Tensor tensor in given) tensor.requires_grad = true;
                Tensor result = given[0].CrossAttention(given[1], given[2], 1, 0.3, causal: true, null, null, 0);
                float[] y = result.detach().to(ScalarType.Float32).ToArray<float>();
                bool[] bad = [.. Enumerable.Range(0, 70).Select(t => y.Skip(t * 13).Take(13).All(float.IsNaN))];
                bool[] anyBad = [.. Enumerable.Range(0, 70).Select(t => y.Skip(t * 13).Take(13).Any(float.IsNaN))];
                string name = $"{set} {type} input {which}";
                if (which == 0) Assert.True(bad[66] && anyBad.Count(value => value) == 1, name);
                if (which == 1) Assert.True(bad[66..].All(value => value) && !anyBad[..66].Any(value => value), name);
                if (which == 2) Assert.True(anyBad[66..].All(value => value), name);
                result.Sum().Backward();
                // Every key that the query saw, and the query: a gradient that is wrong must not look like one that is right.
                if (which == 0) Assert.True(double.IsNaN(given[0].grad!.Select(1, 66).Sum().Number()) && double.IsNaN(given[2].grad!.Select(1, 0).Sum().Number()), name);
            }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_score_of_minus_infinity_hides_its_key(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor q = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 1, 5, 13).abs(), k = KernelSets.Normal(2, ScalarType.Float32, 0, 1, 1, 9, 13), v = KernelSets.Normal(3, ScalarType.Float32, 0, 1, 1, 9, 13);
        Tensor expected = q.CrossAttention(k, v, 1, 0.3, causal: false, null, Tensors.From([1L, 1, 1, 0, 1, 1, 1, 1, 1], 1, 9), 0);
        k.narrow(1, 3, 1).fill_(double.NegativeInfinity);
        KernelSets.Close(set, q.CrossAttention(k, v, 1, 0.3, causal: false, null, null, 0), expected.to(ScalarType.Float64), coarse: false);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gradients_with_dropout_agree_with_finite_differences(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach ((long T, long S, bool causal) in new[] { (5L, 70L, false), (70L, 70L, true) })
            FiniteDifferences.Check($"{set} {T} x {S}", [KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, T, 12), KernelSets.Normal(2, ScalarType.Float32, 0, 1, 2, S, 12), KernelSets.Normal(3, ScalarType.Float32, 0, 1, 2, S, 12)], given =>
            {
                RandomState.Seed(3);
                return [given[0].CrossAttention(given[1], given[2], 2, 0.4, causal, null, Mask("right", 2, S), 0.3)];
            });
        FiniteDifferences.Check($"{set} self", [KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, 67, 36)], given =>
        {
            RandomState.Seed(3);
            return [given[0].SelfAttention(2, 0.4, causal: true, null, 0.3)];
        });
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Dropped_weights_are_zeros_and_the_others_are_scaled(string set)
    {
        // No scores, and a head as wide as there are keys with the unit matrix as its values: the results are the weights themselves.
        using IDisposable _ = KernelSets.Use(set);
        const int S = 80, T = 130, B = 5;
        Tensor unit = torch.ones([S, S]).triu().tril().view(1, S, S).expand(B, S, S), zero = torch.zeros([B, S, S]);
        RandomState.Seed(4);
        float[] weights = torch.zeros([B, T, S]).CrossAttention(zero, unit, 1, 1, causal: false, null, null, 0.2).ToArray<float>();
        // 52,000 draws: 4 deviations are 0.007.
        Assert.InRange(weights.Count(weight => weight == 0) / (double)weights.Length, 0.193, 0.207);
        Assert.All(weights, weight => Assert.True(weight == 0 || Math.Abs(weight * S * 0.8 - 1) < 1e-5));
        // Sequences differ from each other, queries do, and so do keys.
        foreach (int lag in new[] { 1, S, T * S })
            Assert.InRange(Enumerable.Range(0, weights.Length - lag).Count(i => (weights[i] == 0) == (weights[i + lag] == 0)) / (double)(weights.Length - lag), 0.66, 0.70);  // 0.8^2 + 0.2^2
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void The_generators_state_decides_what_is_dropped(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, 9, 36);
        byte[] Draw() => x.SelfAttention(3, 0.5, causal: true, null, 0.3).ToBytes();
        RandomState.Seed(1);
        byte[] state = RandomState.GetState(torch.CPU);
        byte[] first = Draw();
        Assert.NotEqual(first, Draw());
        RandomState.SetState(torch.CPU, state);
        Assert.Equal(first, Draw());
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void The_number_of_threads_changes_no_bit(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        int before = Engine.Threads;
        try
        {
            foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            {
                var seen = new List<byte[]>();
                foreach (int threads in new[] { 1, 2, 3 })
                {
                    Engine.Threads = threads;
                    RandomState.Seed(2);
                    Tensor x = KernelSets.Normal(1, type, 0, 1, 3, 70, 3 * 32);
                    x.requires_grad = true;
                    Tensor y = x.SelfAttention(2, 0.25, causal: true, Mask("right", 3, 70), 0.1);
                    y.backward(KernelSets.Normal(3, type, 0, 1, 3, 70, 32));
                    seen.Add([.. y.detach().ToBytes(), .. x.grad!.ToBytes()]);
                }
                // libtorch's own products make no such promise.
                if (set != "composed") Assert.All(seen, bytes => Assert.Equal(seen[0], bytes));
            }
        }
        finally
        {
            Engine.Threads = before;
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Memory_without_order_gives_what_a_copy_gives(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor joint = Leaf(KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, 7, 3 * 26));
        Tensor large = Leaf(KernelSets.Normal(2, ScalarType.Float32, 0, 1, 30, 7, 2));
        Tensor one = Leaf(KernelSets.Normal(3, ScalarType.Float32, 0, 1, 1, 1, 26)), narrow = Leaf(KernelSets.Normal(4, ScalarType.Float32, 0, 1, 2, 7, 1));
        Tensor[] views = [joint.narrow(2, 26, 26), large.permute(2, 1, 0).narrow(2, 2, 26), one.expand(2, 7, 26), narrow.expand(2, 7, 26)];
        foreach (Tensor q in views)
            foreach (Tensor k in views)
                foreach (Tensor v in views)
                {
                    Tensor[] copies = [.. new[] { q, k, v }.Select(view => Leaf(view.detach().contiguous().clone()))];
                    Tensor y = q.CrossAttention(k, v, 2, 0.3, causal: true, null, null, 0), expected = copies[0].CrossAttention(copies[1], copies[2], 2, 0.3, causal: true, null, null, 0);
                    if (set == "composed") KernelSets.Close(set, y, expected.to(ScalarType.Float64), coarse: false);
                    else Assert.True(y.ValuesEqual(expected));
                }
        // Gradients find their way back through each kind of view.
        Tensor[][] triples = [[views[0], views[1], views[2]], [views[3], views[0], views[1]], [views[2], views[3], views[0]]];
        foreach (Tensor[] triple in triples)
        {
            Tensor[] copies = [.. triple.Select(view => Leaf(view.detach().contiguous().clone()))];
            (joint.grad, large.grad, one.grad, narrow.grad) = (null, null, null, null);
            triple[0].CrossAttention(triple[1], triple[2], 2, 0.3, causal: true, null, null, 0).Sum().Backward();
            copies[0].CrossAttention(copies[1], copies[2], 2, 0.3, causal: true, null, null, 0).Sum().Backward();
            for (int i = 0; i < 3; i++)
            {
                Tensor own = copies[i].grad!.to(ScalarType.Float64);
                if (triple[i] == views[0]) KernelSets.Close(set, joint.grad!.narrow(2, 26, 26), own, coarse: false);
                else if (triple[i] == views[1]) KernelSets.Close(set, large.grad!.permute(2, 1, 0).narrow(2, 2, 26), own, coarse: false);
                else if (triple[i] == views[2]) KernelSets.Close(set, one.grad!, own.Sum(0, true).Sum(1, true), coarse: false);
                else KernelSets.Close(set, narrow.grad!, own.Sum(2, true), coarse: false);
            }
        }
        Tensor tall = Leaf(KernelSets.Normal(5, ScalarType.Float32, 0, 1, 36, 7, 2));
        tall.permute(2, 1, 0).SelfAttention(3, 0.5, causal: true, null, 0).Sum().Backward();
        Tensor copy = Leaf(tall.detach().permute(2, 1, 0).contiguous());
        copy.SelfAttention(3, 0.5, causal: true, null, 0).Sum().Backward();
        KernelSets.Close(set, tall.grad!.permute(2, 1, 0), copy.grad!.to(ScalarType.Float64), coarse: false);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_mask_may_be_of_any_type_and_in_any_order(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, 9, 36), mask = Mask("right", 2, 9)!;
        byte[] expected = x.SelfAttention(3, 0.5, causal: true, mask, 0).ToBytes();
        foreach (ScalarType type in new[] { ScalarType.Bool, ScalarType.Byte, ScalarType.Int32, ScalarType.Float32, ScalarType.BFloat16 })
            Assert.Equal(expected, x.SelfAttention(3, 0.5, causal: true, mask.to(type), 0).ToBytes());
        Assert.Equal(expected, x.SelfAttention(3, 0.5, causal: true, mask.transpose(0, 1).contiguous().transpose(0, 1), 0).ToBytes());
        // 256 is not hidden although its lowest byte is 0.
        Assert.Equal(expected, x.SelfAttention(3, 0.5, causal: true, mask * Tensors.From([256L]), 0).ToBytes());
    }

    private static Tensor Leaf(Tensor tensor)
    {
        tensor.requires_grad = true;
        return tensor;
    }

    // A third of each row, and one more in each row, is hidden on one side; "blind": the first row sees nothing at all.
    private static Tensor? Mask(string kind, long B, long S)
    {
        if (kind == "none") return null;
        var mask = new long[B * S];
        for (long b = 0; b < B; b++)
            for (long s = 0; s < S; s++)
            {
                long hidden = Math.Min(S - (kind == "left" ? 0 : 1), S / 3 + 1 + b);
                mask[b * S + s] = kind switch { "right" => s < S - hidden, "left" => s >= hidden, _ => b > 0 && s % 3 > 0 } ? 1 : 0;
            }
        return Tensors.From(mask, B, S);
    }

    private static Tensor Positions(long B, long T, long S)
    {
        using var random = new Generator(9);
        return torch.zeros([B, T], ScalarType.Int64).random_(0, S, random);
    }
}
