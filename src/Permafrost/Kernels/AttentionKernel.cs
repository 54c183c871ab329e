using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Scaled dot-product attention that keeps its output and one number a query for the gradient, never a T x S matrix (Dao et al. 2022).</summary>
public static unsafe class AttentionKernel
{
    /// <summary>softmax(scale q k^T + mask) v over heads, for queries, keys and values side by side (B, T, 3 C): (B, T, C).</summary>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static Tensor SelfAttention(this Tensor qkv, AttentionSettings settings)
    {
        if (qkv.Dimensions != 3 || qkv.size(2) % 3 != 0) throw new ArgumentException($"self-attention wants (batch, tokens, 3 * width), not {qkv.Describe()}");
        long width = qkv.size(2) / 3;
        CheckSideBySide(settings);
        Check(qkv, qkv, width, settings);
        if (!KernelSet.Takes(qkv))
            return Composed(settings, (inputs, same) => AttentionTwin.Forward(
                inputs[0].narrow(2, 0, width), inputs[0].narrow(2, width, width), inputs[0].narrow(2, 2 * width, width), same), qkv);
        bool grad = WantsGradient(settings, qkv);
        if (grad && Tape.Current is null) return Recorded(settings, (inputs, same) => inputs[0].SelfAttention(same), qkv);
        Tensor dense = qkv.is_contiguous() ? qkv : qkv.contiguous();
        return Forward(grad ? Tape.Current : null, width, settings, new Side(qkv, dense, 0), new Side(qkv, dense, width), new Side(qkv, dense, 2 * width));
    }

    /// <summary>The same for queries (B, T, C) of their own, keys and values side by side (B, S, 2 C).</summary>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static Tensor CrossAttention(this Tensor query, Tensor keysAndValues, AttentionSettings settings)
    {
        long width = query.Dimensions == 3 ? query.size(2) : 0;
        if (query.Dimensions != 3 || keysAndValues.Dimensions != 3 || keysAndValues.size(2) != 2 * width || keysAndValues.size(0) != query.size(0))
            throw new ArgumentException($"queries {query.Describe()} and keys and values {keysAndValues.Describe()} do not belong together");
        Check(query, keysAndValues, width, settings);
        CheckSideBySide(settings);
        if (!KernelSet.Takes(query))
            return Composed(
                settings, (inputs, same) => AttentionTwin.Forward(inputs[0], inputs[1].narrow(2, 0, width), inputs[1].narrow(2, width, width), same), query, keysAndValues);
        bool grad = WantsGradient(settings, query, keysAndValues);
        if (grad && Tape.Current is null) return Recorded(settings, (inputs, same) => inputs[0].CrossAttention(inputs[1], same), query, keysAndValues);
        Tensor q = query.is_contiguous() ? query : query.contiguous(), kv = keysAndValues.is_contiguous() ? keysAndValues : keysAndValues.contiguous();
        return Forward(grad ? Tape.Current : null, width, settings, new Side(query, q, 0), new Side(keysAndValues, kv, 0), new Side(keysAndValues, kv, width));
    }

    /// <summary>The same for queries (B, T, C), keys and values (B, S, C) of their own.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not match.</exception>
    public static Tensor CrossAttention(this Tensor query, Tensor key, Tensor value, AttentionSettings settings)
    {
        long width = query.Dimensions == 3 ? query.size(2) : 0;
        bool fits = query.Dimensions == 3 && key.Dimensions == 3 && key.HasShape(value.shape) && key.size(0) == query.size(0);
        if (!fits || key.size(2) * settings.Heads != width * settings.HeadsOfKeys)
            throw new ArgumentException($"queries {query.Describe()}, keys {key.Describe()} and values {value.Describe()} do not belong together");
        if (key.dtype != value.dtype) throw new ArgumentException($"keys are {key.dtype}, values {value.dtype}");
        Check(query, key, width, settings);
        LinearKernel.CheckDevice(query, value, "the value");
        if (!KernelSet.Takes(query)) return Composed(settings, (inputs, same) => AttentionTwin.Forward(inputs[0], inputs[1], inputs[2], same), query, key, value);
        bool grad = WantsGradient(settings, query, key, value);
        if (grad && Tape.Current is null) return Recorded(settings, (inputs, same) => inputs[0].CrossAttention(inputs[1], inputs[2], same), query, key, value);
        static Tensor Dense(Tensor tensor) => tensor.is_contiguous() ? tensor : tensor.contiguous();
        return Forward(grad ? Tape.Current : null, width, settings, new Side(query, Dense(query), 0), new Side(key, Dense(key), 0), new Side(value, Dense(value), 0));
    }

    private static void CheckSideBySide(AttentionSettings settings)
    {
        if (settings.HeadsOfKeys != settings.Heads)
            throw new ArgumentException("what lies side by side has as many heads each; give queries, keys and values one by one where heads share keys");
    }

