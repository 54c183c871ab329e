using Permafrost.Data;
using Permafrost.Formats.Idx;

namespace Permafrost.Tasks;

/// <summary>Pictures of one's own in IDX files, as those of MNIST and its relatives.</summary>
public sealed class IdxTask : PictureTask
{
    /// <inheritdoc/>
    public override string Name => "idx";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "your own pictures in an IDX file (as MNIST's and its relatives'), with their labels in another";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    idx: grey pictures of an IDX file of bytes, (N, height, width), or of three bytes a pixel, (N, height, width, 3).
        {PictureNotes}
        Splits   `validation_data` and `test_data` name files of the same form; where one is not given, `validation_fraction` and `test_fraction` of the pictures of every label are
                 held out of `data`, the same for every run.
        Data     `data`: a file of pictures, plain or .gz. Its labels are in a file of N bytes beside it, whose name has labels-idx1 in place of images-idx3
        Baselines   majority class; linear classifier on the pixels, trained in the run; among the strong ones boosted trees
        """;

    /// <inheritdoc/>
    public override string InputFormat => "an IDX file of pictures, plain or .gz";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name, "answer", MultiLabels.Setting, "patch");
        return Make(options, OwnSplits<Picture>.Of(this, options, Read));
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize) =>
        Unlabelled(Pictures(path).Select((picture, i) => ($"{path}, picture {i}", picture)), spec, partSize);

    private static OwnExample<Picture>[] Read(string path)
    {
        Picture[] pictures = [.. Pictures(path)];
        string labelsPath = LabelsOf(path);
        IdxFile labels = IdxFile.Read(labelsPath);
        if (labels.Shape.Length != 1 || labels.Shape[0] != pictures.Length)
            throw new PermafrostException($"{labelsPath} holds {string.Join("x", labels.Shape)} labels for the {pictures.Length} pictures of {path}");
        return [.. pictures.Select((picture, i) => new OwnExample<Picture>(picture, $"{labels.Data[i]}", $"{path}, picture {i}"))];
    }

    private static string LabelsOf(string path)
    {
        string name = Path.GetFileName(path), bare = name.EndsWith(".gz", StringComparison.Ordinal) ? name[..^3] : name;
        string other = bare.Replace("images", "labels", StringComparison.Ordinal);
        foreach (string kind in new[] { "idx3", "idx4" }) other = other.Replace(kind, "idx1", StringComparison.Ordinal);
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        string? found = other == bare ? null : Array.Find([Path.Combine(folder, other), Path.Combine(folder, other + ".gz")], File.Exists);
        return found ?? throw new PermafrostException($"{path} has no labels beside it: a file called as it is, with labels for images and idx1 for idx3, is expected");
    }

    private static IEnumerable<Picture> Pictures(string path)
    {
        IdxFile images = IdxFile.Read(path);
        if (images.Shape is not ([_, _, _] or [_, _, _, 3]))
            throw new PermafrostException($"{path} holds {string.Join("x", images.Shape)} bytes, not pictures of (N, height, width) or (N, height, width, 3)");
        (int height, int width, int channels) = (images.Shape[1], images.Shape[2], images.Shape.Length == 4 ? 3 : 1);
        return images.Data.Chunk(height * width * channels).Select(pixels => new Picture(pixels, height, width));
    }
}
