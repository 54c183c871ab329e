using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>Answers that are any number of labels: how they are written, and as targets.</summary>
/// <param name="Separator">Between labels, where they are written as one text.</param>
internal sealed record MultiLabels(string Separator)
{
    /// <summary>What the answers of <c>task_options.answer</c> labels, and the separator, are called in settings.</summary>
    public const string Answer = "labels", Setting = "label_separator";

    // Before each label of a list, whose labels may hold any other character.
    private const char ListMark = '\u001f';

    /// <summary>How labels are written, where several are asked for; null where they are not.</summary>
    /// <exception cref="UsageException">There is a separator, and nothing to separate.</exception>
    public static MultiLabels? Of(TaskOptions options)
    {
        string? separator = options.Settings?.GetValueOrDefault(Setting);
        if (options.Settings?.GetValueOrDefault("answer") != Answer)
            return separator is null ? null : throw new UsageException($"task_options.{Setting} is for several labels an example; say task_options.answer {Answer} too");
        return separator == "" ? throw new UsageException($"task_options.{Setting} is empty; write what stands between labels, such as ; or |") : new MultiLabels(separator ?? ";");
    }

    /// <summary>A list of labels as one answer.</summary>
    /// <param name="where">Names the example in errors.</param>
    /// <param name="labels">The labels.</param>
    /// <exception cref="PermafrostException">A label holds the character that stands before each of them here.</exception>
    public static string List(string where, IEnumerable<string> labels) => string.Concat(labels.Select(label => ListMark + Checked(where, label)).DefaultIfEmpty($"{ListMark}"));

    /// <summary>A text that is an answer, or a label of a list.</summary>
    /// <exception cref="PermafrostException">It holds the character that stands before each label of a list.</exception>
    public static string Checked(string where, string text) => !text.Contains(ListMark) ? text
        : throw new PermafrostException($"{where}: the label '{text.Replace($"{ListMark}", "\\u001f")}' holds the control character U+001F, which no label may; take it out");

    /// <summary>The labels of an answer; there may be none.</summary>
    public string[] Split(string answer) => answer.Length > 0 && answer[0] == ListMark ? answer.Split(ListMark, StringSplitOptions.RemoveEmptyEntries)
        : answer.Split(Separator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>All labels of some answers, in the order of their characters.</summary>
    /// <exception cref="PermafrostException">There are fewer than two.</exception>
    public IReadOnlyList<string> Names(string path, IEnumerable<string> answers)
    {
        string[] names = [.. answers.SelectMany(Split).Distinct().Order(StringComparer.Ordinal)];
        return names.Length > 1 ? names
            : throw new PermafrostException($"{path} has no label{(names.Length == 0 ? "" : $" but '{names[0]}'")}; several are asked for (task_options.answer {Answer})");
    }

    /// <summary>Refuses an answer with a label that training does not have.</summary>
    public void Check(string where, string answer, IReadOnlyList<string> names)
    {
        if (Array.Find(Split(answer), label => !names.Contains(label)) is { } unknown)
            throw new PermafrostException($"{where}: no example to train on has the label '{unknown}'; mend it, or leave the example out");
    }

    /// <summary>Answers as targets: (B, C) int64, 1 for labels that an example has.</summary>
    public Tensor Targets(IReadOnlyList<string> answers, IReadOnlyList<string> names)
    {
        var targets = new long[answers.Count * names.Count];
        for (int row = 0; row < answers.Count; row++)
        {
            foreach (string label in Split(answers[row]))
                for (int i = 0; i < names.Count; i++) if (names[i] == label) targets[row * names.Count + i] = 1;
        }
        return Tensors.From(targets, answers.Count, names.Count);
    }

    /// <summary>Data whose examples have such answers instead of a class each.</summary>
    /// <param name="data">The data.</param>
    /// <param name="names">All labels.</param>
    /// <param name="answers">Of each example of training, validation and test.</param>
    public TaskData Answered(TaskData data, IReadOnlyList<string> names, IReadOnlyList<string[]> answers)
    {
        IDataset? Split(IDataset? examples, int split) => examples is null ? null
            : new Reanswered(examples, chosen => Targets([.. chosen.Select(index => answers[split][index])], names));
        return data with
        {
            Spec = data.Spec with { Output = new MultiLabelOutput(names.Count) { Labels = names } },
            Train = Split(data.Train, 0)!,
            Validation = Split(data.Validation, 1),
            Test = Split(data.Test, 2),
        };
    }
}
