using System.Text;
using Permafrost.Formats;
using Permafrost.Studies;
using SkiaSharp;

namespace Permafrost.Cli.Figures;

/// <summary>A report's plots for papers and slides, one SVG and one PNG each; and for its page, where that has no uPlot.</summary>
internal static class FigureFiles
{
    // In pixels. Text of 13 pixels at a width of 480 becomes 9 points across a page, and can still be read in a column of a paper.
    private const int Width = 480;
    private const int Height = 300;
    private const int PngScale = 4;
    private const int LongestName = 80;

    /// <summary>Draws for a page, which holds title and names itself.</summary>
    public static string ForPage(Figure figure, int width, int height) =>
        Guarded(() => FigureSvg.Of(new FigureDrawing(figure, width, height, isWhole: false), $"{FileName(figure.Title)}-{width}-", title: null));

    /// <summary>Writes the files into a folder, which is made if need be; returns their paths.</summary>
    /// <exception cref="PermafrostException">They cannot be drawn here, or not be written.</exception>
    /// <exception cref="UsageException">The folder is a file.</exception>
    public static IReadOnlyList<string> Write(string folder, IReadOnlyList<Figure> figures)
    {
        if (File.Exists(folder)) throw new UsageException($"--figures {folder} is a file; name a folder");
        var files = new List<string>();
        foreach ((Figure figure, string name) in figures.Zip(Names(figures)))
        {
            (string svg, byte[] png) = Guarded(() =>
            {
                var drawing = new FigureDrawing(figure, Width, Height, isWhole: true);
                return (FigureSvg.Of(drawing, "", $"{figure.Title} over steps: {string.Join("; ", figure.Curves.Select(curve => curve.Run))}"), Png(drawing));
            });
            Create(folder);
            files.AddRange([Path.Combine(folder, name + ".svg"), Path.Combine(folder, name + ".png")]);
            AtomicFile.WriteText(files[^2], "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n" + svg + "\n");
            AtomicFile.Write(files[^1], stream => stream.Write(png));
        }
        return files;
    }

    private static byte[] Png(FigureDrawing drawing)
    {
        using SKSurface surface = SKSurface.Create(new SKImageInfo(drawing.Width * PngScale, drawing.Height * PngScale));
        surface.Canvas.Scale(PngScale);
        drawing.Draw(surface.Canvas);
        using SKImage image = surface.Snapshot();
        using SKData data = image.Encode(SKEncodedImageFormat.Png, 100);
        return data.ToArray();
    }

    private static void Create(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new PermafrostException($"cannot make the folder {folder}: {error.Message.TrimEnd('.')}", error);
        }
    }

    // A key of metrics.jsonl may hold any characters, and two keys may become the same file name.
    private static IEnumerable<string> Names(IReadOnlyList<Figure> figures)
    {
        var used = new HashSet<string>();
        foreach (Figure figure in figures)
        {
            string name = FileName(figure.Title), unused = name;
            for (int i = 2; !used.Add(unused); i++) unused = $"{name}-{i}";
            yield return unused;
        }
    }

    private static string FileName(string title)
    {
        var name = new StringBuilder();
        foreach (char sign in title.ToLowerInvariant())
            if (char.IsAsciiLetterOrDigit(sign)) name.Append(sign);
            else if (name.Length > 0 && name[^1] != '-') name.Append('-');
        return name.ToString(0, Math.Min(name.Length, LongestName)).Trim('-');
    }

    // Skia is native code, which exists for fewer systems than the rest.
    private static T Guarded<T>(Func<T> draw)
    {
        try
        {
            return draw();
        }
        catch (Exception error) when (error is TypeInitializationException or DllNotFoundException)
        {
            string reason = (error.InnerException ?? error).Message.Split('\n')[0].TrimEnd('.');
            throw new PermafrostException($"cannot draw figures: Skia does not load here ({reason})", error);
        }
    }
}
