using System.Buffers.Binary;
using Permafrost.Data;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Tests.Tasks;

/// <summary>Bit Memory keeps every task's promises.</summary>
public class BitMemoryContract : TaskContract
{
    protected internal override string Name => "bit-memory";

    protected override Dictionary<string, string> Settings => new() { ["length"] = "20", ["patterns"] = "2", ["chunk"] = "5" };

    protected override IReadOnlyList<string> OwnRules => ["copy"];

    protected override string Line(Batch example) => string.Concat(example.Inputs.ToArray<float>().Select(bit => bit > 0 ? '1' : bit < 0 ? '0' : '?'));
}

/// <summary>Bit XOR keeps every task's promises but one: of 5 bits there are too few strings for splits of their own.</summary>
public class BitXorContract : TaskContract
{
    protected internal override string Name => "bit-xor";

    protected override bool SplitsShareNothing => false;

    protected override string Line(Batch example) => string.Concat(example.Inputs.ToArray<float>().Select(bit => bit > 0 ? '1' : '0'));
}

/// <summary>ListOps keeps every task's promises.</summary>
public class ListOpsContract : TaskContract
{
    protected internal override string Name => "listops";

    protected override Dictionary<string, string> Settings => new() { ["train_examples"] = "300", ["min_length"] = "8", ["max_length"] = "40" };

    protected override IReadOnlyList<string> OwnRules => ["first_operator", "root"];

    protected override string Line(Batch example) => string.Join(' ', Tokens(example));

    private protected IEnumerable<string> Tokens(Batch example)
    {
        string[] names = Spec.Preprocessing["tokens"].Split(' ');
        return example.Inputs.ToArray<long>().Where(id => id != 0).Select(id => names[id]);
    }
}

/// <summary>So does the paper's reading, of which an example does not tell the whole expression.</summary>
[Trait("tier", "long")]
public class PublishedListOpsContract : ListOpsContract
{
    protected internal override string Name => "listops@published";

    protected override Dictionary<string, string> Settings => new() { ["train_examples"] = "300" };

    protected override IReadOnlyList<string> OwnRules => ["first_operator"];

    // Some expression that looks the same when its closing brackets are lost and it is cut: every list is closed at the end, the last of them after a digit.
    protected override string Line(Batch example)
    {
        List<string> tokens = [.. Tokens(example)];
        int open = tokens.Count(token => token[0] == '[');
        if (tokens[^1][0] == '[') tokens.Add("0");
        return string.Join(' ', [.. tokens, .. Enumerable.Repeat("]", open)]);
    }
}

/// <summary>MNIST keeps every task's promises, on pictures of noise.</summary>
public class MnistContract : TaskContract
{
    private const int Side = 28, Patch = 4;

    protected internal override string Name => "mnist";

    protected override string MakeData()
    {
        if (Directory.Exists(Folder["mnist"])) return Folder["mnist"];
        foreach ((string split, int count) in new[] { ("train", 80), ("t10k", 25) })
        {
            var random = new CounterRandom("noise", 0, count);
            var pixels = new byte[count * Side * Side];
            for (int i = 0; i < pixels.Length; i++) pixels[i] = (byte)random.Next(256);
            Folder.Write(Path.Combine("mnist", $"{split}-images-idx3-ubyte"), Idx(pixels, count, Side, Side));
            Folder.Write(Path.Combine("mnist", $"{split}-labels-idx1-ubyte"), Idx([.. Enumerable.Range(0, count).Select(i => (byte)(i % 10))], count));
        }
        return Folder["mnist"];
    }

    protected override void WriteInputs(string path, IDataset examples)
    {
        var pixels = new List<byte>();
        foreach (long number in Numbers(examples))
        {
            int perRow = (int)Math.Sqrt(Spec.Input.Length), margin = (perRow * Patch - Side) / 2;
            float[] patches = examples.Get([number]).Inputs.ToArray<float>();
            for (int y = margin; y < margin + Side; y++)
                for (int x = margin; x < margin + Side; x++)
                    pixels.Add((byte)MathF.Round(255 * patches[(y / Patch * perRow + x / Patch) * Patch * Patch + y % Patch * Patch + x % Patch]));
        }
        File.WriteAllBytes(path, Idx([.. pixels], (int)examples.Count!, Side, Side));
    }

    private static byte[] Idx(byte[] data, params int[] shape)
    {
        var header = new byte[4 + 4 * shape.Length];
        (header[2], header[3]) = (8, (byte)shape.Length);
        for (int i = 0; i < shape.Length; i++) BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4 + 4 * i), shape[i]);
        return [.. header, .. data];
    }
}

/// <summary>So does the reading of the paper's text.</summary>
public class PaperMnistContract : MnistContract
{
    protected internal override string Name => "mnist@paper";
}

/// <summary>Vectors from a file of one's own, padded, keep every task's promises.</summary>
public class TensorsContract : TaskContract
{
    private protected const int N = 200, T = 7;

    protected internal override string Name => "tensors";

    protected override string MakeData()
    {
        string path = Folder["data.safetensors"];
        if (File.Exists(path)) return path;
        using DisposeScope scope = torch.NewDisposeScope();
        using var random = new Generator(1);
        SafetensorsWriter.Write(path, new Dictionary<string, Tensor>
        {
            ["inputs"] = MakeInputs(random),
            ["targets"] = Tensors.From([.. Enumerable.Range(0, N * 2).Select(i => i % 17 == 0 ? -100 : i * 5L % 3)], N, 2),
            ["mask"] = Tensors.From([.. Enumerable.Range(0, N * T).Select(i => i % T < 2 + i / T % 6 ? 1L : 0)], N, T),
        });
        return path;
    }

    private protected virtual Tensor MakeInputs(Generator random) => torch.empty([N, T, 3]).normal_(0, 1, random);

    protected override void WriteInputs(string path, IDataset examples)
    {
        Batch batch = examples.Get([.. Numbers(examples)]);
        SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { ["inputs"] = batch.Inputs, ["mask"] = batch.Mask! });
    }
}

/// <summary>So do ids.</summary>
public class TensorsOfIdsContract : TensorsContract
{
    protected override Dictionary<string, string> Settings => new() { ["vocabulary"] = "2000" };

    private protected override Tensor MakeInputs(Generator random) => torch.randint(0, 1000, [N, T], ScalarType.Int64, generator: random);
}
