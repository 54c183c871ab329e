using Permafrost.Data;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>Examples from a safetensors file: another program's batches, or any data of one's own.</summary>
public sealed class TensorsTask : TaskDefinition
{
    /// <inheritdoc/>
    public override string Name => "tensors";

    /// <inheritdoc/>
    public override int Version => 2;  // 2: shares of the rows are rounded, and a share above 0 is a row at least

    /// <inheritdoc/>
    public override string Summary => "vectors or ids, with classes or sequences as targets, from a .safetensors file of your own";

    /// <inheritdoc/>
    public override string Description => """
        Input    --data F.safetensors with `inputs` (N, T, D) float or (N, T) int64 ids; optional `mask` (N, T), 1 for tokens and 0 for padding.
        Output   `targets` (N) or (N, P) int64 class numbers; -100 does not count. --num-classes C, or one more than the largest target.
                 With P targets and --readout last:K each of the K tokens answers P/K of them.
                 With task_options.end each row of `targets` (N, S) is a sequence of ids that ends with that one, padded with -100 behind it: an
                 encoder-decoder is taught to write it, and scored by what it writes on its own.
        Splits   `validation.inputs`, `validation.targets`, `validation.mask` and `test.*` in the same file where given; else --validation-fraction and
                 --test-fraction of the rows are held out at random, and none with --no-shuffle, which feeds all rows in order (replay).
        Options  task_options.vocabulary: rows of the input table for ids, where it is more than the largest id and one
                 task_options.end: the id that ends every target, where targets are sequences
        """;

