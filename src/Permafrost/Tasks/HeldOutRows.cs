using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>The splits of a file that has none of its own: rows are held out at random, the same for every run.</summary>
/// <param name="Train">Numbers of the rows to train on, in order.</param>
/// <param name="Validation">Those held out for validation, in order.</param>
/// <param name="Test">Those held out for the test, in order.</param>
internal sealed record HeldOutRows(long[] Train, long[] Validation, long[] Test)
{
    /// <summary>Splits rows.</summary>
    /// <param name="task">The task, whose rows are in an order of their own.</param>
    /// <param name="path">The file, for errors.</param>
    /// <param name="rows">How many there are.</param>
    /// <param name="validation">Share held out for validation.</param>
    /// <param name="test">Share held out for the test.</param>
    /// <exception cref="PermafrostException">No row is left to train on.</exception>
    public static HeldOutRows Of(string task, string path, long rows, double validation, double test)
    {
        long[] order = new CounterRandom($"{task}/split", 0, 0).Permutation(rows);
        (int forValidation, int forTest) = (Share(order.Length, validation), Share(order.Length, test));
        if (forValidation + forTest >= order.Length)
            throw new PermafrostException(
                $"{path}: of {order.Length} row(s) {forValidation} would be held out for validation and {forTest} for the test, so that none is left to train on; " +
                "lower `validation_fraction` and `test_fraction`");
        int held = forValidation + forTest;
        return new HeldOutRows([.. order[held..].Order()], [.. order[..forValidation].Order()], [.. order[forValidation..held].Order()]);
    }

    // A fraction above 0 is never rounded down to no rows.
    private static int Share(int rows, double fraction) => fraction == 0 ? 0 : Math.Max(1, (int)Math.Round(rows * (decimal)fraction, MidpointRounding.AwayFromZero));
}
