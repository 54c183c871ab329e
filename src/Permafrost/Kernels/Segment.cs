using System.Runtime.InteropServices;

namespace Permafrost.Kernels;

/// <summary>
/// A stretch of a model that is one function to libtorch's autograd, however many layers it has: inside it the kernels record and compute the gradient themselves, since a managed
/// autograd function costs as much as several kernels. Where there are no kernels (on a GPU, on another platform), a segment just calls its body.
/// </summary>
/// <example><code>
/// Tensor hidden = Segment.Run(stream => block2.Forward(block1.Forward(stream)), embedded);
/// </code></example>
public static class Segment
{
    /// <summary>Runs <paramref name="body"/>; inside another segment it is part of that one.</summary>
    /// <param name="body">Layers of <c>Permafrost.Nn</c>; other operators inside <see cref="Compose"/>.</param>
    /// <param name="input">The tensor given to <paramref name="body"/>.</param>
    /// <exception cref="EngineException">A layer was given the result of an operator outside the layers, whose gradient would be lost.</exception>
    public static Tensor Run(Func<Tensor, Tensor> body, Tensor input) => Run(inputs => [body(inputs[0]!)], [input])[0];

    /// <summary>Runs <paramref name="body"/> on several tensors, some of which may be null.</summary>
    /// <param name="body">Layers of <c>Permafrost.Nn</c>; other operators inside <see cref="Compose"/>.</param>
    /// <param name="inputs">The tensors given to <paramref name="body"/>.</param>
    /// <exception cref="EngineException">A layer was given the result of an operator outside the layers, whose gradient would be lost.</exception>
    public static Tensor[] Run(Func<Tensor?[], Tensor[]> body, params Tensor?[] inputs)
    {
        if (Tape.Current is not null || !torch.is_grad_enabled() || !KernelSet.Enabled || inputs.Any(input => input is not null && !input.IsOnCpu())) return body(inputs);
        return OnTape(body, inputs);
    }

    /// <summary>
    /// Keeps only what flows into <paramref name="body"/> and out of it, and runs it again when its gradient is wanted (Chen et al. 2016): less memory, a third more time, the same
    /// bits.
    /// </summary>
    /// <param name="body">What to compute; it must give the same for the same inputs and weights.</param>
    /// <param name="inputs">The tensors given to <paramref name="body"/>; some may be null.</param>
    public static Tensor[] Checkpoint(Func<Tensor?[], Tensor[]> body, params Tensor?[] inputs)
    {
        if (!torch.is_grad_enabled() || !inputs.Any(input => input is { requires_grad: true })) return body(inputs);
        return Tape.Current is { } tape ? Checkpoint(tape, body, inputs) : OnTape(inner => Checkpoint(Tape.Current!, body, inner), inputs);
    }

    /// <summary>Runs operators of TorchSharp inside a segment; libtorch's autograd computes their gradient. Outside a segment it just calls them.</summary>
    /// <param name="function">The operators; parameters that it reads beside its inputs get their gradients too.</param>
    /// <param name="inputs">Everything it computes on that layers of the segment have computed.</param>
    public static Tensor Compose(Func<Tensor[], Tensor> function, params Tensor[] inputs)
    {
        if (Tape.Current is not { } tape)
        {
            Tensor plain = function(inputs);
            GC.KeepAlive(inputs);  // TorchSharp does not hold what it reads
            return plain;
        }
        bool[] wanted = [.. inputs.Select(input => tape.Wants(input))];
        Tensor[] leaves = [.. inputs.Select((input, i) => wanted[i] ? input.detach().requires_grad_(true) : input)];
        Tensor output = Tape.Outside(() => function(leaves));
        GC.KeepAlive(leaves);
        if (!output.requires_grad) return output;
        Tensor result = tape.Result(output.detach());
        tape.Own(output);
        for (int i = 0; i < leaves.Length; i++) if (wanted[i]) tape.Own(leaves[i]);
        tape.Add(() =>
        {
            if (tape.Take(result) is not { } gradient) return;
            torch.autograd.backward(output, gradient);
            for (int i = 0; i < leaves.Length; i++)
                if (wanted[i] && leaves[i].grad is { } part) tape.GiveShared(inputs[i], part);
        });
        return result;
    }

