using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Formats.Images;

namespace Permafrost.Tasks;

/// <summary>Pictures of one's own in a folder for each class.</summary>
public sealed class ImagesTask : PictureTask
{
    // Beside means and deviations: new pictures are scaled as those of the training were.
    private const string SideKey = "size";

    /// <inheritdoc/>
    public override string Name => "images";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "your own PNG, JPEG or WebP pictures, in a folder for each class";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    images: red, green and blue of every pixel, over black where a picture lets something through. With task_options.size N every picture is scaled to N x N.
                 A damaged file is refused by name, or with task_options.skip_damaged true (default false) left out and counted.
        {PictureNotes}
        Splits   `validation_data` and `test_data` name folders of the same form; where one is not given, `validation_fraction` and `test_fraction` of the pictures of every label
                 are held out of `data`, the same for every run.
        Data     `data`: a folder that holds a folder for each label, and those the pictures: photos/cat/1.png. Other files are passed over, and counted, and so are pictures
                 that lie deeper, or beside the folders of labels
        Baselines   majority class; linear classifier on the pixels, trained in the run; among the strong ones boosted trees
        """;

    /// <inheritdoc/>
    public override string InputFormat => "a PNG, JPEG or WebP file, or a folder of them, with those in its folders, in the order of their paths";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name, "answer", MultiLabels.Setting, "patch", SideKey, "skip_damaged");
        string skip = options.Settings?.GetValueOrDefault("skip_damaged") ?? "false";
        if (skip is not ("true" or "false")) throw new UsageException($"task_options.skip_damaged is '{skip}'; it must be true or false");
        int side = options.Trained is { } trained ? Side(trained) : options.Int(SideKey, 0, 1, 4096);
        var notes = new List<string>();
        TaskData data = Make(options, OwnSplits<Picture>.Of(this, options, folder => Read(folder, side, skip == "true", notes)));
        TaskSpec spec = side == 0 ? data.Spec : data.Spec with { Preprocessing = new Dictionary<string, string>(data.Spec.Preprocessing) { [SideKey] = $"{side}" } };
        return data with { Spec = spec, Notes = [.. data.Notes, .. notes] };
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        string[] files = Directory.Exists(path) ? [.. Listed(path, SearchOption.AllDirectories).Where(ImageFile.IsNamedSo)] : [path];
        if (files.Length == 0) throw new PermafrostException($"{path} holds no PNG, JPEG or WebP file");
        return Unlabelled(Decoded(files, Side(spec)).Select(read => (read.Path, read.Picture ?? throw Refused(read.Path, read.Damage))), spec, partSize);
    }

    private static int Side(TaskSpec spec) => int.TryParse(spec.Preprocessing.GetValueOrDefault(SideKey), out int side) ? side : 0;

    private static OwnExample<Picture>[] Read(string folder, int side, bool skipsDamaged, List<string> notes)
    {
        string[] files = Files(folder, notes);
        (var examples, var damaged) = (new List<OwnExample<Picture>>(), new List<string>());
        foreach ((string path, Picture? picture, string? damage) in Decoded(files, side))
        {
            if (picture is null)
            {
                damaged.Add(skipsDamaged ? path : throw Refused(path, damage));
                continue;
            }
            if (examples.Count > 0 && examples[0].Input.Size != picture.Size)
                throw new PermafrostException(
                    $"{path}: {picture.Size}, where {examples[0].Where} has {examples[0].Input.Size}; task_options.size scales all to one size, such as 64");
            examples.Add(new OwnExample<Picture>(picture, Path.GetFileName(Path.GetDirectoryName(path))!, path));
        }
        if (examples.Count == 0) throw new PermafrostException($"{folder}: every picture is damaged, such as {damaged[0]}");
        if (damaged.Count > 0)
            notes.Add(FormattableString.Invariant($"{damaged.Count:N0} of {files.Length:N0} pictures of {folder} are damaged and were left out, such as {damaged[0]}"));
        return [.. examples];
    }

    private static PermafrostException Refused(string path, string? damage) =>
        new($"{path}: {damage}; mend it or take it away (to train without it: task_options.skip_damaged true)");

    private static string[] Files(string folder, List<string> notes)
    {
        if (!Directory.Exists(folder))
            throw new PermafrostException(File.Exists(folder) ? $"{folder} is a file; name the folder that holds a folder of pictures for each label" : $"{folder} does not exist");
        string[] classes = [.. Guarded(folder, () => Directory.GetDirectories(folder)).Where(IsSeen).Order(StringComparer.Ordinal)];
        ILookup<bool, string> files = classes.SelectMany(own => Listed(own, SearchOption.TopDirectoryOnly)).ToLookup(ImageFile.IsNamedSo);
        if (!files[true].Any())
        {
            bool deeper = classes.Any(own => Directory.EnumerateDirectories(own).Any());
            throw new PermafrostException($"{folder} has no folder with PNG, JPEG or WebP files, one for each label, such as {Path.Combine(folder, "cat", "1.png")}"
                + (deeper ? $"; name a folder in it, such as {classes[0]}" : ""));
        }
        if (files[false].Any())
            notes.Add(FormattableString.Invariant($"{files[false].Count():N0} files of {folder} are not named as pictures and were passed over, such as {files[false].First()}"));
        IEnumerable<string> nested = classes.SelectMany(own => Listed(own, SearchOption.AllDirectories)).Except(files[true]);
        string[] beside = [.. Listed(folder, SearchOption.TopDirectoryOnly).Concat(nested).Where(ImageFile.IsNamedSo)];
        if (beside.Length > 0)
            notes.Add(FormattableString.Invariant(
                $"{beside.Length:N0} pictures of {folder} lie deeper than in the folder of their label, or in none, and were passed over, such as {beside[0]}"));
        string[] empty = [.. classes.Except(files[true].Select(file => Path.GetDirectoryName(file)!))];
        if (empty.Length > 0) notes.Add(FormattableString.Invariant($"{empty.Length:N0} folders of {folder} hold no picture, and are no label, such as {empty[0]}"));
        return [.. files[true]];
    }

    private static string[] Listed(string folder, SearchOption depth) =>
        [.. Guarded(folder, () => Directory.GetFiles(folder, "*", depth)).Where(IsSeen).Order(StringComparer.Ordinal)];

    private static bool IsSeen(string path) => Path.GetFileName(path)[0] != '.';

    private static string[] Guarded(string folder, Func<string[]> list)
    {
        try
        {
            return list();
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw new PermafrostException($"cannot read {folder}: {error.Message.TrimEnd('.')}");
        }
    }

    // Decoded side by side, given in order; an error that PLINQ would wrap is thrown where its file's turn comes.
    private static IEnumerable<(string Path, Picture? Picture, string? Damage)> Decoded(IEnumerable<string> files, int side)
    {
        foreach ((string path, Image? image, string? damage, PermafrostException? error) in files.AsParallel().AsOrdered().Select(path => One(path, side)))
            yield return error is not null ? throw error : (path, image is null ? null : new Picture(image.Pixels, image.Height, image.Width), damage);
    }

    private static (string Path, Image? Image, string? Damage, PermafrostException? Error) One(string path, int side)
    {
        try
        {
            (Image? image, string? damage) = ImageFile.Read(path, side);
            return (path, image, damage, null);
        }
        catch (PermafrostException error)
        {
            return (path, null, null, error);
        }
    }
}