    private static bool WantsGradient(AttentionSettings settings, params ReadOnlySpan<Tensor> inputs)
    {
        if (!torch.is_grad_enabled()) return false;
        foreach (Tensor input in inputs) if (input.requires_grad) return true;
        return settings.Bias is { Values.requires_grad: true };
    }

    // The bias has a gradient as the other inputs have, so it is one of them.
    private static Tensor Composed(AttentionSettings settings, Func<Tensor[], AttentionSettings, Tensor> attention, params Tensor[] inputs) => settings.Bias is { } bias
        ? Segment.ComposeTwin(given => attention(given, settings with { Bias = bias with { Values = given[^1] } }), [.. inputs, bias.Values])
        : Segment.ComposeTwin(given => attention(given, settings), inputs);

    private static Tensor Recorded(AttentionSettings settings, Func<Tensor[], AttentionSettings, Tensor> attention, params Tensor[] inputs) => settings.Bias is { } bias
        ? Segment.Run(given => [attention(given!, settings with { Bias = bias with { Values = given[^1]! } })], [.. inputs, bias.Values])[0]
        : Segment.Run(given => [attention(given!, settings)], [.. inputs])[0];

    // Queries, keys or values: the tensor that was given, the contiguous one that is read, and where in its rows they begin.
    private readonly record struct Side(Tensor Given, Tensor Dense, long Offset)
    {
        public long Token => Dense.size(2);
        public long Batch => Dense.size(1) * Dense.size(2);
        public nint Address(Tensor tensor) => tensor.Address() + (nint)(Offset * tensor.ElementSize);
    }

    private static Tensor Forward(Tape? tape, long width, AttentionSettings settings, Side q, Side k, Side v)
    {
        RelativeBias? bias = settings.Bias;
        bool wantsBias = tape is not null && tape.Wants(bias?.Values);
        bool wanted = tape is not null && (tape.Wants(q.Given) | tape.Wants(k.Given) | tape.Wants(v.Given) | wantsBias);
        (long B, long T) = (q.Dense.size(0), q.Dense.size(1));
        Tensor output = Workspace.Empty([B, T, width], q.Dense.dtype), logSum = torch.empty(B, settings.Heads, T);
        Tensor? positions = settings.Positions?.contiguous(), mask = Flags(settings.KeyMask), seenByAll = Flags(settings.SeenByAll);
        Tensor? biases = bias is null ? null : Elementwise.As(bias.Values, ScalarType.Float32);
        AttentionArguments Arguments() => new()
        {
            Batch = B,
            Heads = settings.Heads,
            KeyHeads = settings.HeadsOfKeys,
            Queries = T,
            Keys = k.Dense.size(1),
            HeadSize = width / settings.Heads,
            Q = q.Address(q.Dense),
            K = k.Address(k.Dense),
            V = v.Address(v.Dense),
            QBatch = q.Batch,
            QToken = q.Token,
            KBatch = k.Batch,
            KToken = k.Token,
            VBatch = v.Batch,
            VToken = v.Token,
            Out = output.Address(),
            Type = Elementwise.TypeCode(q.Dense.dtype),
            Scale = settings.Scale,
            Before = settings.Before ?? -1,
            After = settings.AtMostAfter ?? -1,
            Positions = positions?.Address() ?? 0,
            KeyMask = mask?.Address() ?? 0,
            SeenByAll = seenByAll?.Address() ?? 0,
            Bias = biases?.Address() ?? 0,
            BiasColumns = biases?.size(1) ?? 0,
            BiasZero = bias?.Zero ?? 0,
            Dropout = new NativeDropout(settings.Dropout),
            LogSum = logSum.Address(),
        };
        AttentionArguments arguments = Arguments();
        NativeMethods.Check(NativeMethods.pf_attention_forward(&arguments));
        foreach (Tensor? read in (ReadOnlySpan<Tensor?>)[q.Dense, k.Dense, v.Dense, logSum, mask, seenByAll, biases, positions]) GC.KeepAlive(read);
        if (!wanted) return output;

        // Each tensor once, although queries, keys and values may lie in the same one.
        Tensor[] wants = [.. new[] { q.Given, k.Given, v.Given }.Distinct(ReferenceEqualityComparer.Instance).Cast<Tensor>().Where(tape!.Wants)];
        var held = new List<Side>();
        Side Held(Side side)
        {
            Side? known = held.Cast<Side?>().FirstOrDefault(other => ReferenceEquals(other!.Value.Given, side.Given));
            if (known is { } same) return side with { Dense = same.Dense };
            Side result = side with { Dense = ReferenceEquals(side.Dense, side.Given) ? tape!.Hold(side.Given) : tape!.Own(side.Dense) };
            held.Add(result);
            return result;
        }
        (q, k, v) = (Held(q), Held(k), Held(v));
        tape!.Result(output);
        tape.Hold(output);
        tape.Own(logSum);
        if (positions is not null) positions = ReferenceEquals(positions, settings.Positions) ? tape.Hold(positions) : tape.Own(positions);
        if (mask is not null) tape.Own(mask);
        if (seenByAll is not null) tape.Own(seenByAll);
        if (biases is not null) biases = ReferenceEquals(biases, bias!.Values) ? tape.Hold(biases) : tape.Own(biases);
        tape.Add(() =>
        {
            if (tape.Take(output) is not { } given) return;
            Tensor dOut = Elementwise.As(given, output.dtype);
            var gradients = held.ToDictionary(
                side => side.Given, side => Workspace.Empty(side.Dense.shape, side.Dense.dtype), (IEqualityComparer<Tensor>)ReferenceEqualityComparer.Instance);
            AttentionArguments call = Arguments();
            call.DOut = dOut.Address();
            call.Dq = q.Address(gradients[q.Given]);
            call.Dk = k.Address(gradients[k.Given]);
            call.Dv = v.Address(gradients[v.Given]);
            // Of each sequence by itself, so that their sum is in one order.
            Tensor? dBias = wantsBias ? Workspace.Empty([B, settings.Heads, biases!.size(1)]) : null;
            call.DBias = dBias?.Address() ?? 0;
            NativeMethods.Check(NativeMethods.pf_attention_backward(&call));
            GC.KeepAlive(dOut);
            if (dBias is not null) tape.Give(bias!.Values, LinearKernel.ColumnSums(dBias.view(B, -1)).view(biases!.shape));
            foreach (Tensor tensor in wants) tape.Give(tensor, gradients[tensor]);
        });
        return output;
    }

