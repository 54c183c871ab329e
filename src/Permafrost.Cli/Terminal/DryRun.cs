using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Training;

namespace Permafrost.Cli.Terminal;

/// <summary>Prints what was understood of a run's data, what it would train and how much memory it would need, without training it.</summary>
internal static class DryRun
{
    public static int Print(Finetuning run, bool json)
    {
        foreach (string note in run.Notes) Output.Note(OptionWords.AsFlags(note));
        MemoryTrial memory = run.MeasureMemory();
        long peak = memory.PeakBytes(run.MicroBatchSize, run.EvalBatchSize);
        if (json)
        {
            Output.Json(new JsonObject
            {
                ["options"] = Options(run.Options),
                ["data"] = DataLines.Json(run.Data!),
                ["parameters"] = Parameters(run.ParameterCounts()),
                ["steps"] = run.Steps,
                ["backbone_sha256"] = run.Weights.Sha256,
                ["frozen_dtype"] = run.Model.FrozenType.ToString().ToLowerInvariant(),
                ["peak_memory_bytes"] = peak,
            });
            return 0;
        }
        Output.Line(RunConfig.ToYaml(run.Options, "resolved options"));
        DataLines.Print(run.Data!);
        Output.Line(run.Model.Counts.ToString());
        foreach (IGrouping<GroupName, AdaptedParameter> group in run.Model.Parameters.GroupBy(parameter => parameter.Group)) Output.Line(Line(group));
        Output.Line($"steps: {run.Steps:N0}");
        string parts =
            $"loaded {Output.Bytes(memory.Loaded)}, gradients and optimizer {Output.Bytes(memory.StateBytes)}, " +
            $"activations {Output.Bytes(run.MicroBatchSize * memory.TrainingBytes)}";
        Output.Line($"memory at its peak, about: {Output.Bytes(peak)} ({parts})");
        return 0;
    }

    private static string Line(IGrouping<GroupName, AdaptedParameter> group)
    {
        long all = group.Sum(p => p.Parameter.Elements);
        long trained = group.Where(p => p.Trained).Sum(p => p.Parameter.Elements);
        long unused = group.Where(p => p.Unused).Sum(p => p.Parameter.Elements);
        string line = FormattableString.Invariant($"  {group.Key.ToString().ToLowerInvariant(),-8} {all,14:N0}  trained {trained,12:N0}");
        return unused > 0 ? line + FormattableString.Invariant($"  unused {unused:N0}") : line;
    }

    private static JsonObject Options(RunOptions options)
    {
        var json = new JsonObject();
        foreach (OptionField field in OptionTable.All)
            json[field.Key] = field.Value(options) switch
            {
                null => null,
                IReadOnlyDictionary<string, string> map => new JsonObject(map.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)pair.Value))),
                _ => field.Format(options),
            };
        return json;
    }

    private static JsonObject Parameters(RunParameters counts) => new()
    {
        ["total"] = counts.Total,
        ["trained"] = counts.Trained,
        ["trained_percent"] = counts.TrainedPercent,
        ["unused"] = counts.Unused,
        ["position_rows_used"] = counts.PositionRowsUsed,
    };
}
