using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>Scaled dot-product attention that keeps its output and one number a query for the gradient, never a T x S matrix (Dao et al. 2022).</summary>
public static unsafe class AttentionKernel
{
    /// <summary>softmax(scale q k^T + mask) v over heads, for queries, keys and values side by side (B, T, 3 C): (B, T, C).</summary>
    /// <exception cref="ArgumentException">Shapes or types do not belong together.</exception>
    public static Tensor SelfAttention(this Tensor qkv, AttentionSettings settings)
    {
        if (qkv.Dimensions != 3 || qkv.size(2) % 3 != 0) throw new ArgumentException($"self-attention wants (batch, tokens, 3 * width), not {qkv.Describe()}");
        long width = qkv.size(2) / 3;
        Check(qkv, qkv, width, settings);
        if (!KernelSet.Takes(qkv))
            return Segment.Compose(
                inputs => AttentionTwin.Forward(inputs[0].narrow(2, 0, width), inputs[0].narrow(2, width, width), inputs[0].narrow(2, 2 * width, width), settings), qkv);
        bool grad = torch.is_grad_enabled() && qkv.requires_grad;
        if (grad && Tape.Current is null) return Segment.Run(input => input.SelfAttention(settings), qkv);
        Tensor dense = qkv.is_contiguous() ? qkv : qkv.contiguous();
        return Forward(grad ? Tape.Current : null, width, settings, new Side(qkv, dense, 0), new Side(qkv, dense, width), new Side(qkv, dense, 2 * width));
    }

    /// <summary>The same for queries (B, T, C) of their own, keys and values side by side (B, S, 2 C).</summary>
    /// <exception cref="ArgumentException">Shapes or types do not belong together.</exception>
    public static Tensor CrossAttention(this Tensor query, Tensor keysAndValues, AttentionSettings settings)
    {
        long width = query.Dimensions == 3 ? query.size(2) : 0;
        if (query.Dimensions != 3 || keysAndValues.Dimensions != 3 || keysAndValues.size(2) != 2 * width || keysAndValues.size(0) != query.size(0))
            throw new ArgumentException($"queries {query.Describe()} and keys and values {keysAndValues.Describe()} do not belong together");
        Check(query, keysAndValues, width, settings);
        if (!KernelSet.Takes(query))
            return Segment.Compose(inputs => AttentionTwin.Forward(inputs[0], inputs[1].narrow(2, 0, width), inputs[1].narrow(2, width, width), settings), query, keysAndValues);
        bool grad = torch.is_grad_enabled() && (query.requires_grad || keysAndValues.requires_grad);
        if (grad && Tape.Current is null) return Segment.Run(given => [given[0]!.CrossAttention(given[1]!, settings)], query, keysAndValues)[0];
        Tensor q = query.is_contiguous() ? query : query.contiguous(), kv = keysAndValues.is_contiguous() ? keysAndValues : keysAndValues.contiguous();
        return Forward(grad ? Tape.Current : null, width, settings, new Side(query, q, 0), new Side(keysAndValues, kv, 0), new Side(keysAndValues, kv, width));
    }

    /// <summary>The same for queries (B, T, C), keys and values (B, S, C) of their own.</summary>
    /// <exception cref="ArgumentException">Shapes or types do not belong together.</exception>
    public static Tensor CrossAttention(this Tensor query, Tensor key, Tensor value, AttentionSettings settings)
    {
        long width = query.Dimensions == 3 ? query.size(2) : 0;
        if (query.Dimensions != 3 || !key.HasShape(value.shape) || key.Dimensions != 3 || key.size(2) != width || key.size(0) != query.size(0))
            throw new ArgumentException($"queries {query.Describe()}, keys {key.Describe()} and values {value.Describe()} do not belong together");
        if (key.dtype != value.dtype) throw new ArgumentException($"keys are {key.dtype}, values {value.dtype}");
        Check(query, key, width, settings);
        LinearKernel.CheckDevice(query, value, "the value");
        if (!KernelSet.Takes(query)) return Segment.Compose(inputs => AttentionTwin.Forward(inputs[0], inputs[1], inputs[2], settings), query, key, value);
        bool grad = torch.is_grad_enabled() && (query.requires_grad || key.requires_grad || value.requires_grad);
        if (grad && Tape.Current is null) return Segment.Run(given => [given[0]!.CrossAttention(given[1]!, given[2]!, settings)], query, key, value)[0];
        static Tensor Dense(Tensor tensor) => tensor.is_contiguous() ? tensor : tensor.contiguous();
        return Forward(grad ? Tape.Current : null, width, settings, new Side(query, Dense(query), 0), new Side(key, Dense(key), 0), new Side(value, Dense(value), 0));
    }

