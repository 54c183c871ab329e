using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>permafrost::self_attention and ::attention.</summary>
[Collection(ProcessWide.Name)]
public class FusedAttentionTests : IDisposable
{
    // Batch, tokens, heads, head size: blocks of 64, vectors of 16 and pairs are all left incomplete somewhere.
    private static readonly (long B, long T, long H, long D)[] Sizes = [(1, 1, 1, 13), (2, 7, 2, 40), (1, 65, 3, 13), (2, 130, 1, 40), (1, 64, 2, 16), (3, 17, 2, 1)];

    // The same with keys of their own.
    private static readonly (long B, long T, long S, long H, long D)[] CrossSizes = [(1, 1, 7, 1, 13), (2, 7, 65, 2, 40), (1, 65, 130, 1, 13), (2, 3, 1, 2, 8), (1, 130, 7, 1, 64), (2, 1, 130, 3, 16)];

    private const ulong Key = 0x9d8f3c0152a6b7e4;

    private static readonly string[] Masks = ["none", "right", "left", "blind"];

    private readonly DisposeScope scope = torch.NewDisposeScope();

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
                        Tensor[] Map(Tensor[] inputs, ScalarType? wide) => [inputs[0].SelfAttention(new(H, 1 / Math.Sqrt(D), causal, KeyMask: mask))];
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
                        Tensor[] Map(Tensor[] inputs, ScalarType? wide) => [inputs[0].CrossAttention(inputs[1], inputs[2], new(H, 1 / Math.Sqrt(D), limit != "all", Positions: positions, KeyMask: mask))];
                        KernelSets.Check(set, $"{type} {B} x {T} x {S} x {H} x {D}, {limit}, mask {kind}", Map, coarse: type == ScalarType.BFloat16,
                            KernelSets.Normal(1, type, 0, 1, B, T, H * D), KernelSets.Normal(2, type, 0, 1, B, S, H * D), KernelSets.Normal(3, type, 0, 1, B, S, H * D));
                    }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Windows_shared_heads_and_biases_and_their_gradients_are_the_twins(string set)
    {
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            foreach ((long B, long T, long S, long H, long shared, long D) in new[] { (2L, 7L, 7L, 4L, 2L, 8L), (1, 130, 130, 2, 1, 16), (2, 3, 70, 6, 3, 13) })
                foreach ((bool causal, long? before, long? after) in new (bool, long?, long?)[] { (false, null, null), (true, 3, null), (false, 2, 2), (false, 70, 5), (true, 0, null), (false, null, 1) })
                    foreach (bool positioned in new[] { false, true })
                    {
                        if (positioned == (T == S)) continue;
                        string kind = causal ? "left" : "none";
                        Tensor? mask = Mask(kind, B, S), positions = positioned ? Positions(B, T, S) : null;
                        Tensor? all = before is null ? null : torch.zeros([B, S], ScalarType.Int64);
                        if (all is not null) all[0, S / 2] = all[B - 1, S - 1] = torch.ones([], ScalarType.Int64);
                        Tensor[] Map(Tensor[] inputs, ScalarType? wide) => [inputs[0].CrossAttention(inputs[1], inputs[2], new(H, 0.5, causal, positions, mask)
                            {
                                KeyHeads = shared,
                                Before = before,
                                After = after,
                                SeenByAll = all,
                                Bias = new RelativeBias(inputs[3], S - 1),
                            })];
                        string name = $"{type} {B} x {T} x {S} x {H}/{shared} x {D}, causal {causal}, {before} before, {after} after, positions {positioned}, mask {kind}";
                        KernelSets.Check(set, name, Map, coarse: type == ScalarType.BFloat16, KernelSets.Normal(1, type, 0, 1, B, T, H * D), KernelSets.Normal(2, type, 0, 1, B, S, shared * D),
                            KernelSets.Normal(3, type, 0, 1, B, S, shared * D), KernelSets.Normal(4, ScalarType.Float32, 0, 1, H, 2 * S - 1));
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
                    Tensor? mask = first == 0 ? null : (torch.arange(T) - first).maximum(torch.full([T], -1, ScalarType.Int64)).ne(-1).to(ScalarType.Int64).view(1, T);
                    Tensor[] Map(Tensor[] inputs) => [inputs[0].SelfAttention(new(3, 1, Causal: true, KeyMask: mask, Dropout: new DropoutDraw(dropout, Key))).narrow(1, first, 1)];
                    (_, Tensor?[] gradients) = KernelSets.Compute(set, Map, KernelSets.Normal(1, type, 0, 1, 1, T, 9 * D));
                    Assert.Equal(0, gradients[0]!.narrow(2, 0, 6 * D).abs().max().Number());
                    if (dropout == 0) Assert.NotEqual(0, gradients[0]!.narrow(2, 6 * D, 3 * D).abs().max().Number());
                }
    }

    [Fact]
    public void The_kernels_that_libtorch_has_for_gpus_give_the_same()
    {
        foreach ((long B, long T, long S, long H, long D) in CrossSizes.Append((2, 9, 9, 2, 8)))
            foreach (string limit in new[] { "all", "causal", "positions" })
                foreach (string kind in Masks)
                {
                    Tensor? mask = Mask(kind, B, S), positions = limit == "positions" ? Positions(B, T, S) : null;
                    Tensor[] Map(Tensor[] inputs, ScalarType? wide) => wide is null
                        ? [AttentionTwin.Library(inputs[0], inputs[1], inputs[2], new(H, 0.4, limit != "all", Positions: positions, KeyMask: mask))]
                        : [inputs[0].CrossAttention(inputs[1], inputs[2], new(H, 0.4, limit != "all", Positions: positions, KeyMask: mask))];
                    KernelSets.Check(KernelSet.None, $"{B} x {T} x {S} x {H} x {D}, {limit}, mask {kind}", Map, coarse: false,
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
            Tensor y = x.SelfAttention(new(2, 0.3, Causal: true, KeyMask: Mask("left", 2, 70)));
            y.backward([torch.ones([2, 70, 26], type)]);
            // The mask hides 1 + 70 / 3 keys of the first sequence and 2 + 70 / 3 of the second.
            for (int b = 0; b < 2; b++)
            {
                long hidden = 24 + b;
                Assert.Equal(0, y.detach().select(0, b).narrow(0, 0, hidden).to(ScalarType.Float32).abs().max().Number());
                Assert.Equal(0, x.grad!.select(0, b).narrow(0, 0, hidden).to(ScalarType.Float32).abs().max().Number());
                Assert.True(y.detach().select(0, b).narrow(0, hidden, 1).to(ScalarType.Float32).abs().max().Number() > 0);
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
            Tensor y = q.CrossAttention(keys, keys, new(2, 1, Causal: false));
            Assert.Equal(shape, y.shape);
            y.sum().backward();
            Assert.Equal(shape, q.grad!.shape);
            Assert.Equal(0, keys.grad!.sum().Number());
        }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Large_scores_do_not_overflow(string set)
    {
        // Scores of some 1e4, whose rounding is 1e-3: probabilities within a few 1e-3.
        Tensor[] inputs = [KernelSets.Normal(1, ScalarType.Float32, 0, 50, 2, 70, 40), KernelSets.Normal(2, ScalarType.Float32, 0, 50, 2, 70, 40), KernelSets.Normal(3, ScalarType.Float32, 0, 1, 2, 70, 40)];
        Tensor[] Map(Tensor[] given) => [given[0].CrossAttention(given[1], given[2], new(2, 1, Causal: true))];
        Tensor[] expected = KernelSets.Compute(null, Map, inputs).Results;
        (Tensor[] actual, Tensor?[] gradients) = KernelSets.Compute(set, Map, inputs);
        Assert.True((actual[0].to(ScalarType.Float64) - expected[0]).abs().max().Number() < 0.01);
        Assert.All(gradients, gradient => Assert.True(gradient!.AllFinite()));
        Assert.True(KernelSets.Compute(set, given => [(given[0] * 1e3).to(ScalarType.BFloat16).CrossAttention((given[1] * 1e3).to(ScalarType.BFloat16), given[2].to(ScalarType.BFloat16), new(2, 1, Causal: true))], inputs).Results[0].AllFinite());
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Small_probabilities_are_exact(string set)
    {
        // Two keys with scores 0 and x, values 0 and 1: e^x / (1 + e^x), relative to itself. Below -87.3 a probability may be 0.
        using IDisposable _ = KernelSets.Use(set);
        const int Count = 8700;
        float[] scores = [.. Enumerable.Range(0, Count).Select(i => -i / 100f)];
        Tensor q = torch.ones([Count, 1, 1]), v = Tensors.From([0f, 1], 1, 2, 1).expand(Count, 2, 1);
        float[] y = q.CrossAttention(torch.stack([torch.zeros([Count]), Tensors.From(scores)], 1).view(Count, 2, 1), v, new(1, 1, Causal: false)).ToArray<float>();
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
                Tensor result = given[0].CrossAttention(given[1], given[2], new(1, 0.3, Causal: true));
                float[] y = result.detach().to(ScalarType.Float32).ToArray<float>();
                bool[] bad = [.. Enumerable.Range(0, 70).Select(t => y.Skip(t * 13).Take(13).All(float.IsNaN))];
                bool[] anyBad = [.. Enumerable.Range(0, 70).Select(t => y.Skip(t * 13).Take(13).Any(float.IsNaN))];
                string name = $"{set} {type} input {which}";
                if (which == 0) Assert.True(bad[66] && anyBad.Count(value => value) == 1, name);
                if (which == 1) Assert.True(bad[66..].All(value => value) && !anyBad[..66].Any(value => value), name);
                if (which == 2) Assert.True(anyBad[66..].All(value => value), name);
                result.sum().backward();
                // Every key that the query saw, and the query: a gradient that is wrong must not look like one that is right.
                if (which == 0) Assert.True(double.IsNaN(given[0].grad!.select(1, 66).sum().Number()) && double.IsNaN(given[2].grad!.select(1, 0).sum().Number()), name);
            }
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_score_of_minus_infinity_hides_its_key(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor q = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 1, 5, 13).abs(), k = KernelSets.Normal(2, ScalarType.Float32, 0, 1, 1, 9, 13), v = KernelSets.Normal(3, ScalarType.Float32, 0, 1, 1, 9, 13);
        Tensor expected = q.CrossAttention(k, v, new(1, 0.3, Causal: false, KeyMask: Tensors.From([1L, 1, 1, 0, 1, 1, 1, 1, 1], 1, 9)));
        k.narrow(1, 3, 1).fill_(double.NegativeInfinity);
        KernelSets.Close(set, q.CrossAttention(k, v, new(1, 0.3, Causal: false)), expected.to(ScalarType.Float64), coarse: false);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Gradients_with_dropout_agree_with_finite_differences(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        foreach ((long T, long S, bool causal) in new[] { (5L, 70L, false), (70L, 70L, true) })
            FiniteDifferences.Check($"{set} {T} x {S}", [KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, T, 12), KernelSets.Normal(2, ScalarType.Float32, 0, 1, 2, S, 12), KernelSets.Normal(3, ScalarType.Float32, 0, 1, 2, S, 12)], given =>
                [given[0].CrossAttention(given[1], given[2], new(2, 0.4, causal, KeyMask: Mask("right", 2, S), Dropout: new DropoutDraw(0.3, Key)))]);
        FiniteDifferences.Check($"{set} self", [KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, 67, 36)], given => [given[0].SelfAttention(new(2, 0.4, Causal: true, Dropout: new DropoutDraw(0.3, Key)))]);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Dropped_weights_are_zeros_and_the_others_are_scaled(string set)
    {
        // No scores, and a head as wide as there are keys with the unit matrix as its values: the results are the weights themselves.
        using IDisposable _ = KernelSets.Use(set);
        const int S = 80, T = 130, B = 5;
        Tensor unit = torch.ones([S, S]).triu().tril().view(1, S, S).expand(B, S, S), zero = torch.zeros([B, S, S]);
        float[] weights = torch.zeros([B, T, S]).CrossAttention(zero, unit, new(1, 1, Causal: false, Dropout: new DropoutDraw(0.2, Key))).ToArray<float>();
        // 52,000 draws: 4 deviations are 0.007.
        Assert.InRange(weights.Count(weight => weight == 0) / (double)weights.Length, 0.193, 0.207);
        Assert.All(weights, weight => Assert.True(weight == 0 || Math.Abs(weight * S * 0.8 - 1) < 1e-5));
        // Sequences differ from each other, queries do, and so do keys.
        foreach (int lag in new[] { 1, S, T * S })
            Assert.InRange(Enumerable.Range(0, weights.Length - lag).Count(i => (weights[i] == 0) == (weights[i + lag] == 0)) / (double)(weights.Length - lag), 0.66, 0.70);  // 0.8^2 + 0.2^2
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void The_draw_decides_what_is_dropped(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, 9, 36);
        byte[] Draw(ulong key, long firstRow = 0) => x.SelfAttention(new(3, 0.5, Causal: true, Dropout: new DropoutDraw(0.3, key, firstRow))).ToBytes();
        byte[] first = Draw(Key);
        Assert.Equal(first, Draw(Key));
        // Both halves of the key count, and so does the row.
        foreach (byte[] other in new[] { Draw(Key + 1), Draw(Key ^ (1UL << 40)), Draw(Key, 1) }) Assert.NotEqual(first, other);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Dropped_are_the_weights_that_the_twin_drops(string set)
    {
        // Each key has a value of its own, a power of two, and all weigh the same: a sum's bits are the mask.
        using IDisposable _ = KernelSets.Use(set);
        const int B = 3, H = 2, T = 70, S = 16;
        Tensor values = Tensors.From([.. Enumerable.Range(0, S).Select(s => (float)(1 << s))], 1, S, 1).expand(B, S, H).contiguous();
        foreach ((double p, long firstRow) in new[] { (0.001, 0L), (0.1, 5), (0.5, 1L << 33), (0.9, 0) })
        {
            var draw = new DropoutDraw(p, Key, firstRow);
            Tensor sums = torch.zeros([B, T, H]).CrossAttention(torch.zeros([B, S, H]), values, new(H, 1, Causal: false, Dropout: draw)) * (S * (1 - p));
            Tensor kept = draw.AttentionFactors(B, H, T, S, torch.CPU).ne(0).to(ScalarType.Float32);  // (B, H, T, S)
            Tensor expected = kept.matmul(values.select(2, 0).select(0, 0)).transpose(1, 2);
            Assert.True(sums.round().ValuesEqual(expected), $"{set} {p}");
        }
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
                    Tensor x = KernelSets.Normal(1, type, 0, 1, 3, 70, 3 * 32);
                    x.requires_grad = true;
                    Tensor y = x.SelfAttention(new(2, 0.25, Causal: true, KeyMask: Mask("right", 3, 70), Dropout: new DropoutDraw(0.1, Key)));
                    y.backward([KernelSets.Normal(3, type, 0, 1, 3, 70, 32)]);
                    seen.Add([.. y.detach().ToBytes(), .. x.grad!.ToBytes()]);
                }
                // libtorch's own products make no such promise.
                if (set != KernelSet.None) Assert.All(seen, bytes => Assert.Equal(seen[0], bytes));
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
                    Tensor y = q.CrossAttention(k, v, new(2, 0.3, Causal: true)), expected = copies[0].CrossAttention(copies[1], copies[2], new(2, 0.3, Causal: true));
                    if (set == KernelSet.None) KernelSets.Close(set, y, expected.to(ScalarType.Float64), coarse: false);
                    else Assert.True(y.ValuesEqual(expected));
                }
        // Gradients find their way back through each kind of view.
        Tensor[][] triples = [[views[0], views[1], views[2]], [views[3], views[0], views[1]], [views[2], views[3], views[0]]];
        foreach (Tensor[] triple in triples)
        {
            Tensor[] copies = [.. triple.Select(view => Leaf(view.detach().contiguous().clone()))];
            (joint.grad, large.grad, one.grad, narrow.grad) = (null, null, null, null);
            triple[0].CrossAttention(triple[1], triple[2], new(2, 0.3, Causal: true)).sum().backward();
            copies[0].CrossAttention(copies[1], copies[2], new(2, 0.3, Causal: true)).sum().backward();
            for (int i = 0; i < 3; i++)
            {
                Tensor own = copies[i].grad!.to(ScalarType.Float64);
                if (ReferenceEquals(triple[i], views[0])) KernelSets.Close(set, joint.grad!.narrow(2, 26, 26), own, coarse: false);
                else if (ReferenceEquals(triple[i], views[1])) KernelSets.Close(set, large.grad!.permute(2, 1, 0).narrow(2, 2, 26), own, coarse: false);
                else if (ReferenceEquals(triple[i], views[2])) KernelSets.Close(set, one.grad!, own.sum([0, 1], true), coarse: false);
                else KernelSets.Close(set, narrow.grad!, own.sum(2, true), coarse: false);
            }
        }
        Tensor tall = Leaf(KernelSets.Normal(5, ScalarType.Float32, 0, 1, 36, 7, 2));
        tall.permute(2, 1, 0).SelfAttention(new(3, 0.5, Causal: true)).sum().backward();
        Tensor copy = Leaf(tall.detach().permute(2, 1, 0).contiguous());
        copy.SelfAttention(new(3, 0.5, Causal: true)).sum().backward();
        KernelSets.Close(set, tall.grad!.permute(2, 1, 0), copy.grad!.to(ScalarType.Float64), coarse: false);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_mask_may_be_of_any_type_and_in_any_order(string set)
    {
        using IDisposable _ = KernelSets.Use(set);
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, 2, 9, 36), mask = Mask("right", 2, 9)!;
        byte[] expected = x.SelfAttention(new(3, 0.5, Causal: true, KeyMask: mask)).ToBytes();
        foreach (ScalarType type in new[] { ScalarType.Bool, ScalarType.Byte, ScalarType.Int32, ScalarType.Float32, ScalarType.BFloat16 })
            Assert.Equal(expected, x.SelfAttention(new(3, 0.5, Causal: true, KeyMask: mask.to(type))).ToBytes());
        Assert.Equal(expected, x.SelfAttention(new(3, 0.5, Causal: true, KeyMask: mask.transpose(0, 1).contiguous().transpose(0, 1))).ToBytes());
        // 256 is not hidden although its lowest byte is 0.
        Assert.Equal(expected, x.SelfAttention(new(3, 0.5, Causal: true, KeyMask: mask * Tensors.From([256L]))).ToBytes());
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
