using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using Permafrost.Kernels;

namespace Permafrost.Formats.Safetensors;

/// <summary>
/// Reads one .safetensors file through a memory map: 8 bytes of header length (little-endian), a JSON header, then the tensors' raw bytes
/// (https://github.com/huggingface/safetensors, README "Format"). The file is treated as hostile: every length, type and offset is checked
/// before any tensor is made.
/// </summary>
public sealed class SafetensorsFile : IDisposable
{
    /// <summary>The longest header accepted, as in the reference implementation.</summary>
    public const long MaxHeaderBytes = 100_000_000;

    /// <summary>The most dimensions a tensor may have.</summary>
    public const int MaxDimensions = 16;

    private readonly MappedFile file;
    private readonly long dataStart;
    private readonly Dictionary<string, SafetensorsEntry> entries = [];
    private readonly Dictionary<string, string> metadata = [];

    /// <summary>Opens a file and checks its header.</summary>
    /// <exception cref="PermafrostException">The file is missing, unreadable, truncated or malformed.</exception>
    public SafetensorsFile(string path)
    {
        file = new MappedFile(path);
        try
        {
            long length = file.Length;
            if (length < 8) throw Malformed($"it has {length} bytes, too few for a header");
            ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(file.Span(0, 8));
            if (WrongContent.IsText(file.Span(0, 8))) throw new PermafrostException($"{path} is {WrongContent.TextForWeights}");
            if (headerBytes > MaxHeaderBytes) throw Malformed($"its header claims {headerBytes:N0} bytes, more than the {MaxHeaderBytes:N0} allowed");
            if ((long)headerBytes > length - 8) throw Malformed($"its header claims {headerBytes:N0} bytes, but only {length - 8:N0} follow: the file is truncated");
            dataStart = 8 + (long)headerBytes;
            ParseHeader(file.Span(8, (int)headerBytes));
            CheckLayout(length - dataStart);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The file's path, as it was given.</summary>
    public string Path => file.Path;

    /// <summary>Length and time of the file that was opened.</summary>
    internal FileStamp Stamp => file.Stamp;

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, SafetensorsEntry> Entries => entries;

    /// <summary>The header's <c>__metadata__</c>; empty when there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata => metadata;

    /// <summary>A copy of one tensor, on the CPU.</summary>
    /// <exception cref="PermafrostException">There is no such tensor, or its type cannot be read.</exception>
    public Tensor Read(string name) => Make(name, copy: true);

    /// <summary>
    /// One tensor over the mapped file itself, on the CPU, only to be read, and only until <see cref="Dispose"/>; copy what is needed longer.
    /// A copy, where the file puts its elements at odd addresses.
    /// </summary>
    /// <exception cref="PermafrostException">There is no such tensor, or its type cannot be read.</exception>
    public Tensor View(string name) => Make(name, copy: false);

    /// <summary>The rows of a float32 matrix, to be read one by one; null where it is another kind of tensor.</summary>
    internal MatrixRows? OpenRows(string name)
    {
        SafetensorsEntry entry = entries[name];
        return entry.ElementType == ScalarType.Float32 && entry.Shape.Length == 2 ? new MatrixRows(Path, dataStart + entry.Begin, entry.Shape[0], entry.Shape[1]) : null;
    }

    /// <summary>Lets go of the memory that a tensor of the file was read into; it is read again where it is looked at again.</summary>
    internal void Release(string name) => file.Release(dataStart + entries[name].Begin, entries[name].End - entries[name].Begin);

    /// <summary>Whether a tensor's memory is the mapped file's.</summary>
    public bool Holds(Tensor tensor) => file.Holds(tensor);

    private Tensor Make(string name, bool copy)
    {
        if (!entries.TryGetValue(name, out SafetensorsEntry? entry)) throw new PermafrostException($"{Path} has no tensor '{name}'; it has {Some(entries.Keys)}");
        if (entry.ElementType is not { } dtype)
            throw new PermafrostException($"{Path}: the tensor '{name}' has the type {entry.Type}, which cannot be read; convert it to F32, F16 or BF16");
        (long at, long bytes) = (dataStart + entry.Begin, entry.End - entry.Begin);
        try
        {
            return copy ? file.Read(at, bytes, entry.Shape, dtype) : file.View(at, bytes, entry.Shape, dtype);
        }
        catch (Exception error) when (bytes == 0 && error is ExternalException or OverflowException or ArgumentException)
        {
            throw Malformed($"the tensor '{name}' is empty, but of a shape that cannot be held, {TensorExtensions.FormatShape(entry.Shape)} ({error.Message})");
        }
    }

    /// <summary>Unmaps the file; tensors that were read stay.</summary>
    public void Dispose() => file.Dispose();

    internal static string Some(IEnumerable<string> names)
    {
        string[] first = [.. names.Order(StringComparer.Ordinal).Take(7)];
        return first.Length == 0 ? "none" : string.Join(", ", first.Take(6)) + (first.Length > 6 ? ", ..." : "");
    }

    private PermafrostException Malformed(string what) => new($"{Path} is not a valid safetensors file: {what}");

    private void ParseHeader(ReadOnlySpan<byte> json)
    {
        try
        {
            var reader = new Utf8JsonReader(json);
            using JsonDocument document = JsonDocument.ParseValue(ref reader);
            while (reader.Read()) { }
            if (document.RootElement.ValueKind != JsonValueKind.Object) throw Malformed("its header is not a JSON object");
            foreach (JsonProperty property in document.RootElement.EnumerateObject())
            {
                if (property.Name == "__metadata__") ParseMetadata(property.Value);
                else if (!entries.TryAdd(property.Name, ParseEntry(property.Name, property.Value))) throw Malformed($"the tensor '{property.Name}' is listed twice");
            }
        }
        catch (JsonException error)
        {
            throw Malformed($"its header is not valid JSON ({JsonFile.Reason(error)})");
        }
        catch (InvalidOperationException)
        {
            throw Malformed("its header holds text that is not valid UTF-8");
        }
    }

    private void ParseMetadata(JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object) throw Malformed("its __metadata__ is not an object");
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (property.Value.ValueKind != JsonValueKind.String) throw Malformed($"its __metadata__ entry '{property.Name}' is not a text");
            metadata[property.Name] = property.Value.GetString()!;
        }
    }

