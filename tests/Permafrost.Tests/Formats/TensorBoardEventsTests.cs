using System.Buffers.Binary;
using System.Text;
using Permafrost.Formats;

namespace Permafrost.Tests.Formats;

/// <summary>Event files read back by the format's own rules: lengths, checksums, messages.</summary>
public class TensorBoardEventsTests
{
    [Fact]
    public void Checksum_is_the_masked_crc32c()
    {
        // CRC-32C("123456789") is 0xe3069283 (RFC 3720, appendix B.4); the mask is TensorFlow's.
        uint crc = 0xe3069283;
        Assert.Equal(((crc >> 15) | (crc << 17)) + 0xa282ead8, TensorBoardEvents.MaskedCrc(Encoding.ASCII.GetBytes("123456789")));
    }

    [Fact]
    public void Records_read_back_as_they_were_written()
    {
        string folder = Directory.CreateTempSubdirectory().FullName;
        string path;
        using (var events = new TensorBoardEvents(folder, 1760000000.25))
        {
            path = events.Path;
            events.Write(300, 1760000001.5, [("train/loss", 0.5), ("lr", 1e-3)]);
        }
        Assert.StartsWith("events.out.tfevents.1760000000.", Path.GetFileName(path), StringComparison.Ordinal);
        byte[][] records = [.. Records(File.ReadAllBytes(path))];
        Assert.Equal(2, records.Length);
        Assert.Equal("brain.Event:2", Encoding.UTF8.GetString((byte[])Fields(records[0])[3][0]));
        Assert.Equal(1760000000.25, (double)Fields(records[0])[1][0]);

        Dictionary<int, List<object>> record = Fields(records[1]);
        Assert.Equal(1760000001.5, (double)record[1][0]);
        Assert.Equal(300UL, (ulong)record[2][0]);
        List<object> values = Fields((byte[])record[5][0])[1];
        Assert.Equal(["train/loss", "lr"], values.Select(value => Encoding.UTF8.GetString((byte[])Fields((byte[])value)[1][0])));
        Assert.Equal([0.5f, 1e-3f], values.Select(value => (float)Fields((byte[])value)[2][0]));
        TensorBoardEvents.Clear(folder);
        Assert.Empty(Directory.GetFiles(folder));
        Directory.Delete(folder);
    }

    private static IEnumerable<byte[]> Records(byte[] file)
    {
        for (int at = 0; at < file.Length;)
        {
            int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at));
            Assert.Equal(TensorBoardEvents.MaskedCrc(file.AsSpan(at, 8)), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8)));
            byte[] payload = file[(at + 12)..(at + 12 + length)];
            Assert.Equal(TensorBoardEvents.MaskedCrc(payload), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 12 + length)));
            at += 16 + length;
            yield return payload;
        }
    }

    // A protobuf message's fields by number, undecoded beyond their wire type.
    private static Dictionary<int, List<object>> Fields(byte[] message)
    {
        var fields = new Dictionary<int, List<object>>();
        for (int at = 0; at < message.Length;)
        {
            ulong key = Varint(message, ref at);
            object value;
            switch (key & 7)
            {
                case 0: value = Varint(message, ref at); break;
                case 1: value = BinaryPrimitives.ReadDoubleLittleEndian(message.AsSpan(at)); at += 8; break;
                case 5: value = BinaryPrimitives.ReadSingleLittleEndian(message.AsSpan(at)); at += 4; break;
                default: int length = (int)Varint(message, ref at); value = message[at..(at + length)]; at += length; break;
            }
            if (!fields.TryGetValue((int)(key >> 3), out List<object>? list)) fields[(int)(key >> 3)] = list = [];
            list.Add(value);
        }
        return fields;
    }

    private static ulong Varint(byte[] data, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte next = data[at++];
            value |= (ulong)(next & 0x7f) << shift;
            if (next < 0x80) return value;
        }
    }
}
