using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>What tasks on a user's own pictures have in common: patches as tokens, and labels.</summary>
public abstract class PictureTask : TaskDefinition
{
    private const int MostTokens = 256;

    /// <summary>What descriptions say of the tokens, splits and options.</summary>
    private protected const string PictureNotes = """
                 Square patches, row by row, are tokens, each channel scaled to mean 0 and deviation 1 over the training pictures; the smallest patch is taken of which
                 256 tokens (or the body's positions) are enough, or the one that task_options.patch names. All pictures have one size.
        Output   the label, one of those in `data`, in the order of their characters; with task_options.answer number (default class) a number, with answer labels any
                 number of labels with task_options.label_separator (;) between (micro_f1, macro_f1, exact_match). Read as the mean over the tokens.
        """;

    /// <inheritdoc/>
    public override bool ReadsTables => true;

    /// <inheritdoc/>
    internal override bool NamesColumns => false;

    /// <summary>The data of pictures, wherever they come from.</summary>
    private protected static TaskData Make(TaskOptions options, OwnSplits<Picture> splits)
    {
        OwnExample<Picture>[] all = [.. splits.Train, .. splits.Validation, .. splits.Test];
        Picture first = all[0].Input;
        int patch = options.Int("patch", 0, 0, 1024), positions = Math.Min(MostTokens, options.LongestInput() ?? MostTokens);
        if (patch > Math.Min(first.Height, first.Width)) throw new UsageException($"task_options.patch is {patch}, and the pictures have {first.Size}");
        foreach (OwnExample<Picture> example in all)
            if (example.Input.Size != first.Size)
                throw new PermafrostException($"{example.Where}: {example.Input.Size}, where the first picture has {first.Size}; all need one size");
        PictureEncoding encoding = options.Trained is { } trained ? Trained(trained)
            : PictureEncoding.Of([.. splits.Train.Select(example => example.Input)], patch == 0 ? null : patch, positions);
        if (encoding.Length > positions)
            throw new PermafrostException(
                $"{all[0].Where}: {first.Size} make {encoding.Length} square patches at least, and {positions} tokens are the most; give pictures another shape");
        foreach (OwnExample<Picture> example in all) Check(encoding, example.Where, example.Input);
        var spec = new TaskSpec(new VectorInput(encoding.Size, encoding.Length), splits.Output) { Readout = "mean", Preprocessing = encoding.Preprocessing() };
        PictureRows? Split(OwnExample<Picture>[] split) => split.Length == 0 ? null
            : new PictureRows([.. split.Select(example => example.Input)], encoding, chosen => splits.Targets([.. chosen.Select(row => split[row])]));
        string note = $"pictures of {first.Size}: patches of {encoding.Patch} x {encoding.Patch}, {encoding.Length} tokens of {encoding.Size} numbers"
            + (encoding.LeftOut > 0 ? $"; {encoding.LeftOut} pixels at the right and lower edges fill no patch and are left out" : "");
        return new TaskData(spec, Split(splits.Train)!, Split(splits.Validation), Split(splits.Test)) { Notes = [.. splits.Notes, note] };
    }

    /// <summary>Pictures without answers, as a run takes them.</summary>
    private protected static IEnumerable<IDataset> Unlabelled(IEnumerable<(string Where, Picture Picture)> pictures, TaskSpec spec, int partSize)
    {
        PictureEncoding encoding = Trained(spec);
        foreach ((string Where, Picture Picture)[] part in pictures.Chunk(partSize))
        {
            foreach ((string where, Picture picture) in part) Check(encoding, where, picture);
            yield return new PictureRows([.. part.Select(one => one.Picture)], encoding, chosen => OwnSplits<Picture>.Unknown(spec.Output, chosen.Length));
        }
    }

    private static PictureEncoding Trained(TaskSpec spec) => PictureEncoding.Read(spec.Preprocessing, ((VectorInput)spec.Input).Size, spec.Input.Length);

    private static void Check(PictureEncoding encoding, string where, Picture picture)
    {
        if ((picture.Height, picture.Width, picture.Channels) != (encoding.Height, encoding.Width, encoding.Means.Length))
            throw new PermafrostException(
                $"{where}: {picture.Size}, where the run was trained on {encoding.Height} x {encoding.Width} of {encoding.Means.Length}; give it that size");
    }
}
