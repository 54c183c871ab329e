namespace Permafrost.Training;

/// <summary>Learning-rate schedules as in transformers/optimization.py: a factor for each optimiser step, counted from 0.</summary>
public static class LearningRateSchedule
{
    /// <summary>The names, as <c>lr_scheduler_type</c>.</summary>
    public static IReadOnlyList<string> Names { get; } = ["constant", "constant_with_warmup", "linear", "cosine", "inverse_sqrt"];

    /// <summary>What the base rate is multiplied by at a step.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="step">Optimiser step, counted from 0.</param>
    /// <param name="warmup">Steps over which the rate rises linearly from 0; <c>constant</c> has none.</param>
    /// <param name="total">Steps of the whole run.</param>
    /// <exception cref="UsageException">The name is unknown.</exception>
    public static double Factor(string name, long step, long warmup, long total)
    {
        if (!Names.Contains(name)) throw new UsageException($"`lr_scheduler_type` {name} does not exist; there are {string.Join(", ", Names)}");
        if (name == "constant") return 1;
        if (step < warmup) return (double)step / Math.Max(1, warmup);
        double progress = (double)(step - warmup) / Math.Max(1, total - warmup);
        return name switch
        {
            "linear" => Math.Max(0, (double)(total - step) / Math.Max(1, total - warmup)),
            "cosine" => Math.Max(0, 0.5 * (1 + Math.Cos(Math.PI * progress))),
            // transformers: timescale = warm-up steps (10,000 when there are none), shifted so that the factor is 1 at the end of the warm-up.
            "inverse_sqrt" => 1 / Math.Sqrt((step + (double)Timescale(warmup) - warmup) / Timescale(warmup)),
            _ => 1,
        };
    }

    /// <summary>
    /// A factor beside <see cref="Factor"/>: 1, and over the last steps down to 0 in a straight line, as Mesh TensorFlow's linear decay does beside its inverse square root.
    /// </summary>
    /// <param name="step">Optimiser step, counted from 0.</param>
    /// <param name="total">Steps of the whole run.</param>
    /// <param name="share">The share of them over which it falls; 0 for none.</param>
    public static double RampDown(long step, long total, double share) => share <= 0 ? 1 : Math.Clamp((total - step) / (share * total), 0, 1);

    private static long Timescale(long warmup) => warmup > 0 ? warmup : 10_000;
}
