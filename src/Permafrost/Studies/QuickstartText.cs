using System.Globalization;

namespace Permafrost.Studies;

/// <summary>The quickstart's result in words, for the terminal and for the page.</summary>
public static class QuickstartText
{
    /// <summary>How to read the table, in one sentence.</summary>
    public const string HowToRead = "Test accuracy \u00b1 its standard error over the test examples, one seed. Pretrained, random weights, statistics only: the same frozen body, "
        + "the same budget, each with its own learning rate.";

    /// <summary>The bodies by their init, as columns name them.</summary>
    public static string NameOf(string init) => init switch { "pretrained" => "pretrained", "random" => "random weights", _ => "statistics only" };

    /// <summary>An accuracy with its standard error, in percent.</summary>
    public static string Score(QuickstartArm arm) => arm.StandardError > 0
        ? FormattableString.Invariant($"{100 * arm.Accuracy:F1} \u00b1 {100 * arm.StandardError:F1} %")
        : Percent(arm.Accuracy);

    /// <summary>How many updates it took until all was right.</summary>
    public static string Steps(QuickstartRow row, QuickstartArm arm) => arm.StepsToAllRight is { } steps ? Count(steps) : $"> {Count(row.Cap ?? 0)}";

    /// <summary>What else a user would try, and what it scores.</summary>
    public static string Beside(QuickstartRow row) => string.Join(", ", row.Baselines.Select(baseline => $"{baseline.Name} {Percent(baseline.Score)}"));

    /// <summary>A baseline in a word or two.</summary>
    internal static string Short(string rule) => rule switch
    {
        "majority" => "a guess",
        "linear" => "linear model",
        "linear-probe" => "linear probe",
        "ngram-linear" => "n-gram model",
        "boosted-trees" => "boosted trees",
        _ => BaselineNames.Of(rule),
    };

    /// <summary>What the baselines are, for a note.</summary>
    public const string WhatIsBeside = "Beside it: the linear probe is a linear classifier on the frozen pretrained body's embedding; n-gram model, boosted trees (ML.NET) and "
        + "linear model read the inputs themselves, where examples are generated 10,000 of them; a guess is the most frequent class.";

    /// <summary>Where the learning rates come from, and which they are.</summary>
    public static string Rates(QuickstartResult result)
    {
        IEnumerable<string> rates = result.Rows.Select(row =>
            $"{row.Task} {string.Join(" / ", row.Arms.Select(arm => arm.Run.Result.LearningRate.ToString("R", CultureInfo.InvariantCulture)))}");
        return $"Learning rates, in the order of the columns: {string.Join("; ", rates)}; the best on validation in a committed sweep with another seed, " +
            $"{Quickstart.RatesFile} (`{SweptRate.CommittedBy}`).";
    }

    /// <summary>For each task what pretraining gave, by the numbers of these runs alone; a difference within two standard errors counts as none.</summary>
    public static IReadOnlyList<string> Findings(QuickstartResult result) => [.. result.Rows.Select(Finding)];

    private static string Finding(QuickstartRow row)
    {
        QuickstartArm pretrained = row.Arms[0];
        QuickstartArm control = row.Arms.Skip(1).MaxBy(arm => arm.Accuracy)!;
        string other = control.Init == "random" ? "random weights" : "its statistics alone";
        double gain = pretrained.Accuracy - control.Accuracy;
        string points = FormattableString.Invariant($"{100 * Math.Abs(gain):F1} points");
        string score;
        if (gain == 0) score = $"the same score, {Percent(pretrained.Accuracy)}, with {other}";
        else if (Math.Abs(gain) <= 2 * Math.Sqrt(Math.Pow(pretrained.StandardError, 2) + Math.Pow(control.StandardError, 2)))
            score = $"language pretraining gives nothing that shows: {Percent(pretrained.Accuracy)}, and {Percent(control.Accuracy)} with {other}";
        else if (gain > 0) score = $"language pretraining gives {points}: {Percent(pretrained.Accuracy)} against {Percent(control.Accuracy)} with {other}";
        else score = $"language pretraining costs {points}: {Percent(pretrained.Accuracy)} against {Percent(control.Accuracy)} with {other}";
        return $"{row.Task}: {score}{Speed(row)}{Rival(row, pretrained)}.";
    }

    private static string Speed(QuickstartRow row)
    {
        if (row.Cap is null || row.Arms.All(arm => arm.StepsToAllRight is null)) return "";
        return "; all answers right after " + string.Join(", ", row.Arms.Select(arm => $"{Steps(row, arm)} steps ({NameOf(arm.Init)}{Later(row, arm)})"));
    }

    // A cap that a newcomer can wait for says little of what would have come.
    private static string Later(QuickstartRow row, QuickstartArm arm) =>
        arm.StepsToAllRight is null && SweptRate.StepsToAllRight(row.Task, arm.Init, arm.Run.Result.LearningRate) is { } steps ? $"; {Count(steps)} in the sweep" : "";

    // What does as well without adapting the body should be known.
    private static string Rival(QuickstartRow row, QuickstartArm pretrained)
    {
        if (row.Baselines is not [(string name, double best), ..] || best < pretrained.Accuracy - pretrained.StandardError) return "";
        return best > pretrained.Accuracy + 2 * pretrained.StandardError
            ? $"; better: {name}, {Percent(best)}"
            : $"; as good: {name}, {Percent(best)}";
    }

    private static string Percent(double share) => FormattableString.Invariant($"{100 * share:F1} %");

    private static string Count(long number) => number.ToString("N0", CultureInfo.InvariantCulture);
}
