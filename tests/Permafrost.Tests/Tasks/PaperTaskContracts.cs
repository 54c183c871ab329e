using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tests.Tasks;

/// <summary>CIFAR-10 in patches keeps every task's promises, on pictures of noise.</summary>
public class Cifar10Contract : TaskContract
{
    protected internal override string Name => "cifar10";

    protected override string MakeData()
    {
        for (int batch = 1; batch <= 5; batch++) Pictures($"data_batch_{batch}.bin", batch, 20);
        Pictures("test_batch.bin", 9, 24);
        return Folder["data"];
    }

    // The pixels are found again in the tokens: of the test's first pictures, in order.
    protected override void WriteInputs(string path, IDataset examples) =>
        File.WriteAllBytes(path, [.. File.ReadAllBytes(Folder["data", "test_batch.bin"]).Take((int)examples.Count!.Value * 3073)]);

    private void Pictures(string name, int seed, int count)
    {
        var random = new CounterRandom("pictures", seed, 0);
        var bytes = new byte[count * 3073];
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)(i % 3073 == 0 ? random.Next(10) : random.Next(256));
        Folder.Write(Path.Combine("data", name), "");
        File.WriteAllBytes(Folder["data", name], bytes);
    }
}

/// <summary>So does the reading that changes the pictures in training.</summary>
public class AugmentedCifar10Contract : Cifar10Contract
{
    protected internal override string Name => "cifar10@code";
}

/// <summary>CIFAR-10 pixel by pixel keeps every task's promises.</summary>
public class Cifar10LraContract : Cifar10Contract
{
    protected internal override string Name => "cifar10-lra";
}

/// <summary>So does the reading of two pixels a token.</summary>
public class Cifar10LraPairsContract : Cifar10Contract
{
    protected internal override string Name => "cifar10-lra@pairs";
}

/// <summary>So does the reading that changes the pictures in training.</summary>
public class AugmentedCifar10LraContract : Cifar10Contract
{
    protected internal override string Name => "cifar10-lra@code";
}

/// <summary>COGS keeps every task's promises, on sentences that mean nothing.</summary>
public class CogsContract : TaskContract
{
    private static readonly string[] Nouns = ["cat", "dog", "boy", "girl", "cake", "rose"];

    protected internal override string Name => "cogs";

    protected override Dictionary<string, string> Settings => new() { ["gen_examples"] = "6" };

    protected override string Line(Batch example)
    {
        string[] words = Spec.Preprocessing["source_tokens"].Split(' ');
        return string.Join(' ', example.Inputs.ToArray<long>().Select(id => words[id]));
    }

    protected override string MakeData()
    {
        void Sentences(string name, int first, int count, params string[] kinds) => Folder.Write(Path.Combine("data", name), string.Concat(Enumerable.Range(first, count).Select(i =>
            $"A {Nouns[i % 6]} {Nouns[i / 6 % 6]} saw {string.Concat(Enumerable.Repeat("the ", i % 3))}{Nouns[i * 5 / 36 % 6]} .\tsee . agent ( {(i % 4 == 0 ? "cat" : Nouns[i * i % 6])} )\t{kinds[i % kinds.Length]}\n")));
        Sentences("train.tsv", 0, 60, "in_distribution", "primitive");
        Sentences("dev.tsv", 60, 20, "in_distribution");
        Sentences("test.tsv", 80, 8, "in_distribution");
        Sentences("gen.tsv", 88, 30, "cp_recursion", "new_kind");
        return Folder["data"];
    }
}

/// <summary>Remote homology keeps every task's promises, on proteins that nobody has.</summary>
public class RemoteHomologyContract : TaskContract
{
    private const string Letters = "ABCDEFGHIKLMNOPQRSTUVWXYZ";

    protected internal override string Name => "remote-homology";

    protected override IReadOnlyList<string> OwnRules => ["nearest_kmers"];

    private protected virtual int First => 1;

    protected override string Line(Batch example) => string.Concat(example.Inputs.ToArray<long>().Where(id => id >= First && id < First + 25).Select(id => Letters[(int)id - First]));

    protected override string MakeData()
    {
        void Proteins(string name, int seed, int count) => Folder.Write(Path.Combine("data", $"tape_subset_{name}.tsv"), string.Concat(Enumerable.Range(0, count).Select(i =>
        {
            var random = new CounterRandom("proteins", seed, i);
            return $"p{i}\t{i % 3}\ta.1\tD\t{string.Concat(Enumerable.Range(0, 12 + random.Next(20)).Select(_ => Letters[random.Next(25)]))}\n";
        })));
        Proteins("training", 0, 60);
        Proteins("validation", 1, 20);
        Proteins("test_fold", 2, 8);
        Proteins("test_family", 3, 6);
        Proteins("test_superfamily", 4, 6);
        return Folder["data"];
    }
}

/// <summary>So does the reading with the published code's ids.</summary>
public class RemoteHomologyCodeContract : RemoteHomologyContract
{
    protected internal override string Name => "remote-homology@code";

    private protected override int First => 5;
}

/// <summary>So does the reading that cuts proteins.</summary>
public class RemoteHomologyCutContract : RemoteHomologyContract
{
    protected internal override string Name => "remote-homology@512";
}
