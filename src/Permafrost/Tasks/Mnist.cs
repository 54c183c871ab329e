using Permafrost.Data;
using Permafrost.Formats.Idx;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>
/// MNIST (LeCun et al. 1998) as sequences of 4x4 patches (Lu et al. 2021, section 2.1). The paper's text says 32x32 in 64 patches, its code feeds
/// 28x28 in 49; the plain name is the code's reading, <c>mnist@paper</c> the text's.
/// </summary>
public sealed class Mnist : TaskDefinition
{
    private const int Patch = 4;
    private const int HeldOut = 5000;

    /// <inheritdoc/>
    public override string Name => "mnist";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "handwritten digits: 28x28 pixels in 49 patches of 16 (mnist@paper: 32x32 in 64)";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Readings => ["paper"];

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: 28x28 grey pixels from 0 to 1, cut row by row into 49 patches of 4x4; a token is one patch of 16 numbers.
                 mnist@paper: the image in the middle of 32x32 zeros, 64 patches. (How the paper enlarged it is not known; its code does not.)
        Output   the digit, read at the last token.
        Splits   55,000 of the 60,000 training images train and {HeldOut:N0} validate (the same for every run); the 10,000 test images score. No augmentation.
        Data     train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each plain or .gz
        Baselines   majority class; linear classifier on the pixels (about 92 %), trained in the run
        Source   Lu et al. 2021, arXiv 2103.05247, section 2.1; kzl/universal-computation datasets/mnist.py (which scores on the test set throughout)
        """;

    /// <inheritdoc/>
    public override string InputFormat => "an IDX file of 28x28 images (magic 0x803), plain or .gz";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        string folder = WithFiles(DataHome.Find("mnist", options.DataPath));
        int side = Side(options);
        Images train = Labelled(folder, "train", side);
        long[] order = new CounterRandom("mnist/validation", 0, 0).Permutation(train.Count!.Value);
        int held = Math.Min(HeldOut, Math.Max(1, order.Length / 10));
        return new TaskData(Spec(side), new Subset(train, [.. order[held..].Order()]), new Subset(train, [.. order[..held].Order()]), Labelled(folder, "t10k", side));
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        options.CheckSettings(Name);
        return [new Images(ReadImages(path), null, Side(options))];
    }

    private static int Side(TaskOptions options) => options.Reading == "paper" ? 32 : 28;

    private static TaskSpec Spec(int side)
    {
        int patches = side / Patch * (side / Patch);
        string[] digits = [.. Enumerable.Range(0, 10).Select(digit => digit.ToString())];
        return new TaskSpec(new VectorInput(Patch * Patch, patches), new ClassOutput(10) { Labels = digits })
        {
            Preprocessing = new Dictionary<string, string>
            {
                ["input"] = "28x28 grey bytes, ink bright",
                ["scale"] = "divided by 255",
                ["canvas"] = $"{side}x{side}, zeros around the middle",
                ["token"] = $"a patch of {Patch}x{Patch}, row by row; patches row by row",
            },
        };
    }

    private static Images Labelled(string folder, string split, int side)
    {
        string imagePath = FindFile(folder, $"{split}-images-idx3-ubyte");
        string labelPath = FindFile(folder, $"{split}-labels-idx1-ubyte");
        IdxFile images = ReadImages(imagePath);
        IdxFile labels = IdxFile.Read(labelPath);
        if (labels.Shape.Length != 1 || labels.Shape[0] != images.Shape[0])
            throw new PermafrostException($"{labelPath} holds {string.Join("x", labels.Shape)} labels for the {images.Shape[0]} images of {imagePath}");
        int wrong = Array.FindIndex(labels.Data, label => label > 9);
        if (wrong >= 0) throw new PermafrostException($"{labelPath}: label {wrong} is {labels.Data[wrong]}, not a digit");
        return new Images(images, labels.Data, side);
    }

    private static IdxFile ReadImages(string path)
    {
        IdxFile images = IdxFile.Read(path);
        return images.Shape is [_, 28, 28] ? images : throw new PermafrostException($"{path} holds {string.Join("x", images.Shape)} bytes, not images of 28x28");
    }

    // torchvision keeps the files of a root folder in root/MNIST/raw.
    private static string WithFiles(string folder)
    {
        string[] places = [folder, Path.Combine(folder, "raw"), Path.Combine(folder, "MNIST", "raw")];
        return Array.Find(places, place => Directory.Exists(place) && Directory.EnumerateFiles(place, "train-images*").Any()) ?? folder;
    }

    private static string FindFile(string folder, string name)
    {
        // Some mirrors write train-images.idx3-ubyte.
        string dotted = name.Replace("-idx", ".idx", StringComparison.Ordinal);
        string[] names = [$"{name}.gz", name, $"{dotted}.gz", dotted];
        return names.Select(candidate => Path.Combine(folder, candidate)).FirstOrDefault(File.Exists)
            ?? throw new PermafrostException($"{folder} has no {name} (plain or .gz); run `permafrost data fetch mnist`, or give another folder with `data`");
    }

    private sealed class Images(IdxFile images, byte[]? labels, int side) : IDataset
    {
        public long? Count => images.Shape[0];

        public Batch Get(ReadOnlySpan<long> indices)
        {
            int perRow = side / Patch;
            int margin = (side - 28) / 2;
            var inputs = new float[indices.Length * side * side];
            var targets = new long[indices.Length];
            for (int row = 0; row < indices.Length; row++)
            {
                ReadOnlySpan<byte> image = images.Data.AsSpan(checked((int)(indices[row] * 28 * 28)), 28 * 28);
                Span<float> tokens = inputs.AsSpan(row * side * side, side * side);
                for (int y = 0; y < 28; y++)
                {
                    for (int x = 0; x < 28; x++)
                    {
                        (int ty, int tx) = (y + margin, x + margin);
                        int token = ty / Patch * perRow + tx / Patch;
                        tokens[token * Patch * Patch + ty % Patch * Patch + tx % Patch] = image[y * 28 + x] / 255f;
                    }
                }
                targets[row] = labels is null ? -100 : labels[indices[row]];
            }
            return new Batch(Tensors.From(inputs, indices.Length, perRow * perRow, Patch * Patch), Tensors.From(targets, indices.Length, 1));
        }
    }
}
