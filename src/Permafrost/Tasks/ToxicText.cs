using System.Globalization;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Tasks;

/// <summary>What the tasks of toxic comments have in common: two classes, few of the second, and so more than accuracy to look at.</summary>
public abstract class ToxicText : TextTask
{
    private protected static readonly string[] Labels = ["fine", "toxic"];

    /// <summary>What a description says of the metrics.</summary>
    private protected const string MetricNotes = """
        Metrics  accuracy; f1 of the class that task_options.f1_class names; auc, the area under the curve of the toxic class, which does not depend on how many there are
        Options  task_options.f1_class (toxic): or fine, the frequent class, which the numbers of Tay et al. 2021 fit
        """;

    /// <summary>The data, with the metrics that its options ask for.</summary>
    private protected TaskData Toxic(TaskOptions options, LabelledText[] train, LabelledText[] validation, LabelledText[] test)
    {
        string named = options.Settings?.GetValueOrDefault("f1_class") ?? "toxic";
        int of = Array.IndexOf(Labels, named);
        if (of < 0) throw new UsageException($"task_options.f1_class is '{named}'; it must be toxic or fine");
        TaskData data = Make(options, Labels, train, validation, test);
        return data with { Spec = data.Spec with { Metrics = [MetricInfo.Accuracy, MetricInfo.F1(of), MetricInfo.AreaUnderCurve(1)] } };
    }

    /// <summary>A share from 0 to 1.</summary>
    private protected static double Share(string where, string text) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double share) && share is >= 0 and <= 1 ? share
            : throw new PermafrostException($"{where}: '{text}' is no share from 0 to 1");
}
