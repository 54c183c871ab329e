using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Permafrost.Kernels.Interop;

namespace Permafrost.Kernels;

/// <summary>
/// Memory for weights and for what kernels write. A training step asks for the same few hundred large pieces again and again; left to the C library, whose heap does not find
/// an aligned piece's hole again, they scatter, or are mapped and cleared anew each time. Here a freed piece is kept for the next of its size, and all of them together
/// are never more than a little above the most that was in use at once.
/// </summary>
internal static unsafe class Workspace
{
    // In bytes; smaller pieces are left to the C library, which is quick enough with them.
    private const long Smallest = 16 << 10;
    private const long MostSlack = 16 << 20;
    private const long SlabBytes = 64 << 20;

    private static readonly Lock Gate = new();
    private static readonly Dictionary<nint, long> Used = [];
    private static readonly LinkedList<(nint Address, long Size)> Free = [];  // the longest unused one first
    private static long usedBytes, freeBytes, mostBytes;
    private static nint slab;
    private static long slabLeft;

    /// <summary>Uninitialised memory as a tensor; it comes back when nothing holds the tensor any more.</summary>
    public static Tensor Empty(long[] shape, ScalarType type = ScalarType.Float32)
    {
        long bytes = type.ElementBytes();
        foreach (long size in shape) bytes *= size;
        if (bytes < Smallest || !OperatingSystem.IsLinux()) return torch.empty(shape, type);
        nint address = Take(bytes);
        try
        {
            return NativeMethods.TensorOver((byte*)address, shape, type, &GiveBack);
        }
        catch
        {
            Return(address);
            throw;
        }
    }

    /// <summary>Gives the memory that is kept for later back to the system.</summary>
    public static void Trim()
    {
        lock (Gate)
        {
            mostBytes = usedBytes;
            while (Free.First is not null) Release(Free.First);
        }
    }

    private static nint Take(long bytes)
    {
        lock (Gate)
        {
            LinkedListNode<(nint Address, long Size)>? best = null;
            for (LinkedListNode<(nint Address, long Size)>? node = Free.First; node is not null; node = node.Next)
            {
                long size = node.Value.Size;
                if (size >= bytes && size <= bytes + bytes / 4 && (best is null || size < best.Value.Size)) best = node;
            }
            if (best is not null)
            {
                Free.Remove(best);
                freeBytes -= best.Value.Size;
                return Use(best.Value.Address, best.Value.Size);
            }
            long rounded = (bytes + 4095) / 4096 * 4096;
            mostBytes = Math.Max(mostBytes, usedBytes + rounded);
            while (Free.First is not null && usedBytes + freeBytes + rounded > mostBytes + Math.Min(MostSlack, mostBytes / 2)) Release(Free.First);
            return Use(Carve(rounded), rounded);
        }
    }

    // Pieces lie side by side in large mappings, so that the system can back them with pages of 2 MB: reading weights is bound by memory, and by the search for small pages.
    // Each piece is unmapped by itself.
    private static nint Carve(long bytes)
    {
        if (slabLeft < bytes && !NewSlab(Math.Max(bytes, SlabBytes))) return NativeMethods.MapMemory(bytes);
        nint piece = slab;
        slab += (nint)bytes;
        slabLeft -= bytes;
        return piece;
    }

    // False where the system has no such stretch left; it may have room for the piece alone.
    private static bool NewSlab(long bytes)
    {
        nint memory;
        try
        {
            memory = NativeMethods.MapMemory(bytes);
        }
        catch (InsufficientMemoryException)
        {
            return false;
        }
        if (slabLeft > 0) NativeMethods.UnmapMemory(slab, slabLeft);
        ResidentPages.PreferLarge(memory, bytes);
        (slab, slabLeft) = (memory, bytes);
        return true;
    }

    private static nint Use(nint address, long size)
    {
        Used.Add(address, size);
        usedBytes += size;
        mostBytes = Math.Max(mostBytes, usedBytes);
        return address;
    }

    private static void Return(nint address)
    {
        lock (Gate)
        {
            if (!Used.Remove(address, out long size)) return;
            usedBytes -= size;
            freeBytes += size;
            Free.AddLast((address, size));
        }
    }

    private static void Release(LinkedListNode<(nint Address, long Size)> node)
    {
        Free.Remove(node);
        freeBytes -= node.Value.Size;
        NativeMethods.UnmapMemory(node.Value.Address, node.Value.Size);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void GiveBack(nint memory) => Return(memory);
}
