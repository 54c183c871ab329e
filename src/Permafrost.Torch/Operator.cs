using System.Buffers;
using System.Text;
using Permafrost.Torch.Interop;

namespace Permafrost.Torch;

/// <summary>
/// One operator of libtorch's dispatcher, looked up on first use: <c>new Operator("aten::add", "Tensor")</c>. Any operator can be called, with
/// autograd, on any device; missing trailing arguments take the schema's defaults. libtorch's native_functions.yaml lists names and schemas.
/// </summary>
/// <param name="name">The name with its namespace, such as <c>aten::addmm</c>.</param>
/// <param name="overload">The overload's name, such as <c>Tensor</c>; empty for the unnamed one.</param>
public sealed unsafe class Operator(string name, string overload = "")
{
    private nint handle;

    /// <summary>Name and overload, as in error messages.</summary>
    public string Name { get; } = overload.Length == 0 ? name : $"{name}.{overload}";

    /// <summary>Whether this libtorch has the operator.</summary>
    public bool Exists
    {
        get
        {
            Engine.EnsureLoaded();
            return handle != 0 || NativeMethods.pf_operator_find(name, overload, out handle) == 0;
        }
    }

    /// <summary>Calls the operator, whose result is one tensor.</summary>
    /// <exception cref="TorchException">The operator does not exist or refuses the arguments.</exception>
    public Tensor Call(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue* results = stackalloc NativeValue[1];
        Invoke(arguments, results, 1);
        return Take(results[0]);
    }

    /// <summary>Calls an operator with two tensors as its result.</summary>
    /// <exception cref="TorchException">The operator does not exist or refuses the arguments.</exception>
    public (Tensor First, Tensor Second) CallPair(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue* results = stackalloc NativeValue[2];
        Invoke(arguments, results, 2);
        Tensor first = TakeOrRelease(results[0], results[1]);
        return (first, Take(results[1]));
    }

    /// <summary>Calls an operator whose result is a list of tensors.</summary>
    /// <exception cref="TorchException">The operator does not exist or refuses the arguments.</exception>
    public Tensor[] CallList(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue* results = stackalloc NativeValue[1];
        Invoke(arguments, results, 1);
        if (results[0].Kind != NativeKind.TensorList)
        {
            Release(results[0]);
            throw new TorchException(Name, "does not return a list of tensors");
        }
        var tensors = new Tensor[results[0].Length];
        var handles = (nint*)results[0].Pointer;
        for (int i = 0; i < tensors.Length; i++) tensors[i] = new Tensor(handles[i]);
        NativeMethods.pf_list_free(results[0].Pointer);
        return tensors;
    }

    /// <summary>Calls an operator whose result is a whole number or a flag.</summary>
    /// <exception cref="TorchException">The operator does not exist or refuses the arguments.</exception>
    public long CallNumber(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue* results = stackalloc NativeValue[1];
        Invoke(arguments, results, 1);
        if (results[0].Kind is NativeKind.Int or NativeKind.Bool) return results[0].Int;
        Release(results[0]);
        throw new TorchException(Name, $"returned {results[0].Kind} where a number was expected");
    }

    /// <summary>Calls an operator whose result is text.</summary>
    /// <exception cref="TorchException">The operator does not exist or refuses the arguments.</exception>
    public string CallText(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue* results = stackalloc NativeValue[1];
        Invoke(arguments, results, 1);
        string? text = results[0].Kind == NativeKind.String ? Encoding.UTF8.GetString((byte*)results[0].Pointer, results[0].Length) : null;
        Release(results[0]);
        return text ?? throw new TorchException(Name, $"returned {results[0].Kind} where text was expected");
    }

    /// <summary>Calls the operator for its effect and drops its results: in-place operators, mostly.</summary>
    /// <exception cref="TorchException">The operator does not exist or refuses the arguments.</exception>
    public void Run(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue* results = stackalloc NativeValue[1];
        Invoke(arguments, results, 0);
    }

