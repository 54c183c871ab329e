using System.Globalization;
using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>How images of CIFAR-10 become tokens.</summary>
/// <param name="Size">The numbers of a token.</param>
/// <param name="Length">The tokens of an image.</param>
/// <param name="Preprocessing">The same in words, for whoever feeds the adapter from other software.</param>
/// <param name="Encode">Writes an image's bytes (red, green, blue, each row by row) as Length x Size numbers.</param>
public sealed record CifarTokens(int Size, int Length, IReadOnlyDictionary<string, string> Preprocessing, CifarEncoder Encode);

/// <summary>Writes an image's bytes as the numbers of its tokens.</summary>
public delegate void CifarEncoder(ReadOnlySpan<byte> image, Span<float> tokens);

/// <summary>What the two tasks on CIFAR-10 (Krizhevsky 2009) have in common: the files, the splits and the classes.</summary>
public abstract class CifarTask : TaskDefinition
{
    private const int HeldOut = 5000;

    private static readonly string[] Labels = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

    /// <summary>What descriptions say of the splits and the files.</summary>
    private protected const string DataNotes = """
        Output   what is in the picture, one of ten classes, read at the last token.
        Splits   5,000 of the 50,000 training images validate (a tenth where there are fewer), the same for every run, and the others train; the 10,000 test images score.
        Data     data_batch_1.bin to data_batch_5.bin and test_batch.bin, each plain or .gz (or, for a first look, train_jpegdecoded_10000.bin and test_jpegdecoded_2000.bin)
        """;

    /// <inheritdoc/>
    public override string InputFormat => "a file of CIFAR-10's binary form (records of a label, which is not looked at, and 3 x 32 x 32 bytes), plain or .gz";

    /// <summary>How images become tokens in a reading of the task.</summary>
    /// <param name="reading">The part of the name behind the <c>@</c>.</param>
    /// <param name="train">The images to train on, for what is measured of them; null where <paramref name="trained"/> says it.</param>
    /// <param name="trained">What a finished run was trained for; null for a new one.</param>
    internal abstract CifarTokens Tokens(string reading, CifarFiles? train, TaskSpec? trained);

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        (CifarFiles train, CifarFiles test) = CifarFiles.OfFolder(DataHome.Find("cifar10", options.DataPath));
        CifarTokens tokens = Tokens(options.Reading, train, options.Trained);
        long[] order = new CounterRandom("cifar10/validation", 0, 0).Permutation(train.Count);
        int held = Math.Min(HeldOut, Math.Max(1, order.Length / 10));
        long[] own = [.. order[held..].Order()];
        if (own.Length == 0) throw new PermafrostException($"{train.Path} holds too few images: none is left to train on beside those held out for validation");
        var all = new Images(train, tokens, labelled: true);
        IDataset training = options.Reading == "code" ? new Augmented(train, own, options.Seed, tokens) : new Subset(all, own);
        var spec = new TaskSpec(new VectorInput(tokens.Size, tokens.Length), new ClassOutput(10) { Labels = Labels }) { Preprocessing = tokens.Preprocessing };
        return new TaskData(spec, training, new Subset(all, [.. order[..held].Order()]), new Images(test, tokens, labelled: true))
        { TrainSource = new Subset(all, own) };
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        options.CheckSettings(Name);
        return [new Images(CifarFiles.Read(path, labelled: false), Tokens(options.Reading, null, spec), labelled: false)];
    }

    private sealed class Images(CifarFiles images, CifarTokens tokens, bool labelled) : IDataset
    {
        public long? Count => images.Count;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            int size = tokens.Size * tokens.Length;
            (var inputs, var targets) = (new float[indices.Length * size], new long[indices.Length]);
            for (int row = 0; row < indices.Length; row++)
            {
                tokens.Encode(images.Image(indices[row]), inputs.AsSpan(row * size, size));
                targets[row] = labelled ? images.Label(indices[row]) : -100;
            }
            return new Batch(Tensors.From(inputs, indices.Length, tokens.Length, tokens.Size), Tensors.From(targets, indices.Length, 1));
        }
    }

    // Training images without end, each time moved, mirrored and turned otherwise: all of them once, then all in another order.
    private sealed class Augmented(CifarFiles images, long[] own, long seed, CifarTokens tokens) : IDataset
    {
        private (long Epoch, long[] Order) known = (-1, []);

        public long? Count => null;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            int size = tokens.Size * tokens.Length;
            (var inputs, var targets) = (new float[indices.Length * size], new long[indices.Length]);
            Span<byte> changed = stackalloc byte[CifarFiles.Bytes];
            for (int row = 0; row < indices.Length; row++)
            {
                (long epoch, long at) = Math.DivRem(indices[row], own.Length);
                long image = own[Order(epoch)[at]];
                var random = new CounterRandom("cifar10/augmented", seed, indices[row]);
                CifarFiles.Augment(images.Image(image), ref random, changed);
                tokens.Encode(changed, inputs.AsSpan(row * size, size));
                targets[row] = images.Label(image);
            }
            return new Batch(Tensors.From(inputs, indices.Length, tokens.Length, tokens.Size), Tensors.From(targets, indices.Length, 1));
        }

        private long[] Order(long epoch)
        {
            if (known.Epoch != epoch) known = (epoch, new CounterRandom("cifar10/order", seed, epoch).Permutation(own.Length));
            return known.Order;
        }
    }
}

/// <summary>CIFAR-10 as 64 patches of 4 x 4 pixels in colour (Lu et al. 2021, section 2.1).</summary>
public sealed class Cifar10 : CifarTask
{
    private const int Patch = 4, PerRow = CifarFiles.Side / Patch;