    // Queries, keys or values: the tensor that was given, the contiguous one that is read, and where in its rows they begin.
    private readonly record struct Side(Tensor Given, Tensor Dense, long Offset)
    {
        public long Token => Dense.size(2);
        public long Batch => Dense.size(1) * Dense.size(2);
        public nint Address(Tensor tensor) => tensor.Address() + (nint)(Offset * tensor.ElementSize);
    }

    private static Tensor Forward(Tape? tape, long width, AttentionSettings settings, Side q, Side k, Side v)
    {
        bool wanted = tape is not null && (tape.Wants(q.Given) | tape.Wants(k.Given) | tape.Wants(v.Given));
        (long B, long T) = (q.Dense.size(0), q.Dense.size(1));
        Tensor output = Workspace.Empty([B, T, width], q.Dense.dtype), logSum = torch.empty(B, settings.Heads, T);
        Tensor? positions = settings.Positions?.contiguous(), mask = settings.KeyMask?.ne(0).to(ScalarType.Byte).contiguous();
        AttentionArguments Arguments() => new()
        {
            Batch = B,
            Heads = settings.Heads,
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
            Causal = settings.Causal ? 1 : 0,
            Positions = positions?.Address() ?? 0,
            KeyMask = mask?.Address() ?? 0,
            Dropout = new NativeDropout(settings.Dropout),
            LogSum = logSum.Address(),
        };
        AttentionArguments arguments = Arguments();
        NativeMethods.Check(NativeMethods.pf_attention_forward(&arguments));
        GC.KeepAlive(mask);
        GC.KeepAlive(positions);
        if (!wanted) return output;

        // Each tensor once, though two or three sides may lie in it.
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
            NativeMethods.Check(NativeMethods.pf_attention_backward(&call));
            GC.KeepAlive(dOut);
            foreach (Tensor tensor in wants) tape.Give(tensor, gradients[tensor]);
        });
        return output;
    }

    private static void Check(Tensor q, Tensor k, long width, AttentionSettings settings)
    {
        LinearKernel.CheckFloating(q, "attention's input");
        if (k.dtype != q.dtype) throw new ArgumentException($"queries are {q.dtype}, keys {k.dtype}");
        LinearKernel.CheckDevice(q, k, "the key");
        if (settings.Heads <= 0 || width % settings.Heads != 0) throw new ArgumentException($"{width} numbers cannot be shared by {settings.Heads} heads");
        settings.Dropout.Checked();
        long keys = k.size(1);
        if (settings.Positions is { } positions)
        {
            if (positions.dtype != ScalarType.Int64 || !positions.HasShape(q.size(0), q.size(1)))
                throw new ArgumentException($"positions must be int64 and (batch, queries), not {positions.Describe()}");
            LinearKernel.CheckDevice(q, positions, "positions");
            // Not on other devices, which would have to be waited for.
            if (positions.IsOnCpu() && positions.NumberOfElements > 0)
            {
                long[] places = positions.ToArray<long>();
                (long low, long high) = (places.Min(), places.Max());
                if (low < 0 || high >= keys) throw new ArgumentException($"positions from {low} to {high} are not all among the {keys} keys");
            }
        }
        if (settings.KeyMask is not { } mask) return;
        if (!mask.HasShape(k.size(0), keys)) throw new ArgumentException($"the key mask must be (batch, keys), not {mask.Describe()}");
        LinearKernel.CheckDevice(q, mask, "the key mask");
    }
}