    private SafetensorsEntry ParseEntry(string name, JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty("dtype", out JsonElement type) || type.ValueKind != JsonValueKind.String
            || !element.TryGetProperty("shape", out JsonElement shape) || shape.ValueKind != JsonValueKind.Array
            || !element.TryGetProperty("data_offsets", out JsonElement offsets) || offsets.ValueKind != JsonValueKind.Array || offsets.GetArrayLength() != 2)
            throw Malformed($"the tensor '{name}' lacks dtype, shape or two data_offsets");
        if (shape.GetArrayLength() > MaxDimensions) throw Malformed($"the tensor '{name}' has {shape.GetArrayLength()} dimensions, more than {MaxDimensions}");
        long[] sizes = [.. shape.EnumerateArray().Select(size => Natural(name, size))];
        var entry = new SafetensorsEntry(name, type.GetString()!, sizes, Natural(name, offsets[0]), Natural(name, offsets[1]));
        if (!SafetensorsEntry.Bits.TryGetValue(entry.Type, out int bits)) throw Malformed($"the tensor '{name}' has the unknown type '{entry.Type}'");
        try
        {
            long expected = checked(sizes.Aggregate(1L, (product, size) => checked(product * size)) * bits) / 8;
            if (entry.End - entry.Begin != expected)
                throw Malformed($"the tensor '{name}' ({entry}) needs {expected:N0} bytes, but its offsets span {entry.End - entry.Begin:N0}");
        }
        catch (OverflowException)
        {
            throw Malformed($"the shape of the tensor '{name}' is too large");
        }
        return entry;
    }

    private long Natural(string name, JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt64(out long value) || value < 0)
            throw Malformed($"the tensor '{name}' has the size or offset {element.GetRawText()}, where a whole number is needed");
        return value;
    }

    // Tensors must cover the data without gap or overlap: nothing hidden between them, nothing read twice.
    private void CheckLayout(long dataBytes)
    {
        long at = 0;
        foreach (SafetensorsEntry entry in entries.Values.OrderBy(entry => entry.Begin).ThenBy(entry => entry.End))
        {
            if (entry.Begin < at) throw Malformed($"the tensor '{entry.Name}' overlaps another one");
            if (entry.Begin > at) throw Malformed($"there is a hole of {entry.Begin - at:N0} bytes before the tensor '{entry.Name}'");
            at = entry.End;
        }
        if (at > dataBytes) throw Malformed($"its tensors need {at:N0} bytes, but only {dataBytes:N0} are there: the file is truncated");
        if (at < dataBytes) throw Malformed($"{dataBytes - at:N0} bytes follow the last tensor");
    }
}
