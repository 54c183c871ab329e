namespace Permafrost.Data;

/// <summary>What is read of a table.</summary>
/// <param name="Label">The column of the labels; null to read none.</param>
/// <param name="Text">The column of the texts; null where the others are numbers.</param>
/// <param name="Numbers">The columns of numbers, by name; null for all but the label's.</param>
/// <param name="NamesOnly">Nothing is read but what the columns are called, whatever they hold.</param>
internal sealed record TableColumns(string? Label, string? Text = null, IReadOnlyList<string>? Numbers = null, bool NamesOnly = false)
{
    /// <summary>Whether a number may be missing, and is NaN then.</summary>
    public bool MayMiss { get; init; }

    /// <summary>Whether a label may be empty, as where it is any number of labels.</summary>
    public bool LabelMayBeEmpty { get; init; }
}

/// <summary>A row of a table.</summary>
/// <param name="Line">The line that it begins on, or its number from 1 where a file has no lines.</param>
/// <param name="Label">Its label; empty where none is read.</param>
/// <param name="Text">Its text; empty where none is read.</param>
/// <param name="Numbers">Its numbers; none where a text is read.</param>
internal sealed record TableRow(int Line, string Label, string Text, float[] Numbers);

/// <summary>An open table, read row by row. Whatever is wrong is said with file and row.</summary>
internal interface ITableFile : IDisposable
{
    /// <summary>The columns of numbers, in the order in which a row has them.</summary>
    IReadOnlyList<string> Columns { get; }

    /// <summary>Columns that are neither label nor number where the file is read for its numbers; none where it is read for a text.</summary>
    IReadOnlyList<string> Unread { get; }

    /// <summary>What its reader took for granted and the user is to know; null for nothing.</summary>
    string? Note => null;

    /// <summary>The rows, as they are read; at least one.</summary>
    IEnumerable<TableRow> Rows();
}
