using System.Buffers.Binary;
using System.Text;

namespace Permafrost.Formats.PyTorchPickle;

/// <summary>
/// Reads the pickle of a checkpoint for its tensors. Nothing of it is executed: the few calls that tensors are made of are understood by name (<see cref="PickleCalls"/>), and any
/// other name or instruction is refused. Time and memory grow with the pickle's length alone, and no value is walked through recursively.
/// </summary>
internal ref struct PickleReader
{
    /// <summary>The longest pickle read; that of a model of a thousand tensors has 0.2 MB, since the tensors' bytes are not in it.</summary>
    public const int MostBytes = 16_000_000;

    // What a file of so many bytes could ask for; 20 make a tensor.
    private const int MostInstructions = 2_000_000;
    private const int NewestProtocol = 5;

    private readonly ReadOnlySpan<byte> pickle;
    private readonly string path;
    private readonly List<object?> stack = [];
    private readonly List<int> marks = [];
    private readonly Dictionary<long, object?> memo = [];
    private int at;

    private PickleReader(ReadOnlySpan<byte> pickle, string path)
    {
        this.pickle = pickle;
        this.path = path;
    }

    /// <summary>The value that a pickle stands for.</summary>
    /// <param name="pickle">Its bytes.</param>
    /// <param name="path">The file, for errors.</param>
    /// <exception cref="PermafrostException">It is damaged, or asks for anything but tensors and plain values.</exception>
    public static object? Read(ReadOnlySpan<byte> pickle, string path)
    {
        if (pickle.Length > MostBytes) throw new PermafrostException($"{path}: its pickle has {pickle.Length:N0} bytes, more than the {MostBytes:N0} allowed");
        return new PickleReader(pickle, path).Run();
    }

    private object? Run()
    {
        for (int count = 0; count < MostInstructions; count++)
        {
            var instruction = (PickleOp)Byte();
            if (instruction == PickleOp.Stop) return Pop();
            Follow(instruction);
        }
        throw Malformed($"it has more than {MostInstructions:N0} instructions");
    }

    private void Follow(PickleOp instruction)
    {
        switch (instruction)
        {
            case PickleOp.Protocol: CheckProtocol(Byte()); break;
            case PickleOp.Frame: Bytes(8); break;
            case PickleOp.Mark: marks.Add(stack.Count); break;
            case PickleOp.Pop: DropTop(); break;
            case PickleOp.PopMark: PopMark(); break;
            case PickleOp.Dup: stack.Add(Top()); break;

            case PickleOp.None: stack.Add(null); break;
            case PickleOp.NewTrue: stack.Add(true); break;
            case PickleOp.NewFalse: stack.Add(false); break;
            case PickleOp.BinInt: stack.Add((long)BinaryPrimitives.ReadInt32LittleEndian(Bytes(4))); break;
            case PickleOp.BinInt1: stack.Add((long)Byte()); break;
            case PickleOp.BinInt2: stack.Add((long)BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2))); break;
            case PickleOp.Long1: stack.Add(Long(Bytes(Byte()))); break;
            case PickleOp.BinFloat: stack.Add(BinaryPrimitives.ReadDoubleBigEndian(Bytes(8))); break;
            case PickleOp.ShortBinUnicode: stack.Add(Text(Byte())); break;
            case PickleOp.BinUnicode: stack.Add(Text(U32())); break;
            case PickleOp.BinUnicode8: stack.Add(Text(U64())); break;
            case PickleOp.ShortBinString: stack.Add(Text(Byte())); break;
            case PickleOp.BinString: stack.Add(Text(U32())); break;
            case PickleOp.ShortBinBytes: Skip(Byte()); break;
            case PickleOp.BinBytes: Skip(U32()); break;
            case PickleOp.BinBytes8: Skip(U64()); break;

            case PickleOp.EmptyTuple: stack.Add(new PickleTuple([])); break;
            case PickleOp.Tuple1: MakeTuple(1); break;
            case PickleOp.Tuple2: MakeTuple(2); break;
            case PickleOp.Tuple3: MakeTuple(3); break;
            case PickleOp.Tuple: stack.Add(new PickleTuple(PopMark())); break;
            case PickleOp.EmptyList or PickleOp.EmptySet: stack.Add(PickleOther.Value); break;
            case PickleOp.List or PickleOp.FrozenSet: PopMark(); stack.Add(PickleOther.Value); break;
            case PickleOp.Append: Pop(); Expect<PickleOther>(Top(), "a list"); break;
            case PickleOp.Appends or PickleOp.AddItems: PopMark(); Expect<PickleOther>(Top(), "a list"); break;
            case PickleOp.EmptyDict: stack.Add(new PickleDictionary()); break;
            case PickleOp.Dict: MakeDictionary(); break;
            case PickleOp.SetItem: SetItem(); break;
            case PickleOp.SetItems: SetItems(PopMark()); break;

            case PickleOp.BinPut: memo[Byte()] = Top(); break;
            case PickleOp.LongBinPut: memo[U32()] = Top(); break;
            case PickleOp.Memoize: memo[memo.Count] = Top(); break;
            case PickleOp.BinGet: stack.Add(Remembered(Byte())); break;
            case PickleOp.LongBinGet: stack.Add(Remembered(U32())); break;

            case PickleOp.Global: stack.Add(PickleCalls.Name(path, $"{Line()}.{Line()}")); break;
            case PickleOp.StackGlobal: StackGlobal(); break;
            case PickleOp.BinPersistentId: stack.Add(PickleCalls.Storage(path, Pop())); break;
            case PickleOp.Reduce or PickleOp.NewObject: Call(); break;
            // Attributes of what is on the stack, such as _metadata of a dictionary.
            case PickleOp.Build: Pop(); Top(); break;
            default: throw Malformed($"the instruction 0x{(byte)instruction:x2} at byte {at - 1:N0} is none that tensors need, and may run code");
        }
    }

    private readonly void CheckProtocol(byte protocol)
    {
        if (protocol > NewestProtocol) throw Malformed($"its protocol {protocol} is not known");
    }

    private void Call()
    {
        object? arguments = Pop();
        stack.Add(PickleCalls.Call(path, Pop(), arguments));
    }

    private void StackGlobal()
    {
        object? name = Pop();
        stack.Add(PickleCalls.Name(path, $"{Expect<string>(Pop(), "a module's name")}.{Expect<string>(name, "a name")}"));
    }

    private void MakeTuple(int count)
    {
        if (stack.Count - Floor < count) throw Empty();
        object?[] items = [.. stack.GetRange(stack.Count - count, count)];
        stack.RemoveRange(stack.Count - count, count);
        stack.Add(new PickleTuple(items));
    }

    private void MakeDictionary()
    {
        object?[] items = PopMark();
        stack.Add(new PickleDictionary());
        SetItems(items);
    }

    private void SetItem()
    {
        object? value = Pop();
        SetItems([Pop(), value]);
    }

    private readonly void SetItems(object?[] items)
    {
        if (items.Length % 2 != 0) throw Malformed("a dictionary has a key without a value");
        PickleDictionary dictionary = Expect<PickleDictionary>(Top(), "a dictionary");
        for (int i = 0; i < items.Length; i += 2)
            if (items[i] is string key) dictionary.Entries[key] = items[i + 1];
    }

    // Values below a mark are not to be taken before the mark is.
    private readonly int Floor => marks.Count == 0 ? 0 : marks[^1];

    private readonly object? Top() => stack.Count > Floor ? stack[^1] : throw Empty();

    private object? Pop()
    {
        object? top = Top();
        stack.RemoveAt(stack.Count - 1);
        return top;
    }

    // As in Python: a mark that is the topmost goes itself.
    private void DropTop()
    {
        if (marks.Count > 0 && marks[^1] == stack.Count) marks.RemoveAt(marks.Count - 1);
        else Pop();
    }

    private object?[] PopMark()
    {
        if (marks.Count == 0) throw Malformed("values are taken that were never put down");
        int mark = marks[^1];
        marks.RemoveAt(marks.Count - 1);
        object?[] items = [.. stack.GetRange(mark, stack.Count - mark)];
        stack.RemoveRange(mark, items.Length);
        return items;
    }

    private readonly object? Remembered(long key) => memo.TryGetValue(key, out object? value) ? value : throw Malformed($"it refers to the value {key}, which it never had");

    private readonly T Expect<T>(object? value, string what) where T : class => value as T ?? throw Malformed($"it has something else where {what} belongs");

    private byte Byte() => Bytes(1)[0];

    private long U32() => BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4));

    private long U64() => BinaryPrimitives.ReadInt64LittleEndian(Bytes(8));

    private void Skip(long count)
    {
        Bytes(count);
        stack.Add(PickleOther.Value);
    }

    private string Text(long count) => Encoding.UTF8.GetString(Bytes(count));

    private string Line()
    {
        int end = pickle[at..].IndexOf((byte)'\n');
        return end < 0 ? throw Truncated() : Encoding.UTF8.GetString(Bytes(end + 1)[..end]);
    }

    private ReadOnlySpan<byte> Bytes(long count)
    {
        if (count < 0 || count > pickle.Length - at) throw Truncated();
        ReadOnlySpan<byte> bytes = pickle.Slice(at, (int)count);
        at += (int)count;
        return bytes;
    }

    // Two's complement, of as many bytes as it takes. Longer numbers are some other thing's, such as a random state's.
    private static object Long(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > 8) return PickleOther.Value;
        long value = bytes.Length > 0 && bytes[^1] >= 0x80 ? -1 : 0;
        for (int i = bytes.Length - 1; i >= 0; i--) value = value << 8 | bytes[i];
        return value;
    }

    private readonly PermafrostException Empty() => Malformed("values are taken that were never put down");

    private readonly PermafrostException Truncated() => Malformed("it ends in the middle: the file is truncated");

    private readonly PermafrostException Malformed(string what) => new($"{path}: its pickle cannot be read: {what}");
}
