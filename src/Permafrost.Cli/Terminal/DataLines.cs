using System.Text.Json.Nodes;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Cli.Terminal;

/// <summary>What was understood of a run's data: examples, tokens of an example, classes and how many examples each has.</summary>
internal static class DataLines
{
    // Of more examples so many are looked at, from the first to the last.
    private const int Most = 10_000;
    private const int BatchSize = 64;
    private const int MostShown = 12;

    /// <summary>Prints it.</summary>
    public static void Print(TaskData data)
    {
        string Examples(IDataset? split) => split is null ? "none" : split.Count is { } count ? FormattableString.Invariant($"{count:N0}") : "generated without end";
        Output.Line($"examples: training {Examples(data.Train)}, validation {Examples(data.Validation)}, test {Examples(data.Test)}");
        Facts facts = Facts.Of(data);
        string looked = data.Train.Count is { } all && facts.Looked == all ? "training examples" : FormattableString.Invariant($"{facts.Looked:N0} of the training examples");
        Output.Line(FormattableString.Invariant($"tokens an example: {facts.Shortest:N0} to {facts.Longest:N0}, on the average {facts.MeanLength:F1} ({looked})"));
        if (facts.Classes.Count > 0)
        {
            IEnumerable<string> first = facts.Classes.OrderByDescending(own => own.Count).Take(MostShown).Select(own => FormattableString.Invariant($"{own.Name} {own.Count:N0}"));
            string more = facts.Classes.Count <= MostShown ? ""
                : FormattableString.Invariant($" and {facts.Classes.Count - MostShown:N0} more, the rarest {facts.Classes.Min(own => own.Count):N0}");
            Output.Line($"{(data.Spec.Output is MultiLabelOutput ? "labels" : "classes")}: {facts.Classes.Count}, of the {looked}: {string.Join(", ", first)}{more}");
        }
        if (facts.Numbers is { } numbers)
            Output.Line(FormattableString.Invariant($"answers: {numbers.Least:G6} to {numbers.Largest:G6}, on the average {numbers.Mean:G6} ({looked})"));
    }

    /// <summary>The same as JSON.</summary>
    public static JsonObject Json(TaskData data)
    {
        Facts facts = Facts.Of(data);
        var json = new JsonObject
        {
            ["examples"] = new JsonObject { ["train"] = data.Train.Count, ["validation"] = data.Validation?.Count, ["test"] = data.Test?.Count },
            ["looked_at"] = facts.Looked,
            ["tokens"] = new JsonObject { ["shortest"] = facts.Shortest, ["longest"] = facts.Longest, ["mean"] = facts.MeanLength },
        };
        if (facts.Classes.Count > 0) json["classes"] = new JsonArray([.. facts.Classes.Select(own => (JsonNode)new JsonObject { ["name"] = own.Name, ["examples"] = own.Count })]);
        if (facts.Numbers is { } numbers) json["answers"] = new JsonObject { ["least"] = numbers.Least, ["largest"] = numbers.Largest, ["mean"] = numbers.Mean };
        return json;
    }

    private sealed record Facts(
        long Looked, long Shortest, long Longest, double MeanLength, IReadOnlyList<(string Name, long Count)> Classes, (double Least, double Largest, double Mean)? Numbers)
    {
        public static Facts Of(TaskData data)
        {
            (IReadOnlyList<string> labels, int classes) = data.Spec.Output switch
            {
                ClassOutput output => (output.Labels, output.Classes),
                TokenClassOutput output => (output.Labels, output.Classes),
                MultiLabelOutput output => (output.Labels, output.Classes),
                _ => ([], 0),
            };
            (var counts, var lengths, var numbers) = (new long[classes], new List<long>(), new List<float>());
            long looked = Math.Min(Most, data.Train.Count ?? BatchSize), all = data.Train.Count ?? looked;
            foreach (long[] part in Enumerable.Range(0, (int)looked).Select(i => i * all / looked).Chunk(BatchSize))
            {
                using DisposeScope scope = torch.NewDisposeScope();
                Batch batch = data.Train.Get(part);
                lengths.AddRange(batch.Mask?.sum(1).ToArray<long>() ?? [.. Enumerable.Repeat(batch.Inputs.size(1), part.Length)]);
                if (data.Spec.Output is NumberOutput) numbers.AddRange(batch.Targets.ToArray<float>().Where(float.IsFinite));
                else if (classes > 0) Count(data.Spec.Output is MultiLabelOutput, batch.Targets.ToArray<long>(), counts);
            }
            return new Facts(
                looked, lengths.Min(), lengths.Max(), lengths.Average(), [.. counts.Select((count, c) => (c < labels.Count ? labels[c] : $"{c}", count))],
                numbers.Count == 0 ? null : (numbers.Min(), numbers.Max(), numbers.Average(number => (double)number)));
        }

        private static void Count(bool flags, long[] targets, long[] counts)
        {
            for (int i = 0; i < targets.Length; i++)
            {
                if (flags) counts[i % counts.Length] += targets[i] == 1 ? 1 : 0;
                else if (targets[i] >= 0) counts[targets[i]]++;
            }
        }
    }
}