    /// <inheritdoc/>
    public override string Name => "cifar10";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "photographs of ten things: 32x32 pixels in colour, in 64 patches of 48 numbers (cifar10@code: augmented)";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Readings => ["code"];

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: 64 patches of 4x4 pixels, row by row; a token is one patch of 48 numbers (the paper says 16), pixel by pixel, each of them red, green and blue, less the
                 channel's mean over the training images and divided by its deviation.
                 cifar10@code: training images are moved by up to 4 pixels, mirrored half of the time and turned by up to 20 degrees, as in the published code; they never end.
        {DataNotes}
        Baselines   majority class; linear classifier on the pixels, trained in the run
        Source   Lu et al. 2021, arXiv 2103.05247, section 2.1; kzl/universal-computation datasets/cifar10.py (which scores on the test set throughout)
        """;

    internal override CifarTokens Tokens(string reading, CifarFiles? train, TaskSpec? trained)
    {
        (double[] means, double[] deviations) = trained is not null ? Read(trained) : Measured(train!);
        static string Written(double[] values) => string.Join(' ', values.Select(value => value.ToString("F4", CultureInfo.InvariantCulture)));
        var facts = new Dictionary<string, string>
        {
            ["input"] = "32x32 bytes of red, green and blue, divided by 255",
            ["means"] = Written(means),
            ["deviations"] = Written(deviations),
            ["token"] = "a patch of 4x4, pixel by pixel, each of three channels, less the channel's mean, divided by its deviation; patches row by row",
        };
        return new CifarTokens(3 * Patch * Patch, PerRow * PerRow, facts, (image, tokens) => Encode(image, tokens, means, deviations));
    }

    private static void Encode(ReadOnlySpan<byte> image, Span<float> tokens, double[] means, double[] deviations)
    {
        for (int y = 0; y < CifarFiles.Side; y++)
        {
            for (int x = 0; x < CifarFiles.Side; x++)
            {
                int token = y / Patch * PerRow + x / Patch, pixel = y % Patch * Patch + x % Patch;
                for (int channel = 0; channel < 3; channel++)
                {
                    double value = image[channel * CifarFiles.Pixels + y * CifarFiles.Side + x] / 255.0;
                    tokens[(token * Patch * Patch + pixel) * 3 + channel] = (float)((value - means[channel]) / deviations[channel]);
                }
            }
        }
    }

    private static (double[] Means, double[] Deviations) Measured(CifarFiles train)
    {
        var sums = new ChannelSums(3);
        for (int i = 0; i < train.Count; i++)
        {
            ReadOnlySpan<byte> image = train.Image(i);
            for (int at = 0; at < image.Length; at++) sums.Add(at / CifarFiles.Pixels, image[at]);
        }
        return (sums.Means, sums.Deviations);
    }

    private static (double[] Means, double[] Deviations) Read(TaskSpec trained)
    {
        static double Number(string text) => double.TryParse(text, CultureInfo.InvariantCulture, out double value) ? value : double.NaN;
        double[] Numbers(string key) => [.. (trained.Preprocessing.GetValueOrDefault(key) ?? "").Split(' ').Select(Number)];
        (double[] means, double[] deviations) = (Numbers("means"), Numbers("deviations"));
        return means.Length == 3 && deviations.Length == 3 && means.All(double.IsFinite) && deviations.All(value => value > 0) ? (means, deviations)
            : throw new PermafrostException("the run's adapter_config.json does not say the channels' means and deviations (preprocessing); it may be damaged");
    }
}

/// <summary>CIFAR-10 pixel by pixel, in grey: 1,024 tokens of one number (Lu et al. 2021, after the Long Range Arena of Tay et al. 2020).</summary>
public sealed class Cifar10Lra : CifarTask
{
    /// <inheritdoc/>
    public override string Name => "cifar10-lra";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "the same photographs pixel by pixel, in grey: 1,024 tokens of one number (cifar10-lra@pairs: 512 of two; @code: augmented)";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Readings => ["code", "pairs"];

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: the pixels in grey (0.299 red, 0.587 green, 0.114 blue), row by row; a token is one number from -1 to 1. (The Long Range Arena looks up each of 256 greys.)
                 cifar10-lra@pairs: two neighbours a token, 512 tokens, for a body of 512 positions. cifar10-lra@code: training images moved, mirrored and turned as in
                 cifar10@code; they never end.
        {DataNotes}
        Baselines   majority class; linear classifier on the pixels, trained in the run
        Source   Lu et al. 2021, arXiv 2103.05247, section 2.1; kzl/universal-computation datasets/cifar10_gray.py (which scores on the test set throughout)
        """;

    internal override CifarTokens Tokens(string reading, CifarFiles? train, TaskSpec? trained)
    {
        int size = reading == "pairs" ? 2 : 1;
        var facts = new Dictionary<string, string>
        {
            ["input"] = "32x32 bytes of red, green and blue, as grey: 0.299 red + 0.587 green + 0.114 blue, divided by 127.5, less 1",
            ["token"] = size == 1 ? "a pixel, row by row" : "two neighbouring pixels, row by row",
        };
        return new CifarTokens(size, CifarFiles.Pixels / size, facts, Encode);
    }

    private static void Encode(ReadOnlySpan<byte> image, Span<float> tokens)
    {
        for (int i = 0; i < CifarFiles.Pixels; i++)
            tokens[i] = (float)((0.299 * image[i] + 0.587 * image[CifarFiles.Pixels + i] + 0.114 * image[2 * CifarFiles.Pixels + i]) / 127.5 - 1);
    }
}
