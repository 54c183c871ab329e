using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using ScottPlot;
using SkiaSharp;

namespace Permafrost.Cli.Figures;

/// <summary>Inter, the one font of all figures, so that they look the same everywhere and have text on systems without fonts.</summary>
internal sealed class FigureFont : IFontResolver
{
    /// <summary>The name of the font's family.</summary>
    public const string Family = "Inter";

    // Drawn in place of characters that Inter lacks.
    private const string Unknown = "?";

    private static readonly FigureFont Only = Open();
    private readonly SKTypeface regular;
    private readonly SKTypeface strong;

    private FigureFont(SKTypeface regular, SKTypeface strong) => (this.regular, this.strong) = (regular, strong);

    /// <summary>Makes ScottPlot use it, which must know before it is asked to draw: it remembers what it found.</summary>
    public static void Register()
    {
        lock (Only)
        {
            if (Fonts.FontResolvers.Contains(Only)) return;
            Fonts.FontResolvers.Insert(0, Only);
            Fonts.Default = Family;
        }
    }

    /// <summary>The font in a size, in pixels.</summary>
    public static SKFont Of(float size, bool isStrong = false) => new(isStrong ? Only.strong : Only.regular, size) { Edging = SKFontEdging.Antialias, Subpixel = true };

    /// <summary>A text with a question mark for every sign that the font lacks.</summary>
    public static string Drawable(string text)
    {
        using SKFont font = Of(12);
        return string.Concat(text.EnumerateRunes().Select(rune => font.ContainsGlyph(rune.Value) ? rune.ToString() : Unknown));
    }

    /// <summary>A text cut to a width, with an ellipsis in its middle: names of runs differ at either end.</summary>
    public static string Cut(string text, SKFont font, float width)
    {
        if (font.MeasureText(text) <= width) return text;
        string[] signs = [.. text.EnumerateRunes().Select(rune => rune.ToString())];
        for (int keep = signs.Length - 1; keep > 1; keep--)
        {
            string shorter = string.Concat(signs[..((keep + 1) / 2)]) + "\u2026" + string.Concat(signs[^(keep / 2)..]);
            if (font.MeasureText(shorter) <= width) return shorter;
        }
        return "\u2026";
    }

    public SKTypeface CreateTypeface(string fontName, FontWeight weight, FontSlant slant, FontSpacing spacing) => weight >= FontWeight.SemiBold ? strong : regular;

    public SKTypeface CreateTypeface(string fontName, bool bold, bool italic) => bold ? strong : regular;

    // Inter's files lie in one resource of an assembly, which is read as a file and never loaded.
    private static FigureFont Open()
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("Figures/Inter.dll") ?? throw new InvalidOperationException("the font is not embedded");
        using var assembly = new PEReader(stream);
        MetadataReader metadata = assembly.GetMetadataReader();
        ManifestResource resource = metadata.ManifestResources.Select(metadata.GetManifestResource).Single(resource => metadata.GetString(resource.Name) == "!AvaloniaResources");
        BlobReader bytes = assembly.GetSectionData(assembly.PEHeaders.CorHeader!.ResourcesDirectory.RelativeVirtualAddress).GetReader();
        bytes.Offset = (int)resource.Offset;
        byte[] files = bytes.ReadBytes(bytes.ReadInt32());
        return new FigureFont(Read(files, "/Assets/Inter-Regular.ttf"), Read(files, "/Assets/Inter-SemiBold.ttf"));
    }

    // An index (its length, a version, a count, then path, offset and size of each file), and the files.
    private static SKTypeface Read(byte[] files, string path)
    {
        using var reader = new BinaryReader(new MemoryStream(files));
        int start = reader.ReadInt32() + sizeof(int);
        _ = reader.ReadInt32();
        for (int left = reader.ReadInt32(); left > 0; left--)
        {
            (string name, int offset, int size) = (reader.ReadString(), reader.ReadInt32(), reader.ReadInt32());
            if (name == path) return SKTypeface.FromData(SKData.CreateCopy(files.AsSpan(start + offset, size).ToArray()));
        }
        throw new InvalidOperationException($"the font's assembly holds no {path}");
    }
}
