using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

/// <summary>
/// Activation checkpointing (Chen et al. 2016): a segment of a model keeps only its inputs and is computed again when its gradient is wanted, with the
/// same random numbers. Results are the same bits; the memory of a step falls, its time rises by about a third.
/// </summary>
public static unsafe class Checkpointing
{
    /// <summary>A stretch of a model with a residual stream: from stream and update (null at the start) to the next ones.</summary>
    /// <param name="stream">The residual stream.</param>
    /// <param name="update">What is to be added to it.</param>
    /// <param name="constants">As they were given to <see cref="Run"/>.</param>
    public delegate (Tensor Stream, Tensor Update) Segment(Tensor stream, Tensor? update, Tensor?[] constants);

    private sealed record Held(Segment Segment, Tensor?[] Constants);

    /// <summary>Runs a segment; a gradient runs it again.</summary>
    /// <param name="segment">What to compute; it must give the same for the same inputs, weights and random numbers.</param>
    /// <param name="stream">The residual stream.</param>
    /// <param name="update">What is to be added to it; null at the start.</param>
    /// <param name="constants">Other tensors that the segment reads, such as masks; kept for its second run, which comes after the scopes of the first.</param>
    public static (Tensor Stream, Tensor Update) Run(Segment segment, Tensor stream, Tensor? update, params Tensor?[] constants)
    {
        Engine.EnsureLoaded();
        nint* results = stackalloc nint[2];
        // The native side lets go of the handle, also when the call fails.
        var held = new Held(segment, [.. constants.Select(tensor => tensor is null ? null : TensorScope.Detach(tensor.Alias()))]);
        nint state = GCHandle.ToIntPtr(GCHandle.Alloc(held));
        int status = NativeMethods.pf_checkpoint(&RunSegment, &Release, state, stream.Handle, update?.Handle ?? 0, results);
        GC.KeepAlive(stream);
        GC.KeepAlive(update);
        NativeMethods.Check(status, "checkpoint");
        return (new Tensor(results[0]), new Tensor(results[1]));
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int RunSegment(nint state, nint stream, nint update, nint* outputs)
    {
        try
        {
            using var scope = new TensorScope();
            Tensor first = new(stream);
            Tensor? second = update == 0 ? null : new Tensor(update);
            var held = (Held)GCHandle.FromIntPtr(state).Target!;
            (Tensor nextStream, Tensor nextUpdate) = held.Segment(first, second, held.Constants);
            // Aliases, whose handles the native side frees; the scope frees the segment's own.
            (Tensor one, Tensor two) = (nextStream.Alias(), nextUpdate.Alias());
            (outputs[0], outputs[1]) = (one.Release(), two.Release());
            return 0;
        }
        catch (Exception error)
        {
            // An exception must not cross native frames; its message does.
            fixed (byte* message = Encoding.UTF8.GetBytes(error.Message + "\0")) NativeMethods.pf_error_set(message);
            return 1;
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Release(nint state)
    {
        var handle = GCHandle.FromIntPtr(state);
        foreach (Tensor? tensor in ((Held)handle.Target!).Constants) tensor?.Dispose();
        handle.Free();
    }
}