    /// <summary>
    /// <see cref="Compose"/> for a kernel's twin. TorchSharp's operators do not hold the tensors that they read: the collector could free one that nobody else holds amid
    /// the call. So what the twin makes on its way stays in a scope until it is done, and its inputs and whatever the function captures stay as long.
    /// </summary>
    /// <param name="function">The twin; it makes a new tensor, and keeps none.</param>
    /// <param name="inputs">As for <see cref="Compose"/>.</param>
    internal static Tensor ComposeTwin(Func<Tensor[], Tensor> function, params Tensor[] inputs) => Compose(given =>
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor output = function(given);
        scope.MoveToOuter(output);
        GC.KeepAlive(given);
        GC.KeepAlive(function);
        return output;
    }, inputs);

    /// <summary>Computes the gradients of a loss, as its own <c>backward</c> does; an exception inside a segment is thrown unchanged.</summary>
    public static void Backward(Tensor loss)
    {
        try
        {
            loss.backward();
        }
        catch (ExternalException)
        {
            SegmentFunction.Rethrow();
            throw;
        }
    }

    /// <summary>
    /// Computes a loss and, where it is finite, adds its gradients to those of the parameters, as <c>backward</c> of the loss would, but without a function of libtorch's autograd,
    /// whose cost shows in a small step.
    /// </summary>
    /// <param name="loss">Computes a loss of one number, from layers of <c>Permafrost.Nn</c>; other operators inside <see cref="Compose"/>.</param>
    /// <param name="device">The device that the loss is computed on.</param>
    /// <returns>The loss.</returns>
    /// <exception cref="EngineException">The loss was computed by operators outside the layers.</exception>
    public static double AddGradients(Func<Tensor> loss, Device device)
    {
        if (Tape.Current is not null || !torch.is_grad_enabled() || !KernelSet.Enabled || !device.IsCpu())
        {
            Tensor plain = loss();
            double number = plain.Number();
            if (double.IsFinite(number)) Backward(plain);
            return number;
        }
        var tape = new Tape();
        try
        {
            Tensor result = null!;
            tape.Record(() =>
            {
                result = loss();
                tape.Wants(result);  // throws where it was computed outside the tape
            });
            double value = result.Number();
            if (!double.IsFinite(value)) return value;
            Tensor?[] gradients = tape.Backward([(result, torch.ones_like(result))]);
            for (int i = 0; i < gradients.Length; i++) if (gradients[i] is { } gradient) AddTo(tape.Leaves[i], gradient);
            return value;
        }
        finally
        {
            tape.Release();
        }
    }

    private static void AddTo(Tensor parameter, Tensor gradient)
    {
        using var noGrad = torch.no_grad();
        if (parameter.grad is { } sum) Elementwise.AddTo(sum, gradient);
        else parameter.grad = gradient;
    }

    private static Tensor[] OnTape(Func<Tensor?[], Tensor[]> body, Tensor?[] inputs)
    {
        var tape = new Tape();
        var outer = new List<Tensor>();  // the inputs that the leaves stand for
        var inner = new Tensor?[inputs.Length];
        for (int i = 0; i < inputs.Length; i++)
        {
            inner[i] = inputs[i];
            if (inputs[i] is not { requires_grad: true } input) continue;
            Tensor leaf = input.detach().requires_grad_(true);
            inner[i] = leaf;
            tape.AddInput(leaf);
            outer.Add(input);
        }
        Tensor[] outputs = [];
        try
        {
            tape.Record(() =>
            {
                outputs = body(inner);
                foreach (Tensor output in outputs) tape.Wants(output);  // throws where it was computed outside the tape
            });
        }
        catch
        {
            tape.Release();
            throw;
        }
        if (tape.IsEmpty) return [.. outputs.Select(output => Array.FindIndex(inner, other => ReferenceEquals(other, output)) is >= 0 and var i ? inputs[i]! : output)];
        for (int i = outer.Count; i < tape.Leaves.Count; i++) outer.Add(tape.Leaves[i]);
        return SegmentFunction.Apply(tape, outer, outputs);
    }

    private static Tensor[] Checkpoint(Tape tape, Func<Tensor?[], Tensor[]> body, Tensor?[] inputs)
    {
        bool[] wanted = [.. inputs.Select(input => tape.Wants(input))];
        Tensor[] outputs;
        using (torch.no_grad()) outputs = body(inputs);
        Tensor[] results = [.. outputs.Select(output => tape.Result(inputs.Any(input => ReferenceEquals(input, output)) ? output.detach() : output))];
        Tensor?[] held = [.. inputs.Select(input => input is null ? null : tape.Hold(input))];
        tape.Add(() =>
        {
            Tensor?[] given = [.. results.Select(tape.Take)];
            if (given.All(gradient => gradient is null)) return;
            Tensor?[] leaves = [.. held.Select((input, i) => wanted[i] ? input!.detach().requires_grad_(true) : input)];
            using var grad = torch.enable_grad();
            Tensor[] again = Run(body, leaves);
            int[] reached = [.. Enumerable.Range(0, again.Length).Where(i => given[i] is not null && again[i].requires_grad)];
            torch.autograd.backward([.. reached.Select(i => again[i])], [.. reached.Select(i => given[i]!)]);
            for (int i = 0; i < leaves.Length; i++)
                if (wanted[i] && leaves[i]!.grad is { } part) tape.GiveShared(inputs[i]!, part);
        });
        return results;
    }
}
