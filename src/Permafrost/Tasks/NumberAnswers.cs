using System.Globalization;
using Permafrost.Data;
using Permafrost.Kernels;

namespace Permafrost.Tasks;

/// <summary>Answers that are a number each: how they are written, and as targets.</summary>
internal static class NumberAnswers
{
    /// <summary>The value of <c>task_options.answer</c> that asks for them.</summary>
    public const string Answer = "number";

    // Fewer different ones may well be marks or years.
    private const int FewLabels = 20;

    /// <summary>A number as it is written.</summary>
    /// <exception cref="PermafrostException">It is none, or not finite.</exception>
    public static float Parse(string where, string text, bool decimalComma = false)
    {
        string written = !decimalComma ? text : text.Contains('.', StringComparison.Ordinal) ? "" : text.Replace(',', '.');
        return float.TryParse(written, NumberStyles.Float, CultureInfo.InvariantCulture, out float number) && float.IsFinite(number) ? number
            : throw new PermafrostException($"{where}: the answer '{(text.Length > 40 ? text[..40] + "..." : text)}' is not a number (`task_options` answer is number)");
    }

    /// <summary>What to say where classes look like quantities; null where they do not.</summary>
    /// <param name="labels">The different labels.</param>
    /// <param name="examples">How many examples have them.</param>
    public static string? Hint(IReadOnlyList<string> labels, int examples)
    {
        bool many = labels.Count > FewLabels && labels.Count * 2 > examples;
        return many && labels.All(label => float.TryParse(label, NumberStyles.Float, CultureInfo.InvariantCulture, out _))
            ? FormattableString.Invariant($"the labels are {labels.Count:N0} different numbers, each a class of its own; where they are quantities, say task_options.answer number")
            : null;
    }

    /// <summary>Data whose examples have such answers instead of a class each.</summary>
    /// <param name="data">The data.</param>
    /// <param name="answers">Of each example of training, validation and test.</param>
    public static TaskData Answered(TaskData data, IReadOnlyList<float[]> answers)
    {
        IDataset? Split(IDataset? examples, int split) => examples is null ? null
            : new Reanswered(examples, chosen => Tensors.From([.. chosen.Select(index => answers[split][index])], chosen.Length, 1));
        return data with
        {
            Spec = data.Spec with { Output = new NumberOutput() },
            Train = Split(data.Train, 0)!,
            Validation = Split(data.Validation, 1),
            Test = Split(data.Test, 2),
        };
    }
}
