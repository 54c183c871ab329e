using System.IO.Compression;
using Permafrost.Tests.Shared;

namespace Permafrost.Cli.Tests;

/// <summary>The NuGet package as somebody gets it: what is in it, and a program outside this repository that trains and predicts with it.</summary>
public sealed class PackageTests : IDisposable
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

    private const string Consumer = """
        using Permafrost.Kernels;
        using Permafrost.Models;
        using Permafrost.Tasks;
        using Permafrost.Training;
        using Permafrost.Training.Optimizers;
        using Permafrost.Tuning;
        using TorchSharp;

        using TaskData data = TaskRegistry.Find("bit-xor").Task.Load(new TaskOptions());
        Backbone backbone = BackboneSource.Resolve("gpt2-tiny").Load("random", seed: 0);
        using var model = new TunedModel(backbone, data.Shape, Readout.Parse(data.Shape.Readout), Policy.Parse("fpt"), ownTokens: false, dropout: 0, seed: 0, torch.CPU);
        using var adam = new Adam([new ParameterGroup([.. model.Trained.Select(parameter => (parameter.Name, parameter.Parameter.Value))])]);
        model.Train(true);
        for (int step = 0; step < 1000; step++)
        {
            using var scope = torch.NewDisposeScope();
            TrainStep.Run(model, adam, [data.Train.Get([.. Enumerable.Range(16 * step, 16).Select(i => (long)i)])], learningRate: 0.003, maxNorm: 1);
        }
        model.Train(false);
        Metrics test = Evaluator.Evaluate(model, data.Test!, batchSize: 100, torch.CPU);
        Console.WriteLine(FormattableString.Invariant($"kernels {KernelSet.Name}, accuracy {test.Accuracy:F3}"));
        """;

    [Fact]
    public void A_program_that_references_the_package_trains_and_predicts()
    {
        string kernels = Path.Combine(Repository.Root, "artifacts", "native", "libpermafrost_kernels.so");
        Dotnet(Repository.Root, "pack", Path.Combine("src", "Permafrost"), "-c", "Release", "-o", scratch["feed"], $"-p:Version={version}",
            $"-p:ArtifactsPath={scratch["artifacts"]}", $"-p:Kernels={kernels}");
        using (ZipArchive package = ZipFile.OpenRead(scratch["feed", $"Permafrost.{version}.nupkg"]))
        {
            string[] names = [.. package.Entries.Select(entry => entry.FullName)];
            Assert.Contains("lib/net10.0/Permafrost.dll", names);
            Assert.Contains("lib/net10.0/Permafrost.xml", names);
            Assert.Contains("buildTransitive/Permafrost.targets", names);
            Assert.Contains("README.md", names);
            Assert.Equal(File.Exists(kernels), names.Contains("runtimes/linux-x64/native/libpermafrost_kernels.so"));
        }
        Assert.True(File.Exists(scratch["feed", $"Permafrost.{version}.snupkg"]));

        Directory.CreateDirectory(scratch["consumer"]);
        scratch.Write(Path.Combine("consumer", "NuGet.config"), $"""
            <configuration><packageSources><add key="here" value="{scratch["feed"]}" /></packageSources></configuration>
            """);
        scratch.Write(Path.Combine("consumer", "Consumer.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="Permafrost" Version="{version}" />
                <PackageReference Include="libtorch-cpu-linux-x64" Version="2.10.0" />
              </ItemGroup>
            </Project>
            """);
        scratch.Write(Path.Combine("consumer", "Program.cs"), Consumer);
        // Without a runtime identifier, as a new project is: the native files lie under runtimes/, and the remedy for Debian 12 must reach them there.
        string said = Dotnet(scratch["consumer"], "run", "-c", "Release");
        string[] words = said.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1].Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("kernels", words[0]);
        Assert.Equal(File.Exists(kernels), words[1] != "none");
        // More than the half that guessing gets: it has learned.
        Assert.InRange(double.Parse(words[3]), 0.7, 1);
    }

    private static string Dotnet(string folder, params string[] arguments)
    {
        var settings = new CliSettings { WorkingDirectory = folder, Environment = new Dictionary<string, string?> { ["MSBUILDDISABLENODEREUSE"] = "1", ["DOTNET_NOLOGO"] = "1" } };
        return Cli.Shell(settings, $"dotnet {string.Join(' ', arguments.Select(argument => $"'{argument}'"))}").Succeeded().Output;
    }
}