    private static Tensor? Flags(Tensor? mask) => mask?.ne(0.Hold()).to(ScalarType.Byte).contiguous();

    private static void Check(Tensor q, Tensor k, long width, AttentionSettings settings)
    {
        LinearKernel.CheckFloating(q, "attention's input");
        if (k.dtype != q.dtype) throw new ArgumentException($"queries are {q.dtype}, keys {k.dtype}");
        LinearKernel.CheckDevice(q, k, "the key");
        if (settings.Heads <= 0 || width % settings.Heads != 0) throw new ArgumentException($"{width} numbers cannot be shared by {settings.Heads} heads");
        if (settings.HeadsOfKeys <= 0 || settings.Heads % settings.HeadsOfKeys != 0)
            throw new ArgumentException($"{settings.Heads} heads of queries cannot share {settings.HeadsOfKeys} heads of keys");
        settings.Dropout.Checked();
        long keys = k.size(1), first = 0, last = q.size(1) - 1;
        if (settings.Positions is { } positions)
        {
            if (positions.dtype != ScalarType.Int64 || !positions.HasShape(q.size(0), q.size(1)))
                throw new ArgumentException($"positions must be int64 and (batch, queries), not {positions.Describe()}");
            LinearKernel.CheckDevice(q, positions, "positions");
            // Only on the CPU: reading them on another device would have to wait for that device.
            if (positions.IsOnCpu() && positions.NumberOfElements > 0)
            {
                long[] places = positions.ToArray<long>();
                (long low, long high) = (places.Min(), places.Max());
                if (low < 0 || high >= keys) throw new ArgumentException($"positions from {low} to {high} are not all among the {keys} keys");
                (first, last) = (low, high);
            }
        }
        if (settings is { Before: < 0 } or { After: < 0 })
            throw new ArgumentException($"a query cannot see {settings.Before} keys before and {settings.After} after its position");
        if (settings.SeenByAll is { } all && !all.HasShape(k.size(0), keys))
            throw new ArgumentException($"the keys that all see must be (batch, keys), not {all.Describe()}");
        if (settings.Bias is { } bias)
        {
            if (bias.Values.Dimensions != 2 || bias.Values.size(0) != settings.Heads || bias.Zero + first - (keys - 1) < 0 || bias.Zero + last >= bias.Values.size(1))
                throw new ArgumentException(
                    $"the biases {bias.Values.Describe()}, zero at {bias.Zero}, are not there for {settings.Heads} heads and all distances of {q.size(1)} queries and {keys} keys");
            LinearKernel.CheckDevice(q, bias.Values, "the bias");
        }
        if (settings.KeyMask is not { } mask) return;
        if (!mask.HasShape(k.size(0), keys)) throw new ArgumentException($"the key mask must be (batch, keys), not {mask.Describe()}");
        LinearKernel.CheckDevice(q, mask, "the key mask");
    }
}
