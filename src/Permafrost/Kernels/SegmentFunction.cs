using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace Permafrost.Kernels;

/// <summary>A recorded segment as one function of libtorch's autograd.</summary>
internal sealed class SegmentFunction : torch.autograd.MultiTensorFunction<SegmentFunction>
{
    private sealed class Call(Tape tape, List<Tensor> inputs, Tensor[] outputs)
    {
        public Tape Tape { get; } = tape;
        public List<Tensor> Inputs { get; } = inputs;
        public Tensor[] Outputs { get; } = outputs;
        public bool Spent { get; set; }
        public StrongBox<Exception?> Failure { get; } = failure ??= new StrongBox<Exception?>();

        // Kept alive here, since libtorch reads the returned gradients after the managed side has let go of them.
        public List<Tensor>? Returned { get; set; }
    }

    // Belongs to the thread that ran the forward pass; a backward pass on a GPU has threads of its own.
    [ThreadStatic] private static StrongBox<Exception?>? failure;

    private static long undefined;

    /// <summary>The number of undefined gradients so far: TorchSharp counts each as a tensor, and never takes it off the count.</summary>
    public static long Undefined => Interlocked.Read(ref undefined);

    /// <inheritdoc/>
    public override string Name => "permafrost::segment";

    /// <summary>The outputs, connected to the inputs.</summary>
    public static Tensor[] Apply(Tape tape, List<Tensor> inputs, Tensor[] outputs)
    {
        object[] arguments = [new Call(tape, inputs, outputs), .. inputs];
        // Parameters that only composed operators read get their gradients from those; something must want one for them to run.
        if (inputs.Count == 0) arguments = [.. arguments, torch.zeros(1, requires_grad: true)];
        return [.. apply(arguments)];
    }

    /// <summary>Throws the exception of the last backward pass, if there was one, in place of what libtorch made of it.</summary>
    public static void Rethrow()
    {
        Exception? error = failure?.Value;
        if (error is null) return;
        failure!.Value = null;
        ExceptionDispatchInfo.Throw(error);
    }

    /// <inheritdoc/>
    public override List<Tensor> forward(torch.autograd.AutogradContext context, params object[] vars)
    {
        var call = (Call)vars[0];
        context.save_data("call", call);
        context.save_data("count", vars.Length);
        context.set_materialize_grads(false);
        // Other tensors over the same memory: what the tape holds must not lead back to this function, or neither would ever be freed.
        return [.. call.Outputs.Select(output => output.detach())];
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(torch.autograd.AutogradContext context, List<Tensor> gradients)
    {
        var call = (Call)context.get_data("call");
        int count = (int)context.get_data("count");
        Interlocked.Add(ref undefined, gradients.Count(gradient => gradient.IsInvalid));
        try
        {
            if (call.Spent)
                throw new EngineException("a gradient was asked for twice; what a segment keeps for it is freed by the first time, so run the forward pass again");
            call.Spent = true;
            Tensor?[] found = call.Tape.Backward(Enumerable.Range(0, gradients.Count).Where(i => !gradients[i].IsInvalid).Select(i => (call.Outputs[i], gradients[i])));
            var result = new List<Tensor> { null! };
            result.AddRange(found!);
            while (result.Count < count) result.Add(null!);
            call.Returned = result;
            return result;
        }
        catch (Exception error)
        {
            // An exception must not cross libtorch's frames. A gradient of an impossible shape makes libtorch throw one of its own.
            call.Failure.Value = error;
            List<Tensor> wrong = [null!, .. Enumerable.Range(1, count - 1).Select(_ => torch.zeros([1, 2, 3, 5, 7, 11]))];
            call.Returned = wrong;
            return wrong;
        }
    }
}