    /// <inheritdoc/>
    public override string InputFormat => "a .safetensors file with `inputs` and, if need be, `mask`";

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name, "vocabulary", "end");
        string path = options.DataPath ?? throw new UsageException("`task` tensors needs `data` F.safetensors");
        using var file = new SafetensorsFile(path);
        CheckNames(file);
        Rows all = Read(file, "", null);
        long largest = all.LargestTarget;
        Rows? validation = file.Entries.ContainsKey("validation.inputs") ? Read(file, "validation.", all) : null;
        Rows? test = file.Entries.ContainsKey("test.inputs") ? Read(file, "test.", all) : null;
        foreach (Rows? rows in new[] { validation, test }) largest = Math.Max(largest, rows?.LargestTarget ?? 0);
        // Ids of every split need a row in the input table, and a table may be larger than the ids that happen to occur.
        int? vocabulary = all.Vocabulary is null ? null : new[] { all, validation, test }.Max(rows => rows?.Vocabulary ?? 0);
        if (vocabulary is not null) vocabulary = options.Int("vocabulary", vocabulary.Value, vocabulary.Value, int.MaxValue);
        int classes = options.NumClasses ?? checked((int)Math.Max(2, largest + 1));
        if (largest >= classes) throw new PermafrostException($"{path}: the target {largest} does not fit `num_classes` {classes}");
        int length = new[] { all, validation, test }.Max(rows => rows?.Length ?? 0);
        InputSpec input = all.VectorSize is { } size ? new VectorInput(size, length) : new IdInput(vocabulary!.Value, length);
        OutputSpec output = new ClassOutput(classes) { Count = all.Targets };
        if (options.Settings?.ContainsKey("end") == true)
        {
            int end = options.Int("end", 0, 0, classes - 1);
            foreach ((string split, Rows? rows) in new[] { ("", all), ("validation.", validation), ("test.", test) }) rows?.CheckSequences($"{path}: `{split}targets`", end);
            output = new SequenceOutput(classes, new[] { all, validation, test }.Max(rows => rows?.Targets ?? 0), end);
        }
        var spec = new TaskSpec(input, output)
        {
            Readout = output is SequenceOutput ? "decoder" : all.Targets == 1 ? "last" : $"last:{all.Targets}",
            Preprocessing = new Dictionary<string, string> { ["input"] = "none: tensors as given" },
        };

        // Splits that are not in the file are held out at random.
        var held = HeldOutRows.Of(
            Name, path, all.Count!.Value, validation is null ? options.ValidationFraction : 0, test is null ? options.TestFraction : 0);
        IDataset train = held.Train.Length == all.Count ? all : new Subset(all, held.Train);
        return new TaskData(
            spec, train, (IDataset?)validation ?? Part(path, all, held.Validation, "validation"), (IDataset?)test ?? Part(path, all, held.Test, "test"));
    }

    /// <inheritdoc/>
    public override IEnumerable<IDataset> ReadInputs(string path, TaskSpec spec, TaskOptions options, int partSize)
    {
        options.CheckSettings(Name, "vocabulary", "end");
        using var file = new SafetensorsFile(path);
        CheckNames(file);
        Tensor inputs = file.Read("inputs").DetachFromDisposeScope();
        var vectors = spec.Input as VectorInput;
        int vocabulary = (spec.Input as IdInput)?.Vocabulary ?? 0;
        string trained = vectors is null ? "ids (N, T) of int64" : $"vectors (N, T, {vectors.Size}) of floats";
        bool kind = inputs.dtype.IsFloatingPoint() == vectors is not null && (vectors is not null || inputs.dtype == ScalarType.Int64) && inputs.NumberOfElements > 0;
        bool shape = inputs.Dimensions == (vectors is null ? 2 : 3) && (vectors is null || inputs.size(2) == vectors.Size);
        if (!kind || !shape) throw new PermafrostException($"{path}: `inputs` is {inputs.Describe()}, the run was trained on {trained}");
        if (vectors is null && inputs.min().Integer() < 0) throw new PermafrostException($"{path}: `inputs` holds the id {inputs.min().Integer()}; ids start at 0");
        if (vectors is null && inputs.max().Integer() >= vocabulary)
            throw new PermafrostException($"{path}: the id {inputs.max().Integer()} is beyond the {vocabulary} that the run was trained on");
        CheckFinite(file, "inputs", inputs);
        Tensor? mask = ReadMask(file, "mask", inputs) is { } given ? given.DetachFromDisposeScope() : null;
        Tensor targets = torch.full([inputs.size(0), Math.Max(1, spec.Output.Answers)], (-100).Hold(), ScalarType.Int64);
        return [new Rows(inputs.to(vectors is null ? ScalarType.Int64 : ScalarType.Float32).DetachFromDisposeScope(), targets.DetachFromDisposeScope(), mask)];
    }

    // In training and in prediction alike, an unknown name is taken for a mistake and not passed over.
    private static void CheckNames(SafetensorsFile file)
    {
        string[] known = [.. new[] { "", "validation.", "test." }.SelectMany(prefix => new[] { $"{prefix}inputs", $"{prefix}targets", $"{prefix}mask" })];
        if (file.Entries.Keys.FirstOrDefault(name => !known.Contains(name)) is { } stray)
            throw new PermafrostException(
                $"{file.Path}: the tensor '{stray}' means nothing here; there are inputs, targets and mask, each alone or as validation.NAME and test.NAME");
    }

    private static void CheckFinite(SafetensorsFile file, string name, Tensor inputs)
    {
        if (!inputs.dtype.IsFloatingPoint()) return;
        using var scope = torch.NewDisposeScope();
        inputs = inputs.to(ScalarType.Float32);  // the type that is computed with; a double may be too large for it
        if (inputs.AllFinite()) return;
        long row = Array.IndexOf(inputs.isfinite().reshape(inputs.size(0), -1).all(1).ToArray<bool>(), false);
        throw new PermafrostException(
            $"{file.Path}: row {row} of `{name}` holds NaN, infinity or a number beyond float32, with which nothing can be computed; mend the row or leave it out");
    }

    private static Subset? Part(string path, Rows rows, long[] indices, string split)
    {
        if (indices.Length == 0) return null;
        if (!rows.HasAnswer(indices))
            throw new PermafrostException(
                $"{path}: none of the {indices.Length} row(s) held out for {split} has an answer that counts, so nothing could be scored; " +
                $"give the split as {split}.inputs and {split}.targets, or hold out none with `{split}_fraction` 0");
        return new Subset(rows, indices);
    }

    // (N, T) int64 of ones and zeros; null where there is none.
    private static Tensor? ReadMask(SafetensorsFile file, string name, Tensor inputs)
    {
        if (!file.Entries.ContainsKey(name)) return null;
        Tensor mask = file.Read(name);
        if (mask.Dimensions != 2 || mask.size(0) != inputs.size(0) || mask.size(1) != inputs.size(1))
            throw new PermafrostException($"{file.Path}: `{name}` is {mask.Describe()}; it must be (N, T) = ({inputs.size(0)}, {inputs.size(1)})");
        Tensor tokens = mask.ne(0.Hold()).to(ScalarType.Int64);
        if (!mask.eq(1.Hold()).to(ScalarType.Int64).ValuesEqual(tokens))
            throw new PermafrostException($"{file.Path}: `{name}` holds other numbers than 1 for tokens and 0 for padding");
        int empty = Array.IndexOf(tokens.sum(1).ToArray<long>(), 0);
        if (empty >= 0) throw new PermafrostException($"{file.Path}: row {empty} of `{name}` is all padding; every example needs a token");
        return tokens;
    }

    private static Rows Read(SafetensorsFile file, string prefix, Rows? like)
    {
        using var scope = torch.NewDisposeScope();
        Tensor inputs = file.Read($"{prefix}inputs");
        bool vectors = inputs.dtype.IsFloatingPoint();
        if (inputs.Dimensions != (vectors ? 3 : 2) || (!vectors && inputs.dtype != ScalarType.Int64))
            throw new PermafrostException($"{file.Path}: `{prefix}inputs` is {inputs.Describe()}; it must be vectors (N, T, D) of floats or ids (N, T) of int64");
        if (inputs.NumberOfElements == 0) throw new PermafrostException($"{file.Path}: `{prefix}inputs` is empty ({inputs.Describe()})");
        CheckFinite(file, $"{prefix}inputs", inputs);
        if (!vectors && inputs.min().Integer() < 0) throw new PermafrostException($"{file.Path}: `{prefix}inputs` holds the id {inputs.min().Integer()}; ids start at 0");
        Tensor targets = file.Read($"{prefix}targets");
        if (targets.dtype != ScalarType.Int64 || targets.Dimensions is not (1 or 2) || targets.size(0) != inputs.size(0))
            throw new PermafrostException($"{file.Path}: `{prefix}targets` is {targets.Describe()}; it must be int64 of (N) or (N, P) with N = {inputs.size(0)}");
        if (targets.NumberOfElements == 0) throw new PermafrostException($"{file.Path}: `{prefix}targets` is empty ({targets.Describe()})");
        Tensor lowest = targets.masked_fill(targets.eq((-100).Hold()), 0.Hold()).min();
        if (lowest.Integer() < 0) throw new PermafrostException($"{file.Path}: `{prefix}targets` holds {lowest.Integer()}; classes start at 0, and only -100 is left out");
        Tensor? mask = ReadMask(file, $"{prefix}mask", inputs);
        if (targets.ne((-100).Hold()).sum().Integer() == 0) throw new PermafrostException($"{file.Path}: `{prefix}targets` ({targets.Describe()}) holds no answer that counts");
        if (!vectors && inputs.max().Integer() >= 1 << 26)
            throw new PermafrostException(
                $"{file.Path}: `{prefix}inputs` holds the id {inputs.max().Integer()}; an input table of so many rows is not sensible: renumber the ids");
        if (targets.max().Integer() >= 1 << 24)
            throw new PermafrostException($"{file.Path}: `{prefix}targets` holds the class {targets.max().Integer()}; classes are numbered from 0 without gaps");
        Tensor typed = inputs.to(vectors ? ScalarType.Float32 : ScalarType.Int64);
        Tensor answers = targets.Dimensions == 1 ? targets.unsqueeze(1) : targets.to(ScalarType.Int64);
        var rows = new Rows(typed.DetachFromDisposeScope(), answers.DetachFromDisposeScope(), mask?.DetachFromDisposeScope());
        if (like is not null && (rows.VectorSize != like.VectorSize || rows.Targets != like.Targets))
            throw new PermafrostException($"{file.Path}: `{prefix}inputs` and `{prefix}targets` have other sizes than `inputs` and `targets`");
        return rows;
    }

    private sealed class Rows(Tensor inputs, Tensor targets, Tensor? mask) : IDataset, IDisposable
    {
        public long? Count => inputs.size(0);

        // Up to the last token that is not padding; padding before the first token has to be computed too.
        public IReadOnlyList<int>? Lengths
        {
            get
            {
                if (mask is null) return null;
                using var scope = torch.NewDisposeScope();
                Tensor last = (mask * Scalars.Range(0, mask.size(1), torch.CPU)).argmax(1).Plus(1);
                return [.. last.ToArray<long>().Select(length => (int)length)];
            }
        }

        public int? VectorSize => inputs.Dimensions == 3 ? (int)inputs.size(2) : null;

        public int? Vocabulary { get; } = inputs.Dimensions == 3 ? null : checked((int)inputs.max().Integer() + 1);

        public int Length => (int)inputs.size(1);

        public int Targets => (int)targets.size(1);

        public bool HasAnswer(long[] indices)
        {
            using var scope = torch.NewDisposeScope();
            return targets.index_select(0, Tensors.From(indices)).ne((-100).Hold()).any().Integer() != 0;
        }

        // Each row: ids, the end once, and -100 from there on.
        public void CheckSequences(string name, int end)
        {
            int row = 0;
            foreach (long[] given in targets.ToArray<long>().Chunk(Targets))
            {
                int at = Array.IndexOf(given, end);
                if (at < 0) throw new PermafrostException($"{name}: row {row} has no end, the id {end} (`task_options` end)");
                if (given.AsSpan(0, at).Contains(-100)) throw new PermafrostException($"{name}: row {row} holds -100 before its end; a sequence has no gaps");
                if (given.AsSpan(at + 1).IndexOfAnyExcept(-100) >= 0) throw new PermafrostException($"{name}: row {row} goes on behind its end, the id {end}; pad it with -100");
                row++;
            }
        }

        public long LargestTarget { get; } = Math.Max(0, targets.max().Integer());

        public void Dispose()
        {
            inputs.Dispose();
            targets.Dispose();
            mask?.Dispose();
        }

        public Batch Get(ReadOnlySpan<long> indices)
        {
            using var scope = torch.NewDisposeScope();
            Tensor rows = Tensors.From(indices, [indices.Length]);
            Tensor Chosen(Tensor all) => scope.MoveToOuter(all.index_select(0, rows));
            return new Batch(Chosen(inputs), Chosen(targets), mask is null ? null : Chosen(mask));
        }
    }
}
