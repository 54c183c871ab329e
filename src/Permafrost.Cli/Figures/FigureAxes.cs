using System.Globalization;
using Permafrost.Studies;

namespace Permafrost.Cli.Figures;

/// <summary>Ranges, ticks and their labels, by the same rules as report.js.</summary>
internal static class FigureAxes
{
    /// <summary>The lowest and the highest value on the values' axis.</summary>
    public static (double Low, double High) Range(Figure figure)
    {
        double[] values = [.. figure.Curves.SelectMany(curve => curve.Logged.Concat(curve.Drawn)).OfType<double>()];
        if (values.Length == 0) return (0, 1);
        (double low, double high) = (values.Min(), values.Max());
        if (figure.IsShare)
        {
            foreach (FigureBaseline baseline in figure.Baselines) (low, high) = (Math.Min(low, baseline.Score), Math.Max(high, baseline.Score));
            // A share that hardly moves should look like it.
            if (high - low < 0.1) (low, high) = ((low + high) / 2 - 0.05, (low + high) / 2 + 0.05);
            double margin = 0.06 * (high - low);
            return (Math.Max(low - margin, -0.01), Math.Min(high + margin, 1.01));
        }
        double pad = 0.05 * (high - low), size = Math.Max(Math.Abs(low), Math.Abs(high));
        // What differs by rounding alone, as a value and its mean do, is one value: no ticks fit between.
        if (high - low <= 1e-9 * size) pad = size == 0 ? 1 : size * 0.1;
        return (low >= 0 ? Math.Max(0, low - pad) : low - pad, high + pad);
    }

    /// <summary>The ticks of the steps' axis: round whole numbers, at most <paramref name="most"/> or so.</summary>
    public static IEnumerable<double> Steps(Figure figure, int most) => Between(figure.FirstStep, figure.LastStep, Math.Max(1, Stride(figure.LastStep - figure.FirstStep, most)));

    /// <summary>The ticks of the values' axis: round numbers, at most <paramref name="most"/> or so.</summary>
    public static IEnumerable<double> Values((double Low, double High) range, int most) => Between(range.Low, range.High, Stride(range.High - range.Low, most));

    /// <summary>The title of the values' axis, with the unit.</summary>
    public static string Title(Figure figure)
    {
        string unit = figure.IsShare ? "%" : figure.Unit;
        return unit.Length > 0 ? $"{figure.Title} ({unit})" : figure.Title;
    }

    /// <summary>A step as a label; in thousands where the last of them has five digits.</summary>
    public static string Step(double step, long last) =>
        last >= 10_000 && step > 0 && step % 100 == 0 ? (step / 1000).ToString("0.#", CultureInfo.InvariantCulture) + "k" : step.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A value as a label.</summary>
    public static string Short(double value)
    {
        if (value == 0) return "0";
        return value.ToString(Math.Abs(value) is < 1e-3 or >= 1e5 ? "0.#e-0" : "0.#####", CultureInfo.InvariantCulture);
    }

    /// <summary>A share as a label.</summary>
    public static string ShortPercent(double share) => (100 * share).ToString("0.##", CultureInfo.InvariantCulture) + "\u00a0%";

    /// <summary>A score as a percentage with two decimals.</summary>
    public static string Percent(double share) => (100 * share).ToString("F2", CultureInfo.InvariantCulture) + "\u00a0%";

    // 1, 2 or 5 times a power of ten, so that at most about that many ticks fit.
    private static double Stride(double length, int most)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(length / most)));
        return power * new[] { 1.0, 2, 5, 10 }.First(factor => power * factor * most >= length * 0.999999);
    }

    private static IEnumerable<double> Between(double low, double high, double stride)
    {
        // Adding zero turns a negative zero into a plain one.
        for (double tick = Math.Ceiling(low / stride - 1e-9); tick * stride <= high + 1e-9 * stride; tick++) yield return Math.Round(tick * stride, 12) + 0.0;
    }
}
