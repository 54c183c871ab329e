namespace Permafrost.Data.Csv;

/// <summary>The rows of a table, with a label each, in memory.</summary>
/// <param name="Columns">The names of the columns of numbers; none where texts are read.</param>
/// <param name="Rows">The rows.</param>
internal sealed record CsvTable(IReadOnlyList<string> Columns, IReadOnlyList<TableRow> Rows)
{
    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="wanted">What to read of it.</param>
    /// <exception cref="PermafrostException">The file is missing, ragged, empty, or holds something else than is wanted; the message names the line.</exception>
    public static CsvTable Read(string path, TableColumns wanted)
    {
        using var file = new CsvFile(path, wanted);
        TableRow[] rows = [.. file.Rows()];
        return new CsvTable(file.Columns, rows);
    }
}

/// <summary>Rows held out of a table: of every label the same shares, at random, but at least a row in each part where there are enough.</summary>
/// <param name="Train">Numbers of the rows to train on, in order.</param>
/// <param name="Validation">Those held out for validation, in order.</param>
/// <param name="Test">Those held out for the test, in order.</param>
internal sealed record StratifiedSplit(int[] Train, int[] Validation, int[] Test)
{
    /// <summary>Splits rows.</summary>
    /// <param name="rowLabels">The label of each.</param>
    /// <param name="labels">The labels that occur, in an order of their own.</param>
    /// <param name="validation">Share held out for validation.</param>
    /// <param name="test">Share held out for the test.</param>
    /// <param name="seed">Decides which.</param>
    public static StratifiedSplit Of(IReadOnlyList<string> rowLabels, IReadOnlyList<string> labels, double validation, double test, long seed)
    {
        (var train, var held, var scored) = (new List<int>(), new List<int>(), new List<int>());
        ILookup<string, int> byLabel = Enumerable.Range(0, rowLabels.Count).ToLookup(row => rowLabels[row]);
        for (int label = 0; label < labels.Count; label++)
        {
            int[] own = [.. byLabel[labels[label]]];
            long[] order = new CounterRandom("dataset/split", seed, label).Permutation(own.Length);
            int forValidation = Share(own.Length, validation), forTest = Share(own.Length, test);
            if (forValidation + forTest >= own.Length) (forValidation, forTest) = (0, 0);
            held.AddRange(order[..forValidation].Select(i => own[i]));
            scored.AddRange(order[forValidation..(forValidation + forTest)].Select(i => own[i]));
            train.AddRange(order[(forValidation + forTest)..].Select(i => own[i]));
        }
        return new StratifiedSplit([.. train.Order()], [.. held.Order()], [.. scored.Order()]);
    }

    private static int Share(int rows, double fraction) => fraction <= 0 ? 0 : Math.Max(1, (int)Math.Round(rows * (decimal)fraction, MidpointRounding.AwayFromZero));
}
