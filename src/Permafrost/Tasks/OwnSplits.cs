using Permafrost.Data.Csv;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>An example of a user's own.</summary>
/// <param name="Input">What is fed.</param>
/// <param name="Answer">The label, or the number, as it is written; empty where none is known.</param>
/// <param name="Where">Such as <c>readings.ts:12</c>, for errors.</param>
internal sealed record OwnExample<T>(T Input, string Answer, string Where);

/// <summary>Splits of a user's own examples, from one file or several, and what is asked for: a class of those that occur in training, or a number.</summary>
/// <param name="Output">What is asked for.</param>
/// <param name="Train">To train on.</param>
/// <param name="Validation">To choose by; may be none.</param>
/// <param name="Test">To score; may be none.</param>
/// <param name="Notes">What a user should know of the splits.</param>
internal sealed record OwnSplits<T>(OutputSpec Output, OwnExample<T>[] Train, OwnExample<T>[] Validation, OwnExample<T>[] Test, IReadOnlyList<string> Notes)
{
    /// <summary>Reads and splits.</summary>
    /// <param name="task">The task, for errors.</param>
    /// <param name="options">The run's options; <c>task_options.answer</c> says class or number.</param>
    /// <param name="read">Reads a file.</param>
    /// <exception cref="PermafrostException">A label is known from no training example, or an answer is no number.</exception>
    public static OwnSplits<T> Of(TaskDefinition task, TaskOptions options, Func<string, OwnExample<T>[]> read)
    {
        string path = options.DataPath ?? throw new UsageException($"`task` {task.Name} needs `data`, {task.InputFormat}");
        string answer = options.Settings?.GetValueOrDefault("answer") ?? "class";
        if (answer is not ("class" or "number" or MultiLabels.Answer))
            throw new UsageException($"task_options.answer is '{answer}'; it must be class, number or {MultiLabels.Answer}");
        bool numbers = answer == "number";
        if (MultiLabels.Of(options) is { } many) return OfLabels(task, options, read, path, many);
        OwnExample<T>[] all = read(path);
        string[] answers = [.. all.Select(example => numbers ? "" : example.Answer)];
        IReadOnlyList<string> labels = numbers ? [""] : (options.Trained?.Output as ClassOutput)?.Labels ?? [.. answers.Distinct().Order(StringComparer.Ordinal)];
        if (!numbers && labels.Count < 2) throw new PermafrostException($"{path}: every example has the label '{labels[0]}'; a classifier needs at least two");
        var held = StratifiedSplit.Of(answers, labels, options.ValidationPath is null ? options.ValidationFraction : 0, options.TestPath is null ? options.TestFraction : 0, 0);
        OwnExample<T>[] Own(int[] rows) => [.. rows.Select(row => all[row])];
        OwnExample<T>[] train = Own(held.Train), validation = options.ValidationPath is null ? Own(held.Validation) : read(options.ValidationPath),
            test = options.TestPath is null ? Own(held.Test) : read(options.TestPath);
        OutputSpec output = numbers ? new NumberOutput() : new ClassOutput(labels.Count) { Labels = labels };
        string[] hint = !numbers && NumberAnswers.Hint(labels, all.Length) is { } said ? [said] : [];
        var splits = new OwnSplits<T>(output, train, validation, test, [.. hint, .. HeldNotes(options, path, held), .. Shared(train, validation, test)]);
        foreach (OwnExample<T> example in all.Concat(validation).Concat(test)) splits.Answer(example);
        return splits;
    }

    /// <summary>The right answers of some examples: (B, 1) int64 classes or float32 numbers, or (B, C) int64 flags of labels.</summary>
    public Tensor Targets(IReadOnlyList<OwnExample<T>> examples) =>
        Many is not null ? Many.Targets([.. examples.Select(example => example.Answer)], ((MultiLabelOutput)Output).Labels)
        : Output is NumberOutput ? Tensors.From([.. examples.Select(example => (float)Answer(example))], examples.Count, 1)
        : Tensors.From([.. examples.Select(example => (long)Answer(example))], examples.Count, 1);

    /// <summary>What stands for no answer: (B, P).</summary>
    public static Tensor Unknown(OutputSpec output, int count) =>
        output is NumberOutput ? torch.full([count, 1], float.NaN.Hold(), ScalarType.Float32) : torch.full([count, output.Answers], (-100).Hold(), ScalarType.Int64);

    /// <summary>Where examples have any number of labels.</summary>
    public MultiLabels? Many { get; init; }

    private static OwnSplits<T> OfLabels(TaskDefinition task, TaskOptions options, Func<string, OwnExample<T>[]> read, string path, MultiLabels many)
    {
        OwnExample<T>[] all = read(path);
        IReadOnlyList<string> names = (options.Trained?.Output as MultiLabelOutput)?.Labels ?? many.Names(path, all.Select(example => example.Answer));
        // Sets of labels are too many to hold some of each out.
        (double forValidation, double forTest) = (options.ValidationPath is null ? options.ValidationFraction : 0, options.TestPath is null ? options.TestFraction : 0);
        var held = StratifiedSplit.Of([.. all.Select(_ => "")], [""], forValidation, forTest, 0);
        OwnExample<T>[] Split(int[] rows, string? given) => given is null ? [.. rows.Select(row => all[row])] : read(given);
        OwnExample<T>[] validation = Split(held.Validation, options.ValidationPath), test = Split(held.Test, options.TestPath);
        foreach (OwnExample<T> example in all.Concat(validation).Concat(test)) many.Check(example.Where, example.Answer, names);
        var output = new MultiLabelOutput(names.Count) { Labels = names };
        OwnExample<T>[] train = Split(held.Train, null);
        return new OwnSplits<T>(output, train, validation, test, [.. HeldNotes(options, path, held), .. Shared(train, validation, test)]) { Many = many };
    }

    private static IEnumerable<string> Shared(OwnExample<T>[] train, OwnExample<T>[] validation, OwnExample<T>[] test)
    {
        static IEnumerable<object> Inputs(OwnExample<T>[] split) => split.Select(example => example.Input is JsonlTask.Line line ? line.Any : (object)example.Input!);
        return Overlap.Notes(Inputs(train), Inputs(validation), Inputs(test));
    }

    private double Answer(OwnExample<T> example)
    {
        if (Output is ClassOutput classes)
        {
            int at = Index(classes.Labels, example.Answer);
            return at >= 0 ? at : throw new PermafrostException($"{example.Where}: no example to train on has the label '{example.Answer}'; mend it, or leave the example out");
        }
        return NumberAnswers.Parse(example.Where, example.Answer);
    }

    private static int Index(IReadOnlyList<string> labels, string label)
    {
        for (int i = 0; i < labels.Count; i++) if (labels[i] == label) return i;
        return -1;
    }

    private static IEnumerable<string> HeldNotes(TaskOptions options, string path, StratifiedSplit held)
    {
        bool holdsOut = (options.ValidationPath is null && options.ValidationFraction > 0) || (options.TestPath is null && options.TestFraction > 0);
        if (holdsOut && held.Validation.Length + held.Test.Length == 0)
            yield return $"no label has enough examples in {path} to hold some out, so there is nothing to validate or test on; give `validation_data` and `test_data`";
        else if (options.Trained is not null && options.TestPath is null)
            yield return FormattableString.Invariant(
                $"of the {held.Train.Length + held.Validation.Length + held.Test.Length:N0} examples of {path}, {held.Validation.Length:N0} validate and ")
                + FormattableString.Invariant($"{held.Test.Length:N0} test, held out as in training");
    }
}
