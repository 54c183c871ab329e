using System.Globalization;

namespace Permafrost.Studies;

/// <summary>
/// The controls that a claim about pretraining needs (Rothermel et al. 2021): the same body pretrained and random, frozen and trained whole, each with learning rates of its own.
/// They are arms like any others; one that a study has already is not added.
/// </summary>
internal static class StudyControls
{
    private const string Prefix = "control: ", Whole = "*";

    private static readonly (string Name, string Init, string Policy)[] All =
    [
        ("frozen pretrained", "pretrained", "fpt"), ("frozen random", "random", "fpt"), ("trained pretrained", "pretrained", Whole), ("trained random", "random", Whole),
    ];

    /// <summary>What is said below a table.</summary>
    public const string Note = "Controls (Rothermel et al. 2021): "
        + "the first pretrained arm's body, pretrained and random, frozen and trained whole, each with learning rates of its own.";

    /// <summary>Whether an arm is one of these.</summary>
    public static bool Is(StudyArm arm) => arm.Name.StartsWith(Prefix, StringComparison.Ordinal);

    /// <summary>The arms to add; none where the study wants none, or has no pretrained arm at this scale.</summary>
    /// <param name="study">The study.</param>
    /// <param name="scale">Its scale.</param>
    /// <param name="own">The cells of its own arms.</param>
    public static IEnumerable<StudyArm> Of(StudyFile study, StudyScale scale, IReadOnlyList<StudyCell> own)
    {
        StudyCell? model = own.FirstOrDefault(cell => cell.Missing is null && cell.Options.Model.Init == "pretrained");
        if (!study.Controls || model is null) yield break;
        StudyArm first = model.Arm;
        StudyCell[] same = [.. own.Where(cell => cell.Arm.Name == first.Name)];
        foreach ((string name, string init, string policy) in All)
        {
            if (study.Arms.Any(arm => same.All(cell => own.Any(other => IsControl(other, cell, arm, init, policy))))) continue;
            (string, string, string) Set(string key, string value) => (key, value, study.Source);
            IEnumerable<(string, string, string)> lines = [.. first.Options.Lines, .. scale.Arms.GetValueOrDefault(first.Name, StudyChanges.None).Lines];
            string what = policy == Whole ? "everything trains" : "norms, positions, input and output layer train";
            yield return new StudyArm(Prefix + name, $"{what}, from {init} weights")
            {
                Options = new StudyChanges([.. lines, Set("model.init", init), Set("model.policy", policy)]),
            };
        }
    }

    /// <summary>The rates that a control tries: what trains whole needs lower ones, so that where a scale has several, a tenth of each is tried too.</summary>
    public static IReadOnlyList<double> Rates(StudyArm arm, IReadOnlyList<double> rates)
    {
        bool whole = arm.Options.Lines.Any(line => line is { Key: "model.policy", Value: Whole });
        return whole && rates.Count > 1 ? [.. rates.Concat(rates.Select(Tenth)).Distinct().Order()] : rates;
    }

    // Through decimal numbers, in which 0.003 / 10 is 0.0003.
    private static double Tenth(double rate) => double.Parse(((decimal)rate / 10).ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);

    // Whether a cell of an arm runs what the control of another would.
    private static bool IsControl(StudyCell other, StudyCell cell, StudyArm arm, string init, string policy)
    {
        if (other.Missing is not null || other.Arm.Name != arm.Name || other.Task.Name != cell.Task.Name) return false;
        Runs.RunOptions wanted = cell.Options with { Model = cell.Options.Model with { Init = init, Policy = policy } };
        return StudyPlan.Id(wanted) == StudyPlan.Id(other.Options);
    }
}
