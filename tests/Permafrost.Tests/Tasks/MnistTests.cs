using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Formats.Idx;

namespace Permafrost.Tests.Tasks;

/// <summary>MNIST from hand-made files: where each pixel lands, how the images are split, and what is refused.</summary>
public class MnistTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly Mnist task = new();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData("", 28, 0)]
    [InlineData("paper", 32, 2)]
    public void Each_pixel_lands_in_its_patch(string reading, int side, int margin)
    {
        // Image i has one bright pixel, at (y, x); the others are 0.
        (int Y, int X)[] places = [(0, 0), (0, 27), (27, 0), (27, 27), (3, 3), (4, 3), (3, 4), (13, 22)];
        byte[] pixels = [.. places.SelectMany(place => Enumerable.Range(0, 784).Select(i => (byte)(i == place.Y * 28 + place.X ? 51 : 0)))];
        Write("t10k", pixels, [.. Enumerable.Range(0, places.Length).Select(i => (byte)i)]);
        Write("train", pixels, new byte[places.Length]);
        Batch batch = Load(reading).Test!.Get([.. Enumerable.Range(0, places.Length).Select(i => (long)i)]);

        int perRow = side / 4;
        Assert.Equal([places.Length, perRow * perRow, 16], batch.Inputs.shape);
        for (int i = 0; i < places.Length; i++)
        {
            (int y, int x) = (places[i].Y + margin, places[i].X + margin);
            Tensor image = batch.Inputs.select(0, i);
            Assert.Equal(0.2, image.sum().Number(), 6);  // 51 / 255, and nothing else
            Assert.Equal(0.2, image.select(0, y / 4 * perRow + x / 4).select(0, y % 4 * 4 + x % 4).Number(), 6);
        }
        Assert.Equal(Enumerable.Range(0, places.Length).Select(i => (long)i), batch.Targets.ToArray<long>());
        Assert.Null(batch.Mask);
    }

    [Fact]
    public void A_tenth_of_the_training_images_validates_and_no_image_is_lost_or_double()
    {
        WriteNumbered("train", 40);
        WriteNumbered("t10k", 7);
        TaskData data = Load();
        Assert.Equal((36, 4, 7), (data.Train.Count, data.Validation!.Count, data.Test!.Count));
        int[] Numbers(IDataset examples) => [.. examples.Get([.. Enumerable.Range(0, (int)examples.Count!).Select(i => (long)i)]).Inputs.narrow(1, 0, 1).narrow(2, 0, 1).ToArray<float>().Select(v => (int)MathF.Round(v * 255))];
        Assert.Equal(Enumerable.Range(0, 40), Numbers(data.Train).Concat(Numbers(data.Validation!)).Order());
        Assert.Equal(Enumerable.Range(0, 7), Numbers(data.Test!));
        Assert.Equal(Numbers(data.Validation!), Numbers((Load() with { }).Validation!));  // the same for every run
        // Labels stay with their images.
        Batch batch = data.Validation!.Get([3]);
        Assert.Equal(Numbers(data.Validation!)[3] % 10, batch.Targets.Integer());
    }

    [Fact]
    public void The_shape_has_the_digits_as_labels()
    {
        WriteNumbered("train", 10);
        WriteNumbered("t10k", 1);
        TaskSpec shape = Load().Spec;
        Assert.Equal((16, null, 49, 1, 10, "last"), (shape.VectorSize, shape.Vocabulary, shape.SequenceLength, shape.Targets, shape.Classes, shape.Readout));
        Assert.Equal(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], shape.Labels);
        Assert.Equal(64, Load("paper").Spec.SequenceLength);
    }

    [Theory]
    [InlineData("train-images-idx3-ubyte", "train-labels-idx1-ubyte")]
    [InlineData("train-images.idx3-ubyte", "train-labels.idx1-ubyte")]
    [InlineData("train-images-idx3-ubyte.gz", "train-labels.idx1-ubyte.gz")]
    public void Files_may_be_plain_packed_or_named_with_a_dot(string images, string labels)
    {
        WriteNumbered("t10k", 1);
        Save(images, [0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 28, 0, 0, 0, 28, .. new byte[7840]]);
        Save(labels, [0, 0, 8, 1, 0, 0, 0, 10, .. new byte[10]]);
        Assert.Equal(9, Load().Train.Count);
    }

    [Fact]
    public void The_folders_that_torchvision_makes_are_found_from_their_root()
    {
        WriteNumbered("train", 10);
        WriteNumbered("t10k", 3);
        string[] files = Directory.GetFiles(folder.Path);
        Assert.Equal(4, files.Length);
        string raw = Directory.CreateDirectory(folder["root", "MNIST", "raw"]).FullName;
        foreach (string file in files) File.Move(file, Path.Combine(raw, Path.GetFileName(file)));
        foreach (string from in new[] { folder["root"], folder["root", "MNIST"], raw })
        {
            TaskData data = task.Load(new TaskOptions(from));
            Assert.Equal((9, 1, 3), (data.Train.Count, data.Validation!.Count, data.Test!.Count));
        }
    }

    [Fact]
    public void Unlabelled_images_are_read_for_predictions()
    {
        WriteNumbered("train", 10);
        WriteNumbered("t10k", 3);
        IDataset examples = task.ReadInputs(folder["t10k-images-idx3-ubyte"], Load().Spec, new TaskOptions());
        Assert.Equal(3, examples.Count);
        Assert.Equal([-100L, -100], examples.Get([0, 2]).Targets.ToArray<long>());
        Refusal.Of(folder["t10k-labels-idx1-ubyte"], () => task.ReadInputs(folder["t10k-labels-idx1-ubyte"], Load().Spec, new TaskOptions()));
    }

    [Fact]
    public void Broken_data_is_refused_with_its_file()
    {
        WriteNumbered("t10k", 2);
        Refusal.Of("train-images-idx3-ubyte", () => Load());  // not there
        WriteNumbered("train", 10);
        folder.Write("train-labels-idx1-ubyte", [0, 0, 8, 1, 0, 0, 0, 9, .. new byte[9]]);
        Assert.Contains("9 labels for the 10 images", Refusal.Of("train-labels-idx1-ubyte", () => Load()), StringComparison.Ordinal);
        folder.Write("train-labels-idx1-ubyte", [0, 0, 8, 1, 0, 0, 0, 10, .. new byte[9], 10]);
        Assert.Contains("label 9 is 10", Refusal.Of("train-labels-idx1-ubyte", () => Load()), StringComparison.Ordinal);
        folder.Write("train-images-idx3-ubyte", [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4]);
        Assert.Contains("1x2x2", Refusal.Of("train-images-idx3-ubyte", () => Load()), StringComparison.Ordinal);
        Refusal.Of("`data`", () => task.Load(new TaskOptions(folder["no"])));
        Refusal.OfUsage("task_options.augment", () => task.Load(new TaskOptions(folder.Path, Settings: new Dictionary<string, string> { ["augment"] = "1" })));
    }

    private TaskData Load(string reading = "") => task.Load(new TaskOptions(folder.Path, reading));

    // Image i has the value i in its first pixel, and the label i modulo 10.
    private void WriteNumbered(string split, int count) => Write(split,
        [.. Enumerable.Range(0, count).SelectMany(i => Enumerable.Range(0, 784).Select(p => (byte)(p == 0 ? i : 0)))], [.. Enumerable.Range(0, count).Select(i => (byte)(i % 10))]);

    private void Write(string split, byte[] pixels, byte[] labels)
    {
        Save($"{split}-images-idx3-ubyte", [0, 0, 8, 3, 0, 0, 0, (byte)labels.Length, 0, 0, 0, 28, 0, 0, 0, 28, .. pixels]);
        Save($"{split}-labels-idx1-ubyte", [0, 0, 8, 1, 0, 0, 0, (byte)labels.Length, .. labels]);
    }

    private void Save(string name, byte[] content) => folder.Write(name, name.EndsWith(".gz", StringComparison.Ordinal) ? IdxFileTests.Pack(content) : content);
}
