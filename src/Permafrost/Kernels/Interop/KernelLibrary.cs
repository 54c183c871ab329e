using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Permafrost.Kernels.Interop;

/// <summary>
/// Finds libpermafrost_kernels: $PERMAFROST_NATIVE, beside the program, or under runtimes/ as a package leaves it. A program without it computes with libtorch alone.
/// </summary>
internal static class KernelLibrary
{
    internal const string Name = "permafrost_kernels";

    private const string FileName = "libpermafrost_kernels.so";
    private static readonly Lazy<string?> Found = new(Load);
    private static nint handle;

    /// <summary>The file that was loaded; null where there is none.</summary>
    /// <exception cref="EngineException">There is one, and it cannot be used.</exception>
    internal static string? Path => Found.Value;

    private static string? Load()
    {
        if (!OperatingSystem.IsLinux()) return null;
        string? given = Environment.GetEnvironmentVariable("PERMAFROST_NATIVE");
        string besideProgram = System.IO.Path.Combine(AppContext.BaseDirectory, FileName);
        string inPackage = System.IO.Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native", FileName);
        string[] places = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? [besideProgram, inPackage] : [besideProgram];
        if (given is { Length: > 0 }) places = [given];
        string? file = Array.Find(places, File.Exists);
        if (file is null && given is { Length: > 0 })
            throw new EngineException($"the variable PERMAFROST_NATIVE names {given}, which does not exist: unset it, or build native/ with cmake");
        if (file is null) return null;
        if (!IsWhole(file)) throw new EngineException($"the kernels {file} are cut short or no library: delete the file and start ./permafrost, which rebuilds it");
        try
        {
            handle = NativeLibrary.Load(file);
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            throw new EngineException(
                $"the kernels {file} cannot be loaded ({error.Message.ReplaceLineEndings(" ").Trim().TrimEnd('.')}): " +
                "delete the file and start ./permafrost, which rebuilds it",
                error);
        }
        NativeLibrary.SetDllImportResolver(typeof(KernelLibrary).Assembly, static (name, _, _) => name == Name ? handle : 0);
        if (!NativeLibrary.TryGetExport(handle, "pf_abi_version", out _))
            throw new EngineException($"{file} is not a library of Permafrost's kernels: delete it and start ./permafrost, which rebuilds it");
        int version = NativeMethods.pf_abi_version();
        if (version != NativeMethods.AbiVersion)
            throw new EngineException(
                $"the kernels {file} have interface version {version}, this program needs {NativeMethods.AbiVersion}: start through ./permafrost, which rebuilds them");
        return file;
    }

    // The loader maps even a file that was cut short, and the process crashes when it reads beyond the end. An ELF file's table of sections is its last part.
    private static bool IsWhole(string file)
    {
        Span<byte> header = stackalloc byte[64];
        try
        {
            using FileStream stream = File.OpenRead(file);
            if (stream.ReadAtLeast(header, header.Length, throwOnEndOfStream: false) < header.Length || !header.StartsWith("\u007fELF"u8)) return false;
            ulong table = BinaryPrimitives.ReadUInt64LittleEndian(header[40..]);
            uint bytes = (uint)BinaryPrimitives.ReadUInt16LittleEndian(header[58..]) * BinaryPrimitives.ReadUInt16LittleEndian(header[60..]);
            return table <= (ulong)stream.Length && bytes <= (ulong)stream.Length - table;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new EngineException($"the kernels {file} cannot be read: {error.Message.TrimEnd('.')}", error);
        }
    }
}
