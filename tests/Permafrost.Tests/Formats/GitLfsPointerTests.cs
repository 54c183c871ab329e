using Permafrost.Formats;
using Permafrost.Formats.Idx;
using Permafrost.Tasks;

namespace Permafrost.Tests.Formats;

/// <summary>What Git LFS leaves in a file's place is called that, whatever file it stands for.</summary>
public sealed class GitLfsPointerTests : IDisposable
{
    private const string Pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n";

    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Files => ["t10k-images-idx3-ubyte", "rows.parquet", "rows.jsonl", "config.json", "series.ts", "proteins.fasta", "lines.txt", "rows.csv.gz"];

    public void Dispose() => folder.Dispose();

    [Theory]
    [MemberData(nameof(Files))]
    public void A_pointer_is_called_one(string name)
    {
        string path = folder.Write(name, Pointer);
        var options = new TaskOptions(path) { LabelColumn = "label" };
        Action read = name switch
        {
            "t10k-images-idx3-ubyte" => () => IdxFile.Read(path),
            "config.json" => () => JsonFile.Read(path),
            "lines.txt" => () => new ListOps().ReadInputs(path, new ListOps().Load(new TaskOptions()).Spec, options, 8).ToList(),
            _ => () => new AutoTask().Load(options),
        };
        Assert.Contains("git lfs pull", Refusal.Of(name, read), StringComparison.Ordinal);
    }
}
