using System.Diagnostics;
using Permafrost.Formats.PyTorchPickle;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Tests.Formats;

/// <summary>Ten thousand damaged weight files: each is read, or ends in a sentence. A crash would end the whole test run.</summary>
[Collection(ProcessWide.Name)]
public class WeightFuzzTests : IDisposable
{
    private const int Files = 5000;
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(120);

    private readonly TemporaryFolder folder = new();

    public void Dispose()
    {
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Mutated_safetensors_files_end_in_a_sentence()
    {
        SafetensorsWriter.Write(folder["sound"], Tensors(), new Dictionary<string, string> { ["step"] = "12" });
        Fuzz(File.ReadAllBytes(folder["sound"]), path =>
        {
            using var file = new SafetensorsFile(path);
            foreach (string name in file.Entries.Keys)
            {
                using Tensor view = file.View(name), copy = file.Read(name);
                Assert.Equal(view.ToBytes(), copy.ToBytes());
            }
        });
    }

    [Fact]
    public void Mutated_PyTorch_files_end_in_a_sentence()
    {
        using (torch.NewDisposeScope()) TorchFile.Write(folder["sound"], Tensors());
        byte[] real = File.ReadAllBytes(Path.Combine(Repository.Root, "tests", "Permafrost.Tests", "Formats", "PyTorchPickle", "protocol4.bin"));
        foreach (byte[] sound in new[] { File.ReadAllBytes(folder["sound"]), real })
        {
            Fuzz(sound, path =>
            {
                using var file = new PyTorchFile(path);
                foreach (string name in file.Entries.Keys)
                {
                    using Tensor view = file.View(name), copy = file.Read(name);
                    Assert.Equal(view.ToBytes(), copy.ToBytes());
                }
            }, Files / 2);
        }
    }

    private static Dictionary<string, Tensor> Tensors() => new()
    {
        ["wte.weight"] = torch.ones([11, 8]),
        ["h.0.ln_1.bias"] = torch.zeros([8], ScalarType.Float16),
        ["ids"] = torch.arange(5),
        ["mask"] = torch.ones([2, 3], ScalarType.Bool),
        ["empty"] = torch.zeros([0, 4]),
    };

    private void Fuzz(byte[] sound, Action<string> read, int files = Files)
    {
        var random = new Random(sound.Length);
        var clock = Stopwatch.StartNew();
        int refused = 0;
        long grown = ProcessMemory.Growth(() =>
        {
            for (int i = 0; i < files; i++)
            {
                string path = folder.Write("mutant", Mutate(sound, random));
                using DisposeScope scope = torch.NewDisposeScope();
                try
                {
                    read(path);
                }
                catch (PermafrostException error)
                {
                    refused++;
                    Assert.True(error.Message.StartsWith(path, StringComparison.Ordinal) && !error.Message.Any(char.IsControl), error.Message);
                }
                Assert.True(clock.Elapsed < Longest, $"{i} files took {clock.Elapsed.TotalSeconds:F0} s");
            }
        });
        // Some changes hit a tensor's bytes, which any number may be.
        Assert.InRange(refused, files / 4, files);
        Assert.True(grown < 512L << 20, $"{grown >> 20} MiB were taken");
    }

    // Bytes flipped, set to what fields go wrong with, cut out, doubled, or put elsewhere; more often where the structure is than in the tensors.
    private static byte[] Mutate(byte[] sound, Random random)
    {
        var bytes = new List<byte>(sound);
        for (int change = random.Next(1, 5); change > 0 && bytes.Count > 8; change--)
        {
            int at = random.Next(3) switch { 0 => random.Next(Math.Min(bytes.Count, 64)), 1 => bytes.Count - 1 - random.Next(Math.Min(bytes.Count, 400)), _ => random.Next(bytes.Count) };
            int count = Math.Min(random.Next(1, 32), bytes.Count - at);
            switch (random.Next(7))
            {
                case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 1: bytes[at] = (byte)random.Next(256); break;
                case 2: for (int i = 0; i < Math.Min(count, 8); i++) bytes[at + i] = random.Next(2) == 0 ? (byte)0xff : (byte)0x7f; break;
                case 3: bytes.RemoveRange(at, count); break;
                case 4: bytes.InsertRange(at, bytes.GetRange(at, count)); break;
                case 5: bytes.InsertRange(random.Next(bytes.Count), bytes.GetRange(at, count)); break;
                default: bytes.RemoveRange(at, bytes.Count - at); break;
            }
        }
        return [.. bytes];
    }
}