    private Tensor Take(in NativeValue value)
    {
        if (value.Kind == NativeKind.Tensor && value.Pointer != 0) return new Tensor(value.Pointer);
        Release(value);
        throw new TorchException(Name, $"returned {value.Kind} where a tensor was expected");
    }

    private Tensor TakeOrRelease(in NativeValue value, in NativeValue other)
    {
        try
        {
            return Take(value);
        }
        catch (TorchException)
        {
            Release(other);
            throw;
        }
    }

    private static void Release(in NativeValue value)
    {
        if (value.Kind == NativeKind.Tensor && value.Pointer != 0) NativeMethods.pf_tensor_free(value.Pointer);
        if (value.Kind == NativeKind.String) NativeMethods.pf_list_free(value.Pointer);
        if (value.Kind != NativeKind.TensorList) return;
        for (int i = 0; i < value.Length; i++) NativeMethods.pf_tensor_free(((nint*)value.Pointer)[i]);
        NativeMethods.pf_list_free(value.Pointer);
    }

    private void Invoke(ReadOnlySpan<Argument> arguments, NativeValue* results, int capacity)
    {
        if (handle == 0)
        {
            Engine.EnsureLoaded();
            NativeMethods.Check(NativeMethods.pf_operator_find(name, overload, out handle), Name);
        }
        // Lists and texts are copied side by side into one scratch block, so that nothing needs pinning.
        int words = 0;
        foreach (ref readonly Argument argument in arguments) words += ScratchWords(argument);
        const int StackWords = 128;
        long[]? rented = words > StackWords ? ArrayPool<long>.Shared.Rent(words) : null;
        long* stack = stackalloc long[StackWords];
        fixed (long* heap = rented)
        {
            long* scratch = rented is null ? stack : heap;
            NativeValue* values = stackalloc NativeValue[arguments.Length];
            for (int i = 0; i < arguments.Length; i++) values[i] = Convert(arguments[i], ref scratch);
            int produced;
            int status = NativeMethods.pf_operator_call(handle, values, arguments.Length, results, capacity, &produced);
            foreach (ref readonly Argument argument in arguments) GC.KeepAlive(argument.Reference);
            if (rented is not null) ArrayPool<long>.Shared.Return(rented);
            if (status != 0)
            {
                TorchException failure = TorchException.FromNativeCall(Name);
                for (int i = 0; i < produced; i++) Release(results[i]);
                throw failure;
            }
            if (produced >= capacity) return;
            for (int i = 0; i < produced; i++) Release(results[i]);
            throw new TorchException(Name, $"returned {produced} results where {capacity} were expected");
        }
    }

    private static int ScratchWords(in Argument argument) => argument.Reference switch
    {
        long[] list => list.Length,
        double[] list => list.Length,
        Tensor[] list => list.Length,
        string text => Encoding.UTF8.GetMaxByteCount(text.Length) / sizeof(long) + 1,
        _ => 0,
    };

    private static NativeValue Convert(in Argument argument, ref long* scratch)
    {
        var value = new NativeValue { Kind = argument.Kind, Int = argument.Bits };
        switch (argument.Reference)
        {
            case Tensor tensor:
                value.Pointer = tensor.Handle;
                break;
            case RandomState random:
                value.Pointer = random.Handle;
                break;
            case long[] list:
                value.Pointer = (nint)scratch;
                value.Length = list.Length;
                foreach (long item in list) *scratch++ = item;
                break;
            case double[] list:
                value.Pointer = (nint)scratch;
                value.Length = list.Length;
                foreach (double item in list) *scratch++ = BitConverter.DoubleToInt64Bits(item);
                break;
            case Tensor?[] list:
                value.Pointer = (nint)scratch;
                value.Length = list.Length;
                foreach (Tensor? item in list) *scratch++ = item?.Handle ?? 0;
                break;
            case string text:
                int room = Encoding.UTF8.GetMaxByteCount(text.Length);
                value.Pointer = (nint)scratch;
                value.Length = Encoding.UTF8.GetBytes(text, new Span<byte>(scratch, room));
                scratch += room / sizeof(long) + 1;
                break;
        }
        return value;
    }
}
