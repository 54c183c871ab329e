using Permafrost.Formats;
using Permafrost.Formats.Onnx;

namespace Permafrost.Models;

/// <summary>The embedding tables of a graph, told apart.</summary>
/// <param name="Words">(V, C), looked up by token.</param>
/// <param name="Positions">(P, C).</param>
/// <param name="Types">(S, C), looked up by segment.</param>
/// <param name="Norm">The norm of their sum.</param>
/// <param name="LookUps">The values that were looked up.</param>
internal sealed record OnnxEmbeddingTables(OnnxConstant Words, OnnxConstant Positions, OnnxConstant Types, OnnxNorm Norm, IReadOnlyList<string> LookUps);

/// <summary>
/// Finds the embedding tables of a BERT encoder: three tables whose rows are added and normed. Which is which follows from the sizes in <c>config.json</c>; where these leave a
/// choice, from what the ids are made of, from names, and from the order in which Hugging Face adds them.
/// </summary>
internal sealed class OnnxEmbeddings(OnnxGraph graph, OnnxBlocks blocks, HfConfig config)
{
    private static readonly int[][] Orders = [[0, 2, 1], [0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

    private string Source => graph.File.Path;

    /// <summary>The tables; null where no norm of a sum of tables is in the graph.</summary>
    /// <exception cref="PermafrostException">There is one, but not of BERT's three tables, or their sizes are not those of the configuration.</exception>
    public OnnxEmbeddingTables? Find()
    {
        foreach (OnnxNorm norm in blocks.Norms)
        {
            if (blocks.Terms(norm.Inputs) is not { Count: > 1 } terms) continue;
            Table?[] tables = [.. terms.Select(Look)];
            if (tables.Any(table => table is null) || tables.All(table => table!.LookedUp.Length == 0)) continue;
            return Assign([.. tables.OfType<Table>()], norm);
        }
        return null;
    }

    private OnnxEmbeddingTables Assign(Table[] tables, OnnxNorm norm)
    {
        if (Array.Find(tables, table => table.Folded) is { } folded)
            throw new PermafrostException(
                $"{Source}: one of its embedding tables was computed away by the exporter ('{folded.Constant.Tensor.Name}' is added as it is); " +
                "export the model with dynamic axes and token_type_ids as an input");
        if (tables.Length != 3)
            throw new PermafrostException($"{Source} is not the graph of a BERT encoder: it adds {tables.Length} embedding tables, BERT has 3 (tokens, positions, segments)");
        long[] wanted = [config.Int("vocab_size", 30522), config.Int("max_position_embeddings", 512), config.Int("type_vocab_size", 2)];
        int[][] fitting = [.. Orders.Where(order => order.Select((table, kind) => tables[table].Rows == wanted[kind]).All(fits => fits))];
        if (fitting.Length == 0)
            throw new PermafrostException(
                $"{Source}: its embedding tables have {string.Join(", ", tables.Select(table => table.Rows))} rows, {config.Source} says {string.Join(", ", wanted)} " +
                "(vocab_size, max_position_embeddings, type_vocab_size)");
        int[] best = fitting.MaxBy(order => Enumerable.Range(0, 3).Sum(kind => Likeness(tables[order[kind]], kind)))!;
        if (tables[best[1]].Operators.Contains("CumSum"))
            throw new PermafrostException($"{Source} is not the graph of a BERT encoder: it counts positions without padding, as RoBERTa does");
        return new OnnxEmbeddingTables(tables[best[0]].Constant, tables[best[1]].Constant, tables[best[2]].Constant, norm, [.. tables.Select(table => table.LookedUp)]);
    }

    // How much a table looks like that of tokens (0), positions (1) or segments (2).
    private int Likeness(Table table, int kind)
    {
        bool Named(string name, params string[] parts) => parts.Any(part => name.Contains(part, StringComparison.OrdinalIgnoreCase));
        string[] parts = kind switch { 0 => ["input_ids", "word", "tok_"], 1 => ["position"], _ => ["type", "segment"] };
        int score = 0;
        if (table.Inputs.Any(input => Named(input, parts))) score += 8;
        if (kind == 0 && graph.File.Inputs.Count > 0 && table.Inputs.Contains(graph.File.Inputs[0])) score += 4;
        if (kind == 1 && table.Inputs.Count == 0) score += 4;
        if (Named(table.Constant.Tensor.Name, kind == 0 ? ["word", "tok_"] : parts)) score += 2;
        return score;
    }

    private Table? Look(string value)
    {
        if (graph.Constant(value) is { } added) return added.Tensor.Type.IsFloat() && added.Tensor.Dims.Length > 1 ? new Table(added, "", [], [], Folded: true) : null;
        if (graph.Producer(value) is not { } node) return null;
        if (graph.IsLookUp(node))
        {
            (HashSet<string> inputs, HashSet<string> operators) = graph.Sources(node.Input(1));
            return new Table(graph.Constant(node.Input(0))!, value, inputs, operators, Folded: false);
        }
        // The first rows of a table: positions, without ids.
        if (node.Is("Slice") && graph.Constant(graph.Strip(node.Input(0))) is { IsMatrix: true } table) return new Table(table, "", [], [], Folded: false);
        return null;
    }

    // A table; the value that was looked up in it, empty for none; what its ids follow from.
    private sealed record Table(OnnxConstant Constant, string LookedUp, HashSet<string> Inputs, HashSet<string> Operators, bool Folded)
    {
        public long Rows => Constant.Shape[0];
    }
}
