using Permafrost.Adaptation;
using Permafrost.Models;
using Spectre.Console;

namespace Permafrost.Cli.Terminal;

/// <summary>What a backbone is, for people.</summary>
internal static class BackboneTable
{
    public static void Print(string reference, BackboneSource source, BackboneSummary summary)
    {
        BackboneTraits traits = summary.Traits;
        string length = traits.LongestInput is { } longest ? $"sequences of up to {longest:N0} tokens" : "sequences of any length";
        Output.Line($"{reference}: {source.Config.ModelType}, {Layers(traits)}, {length}, {summary.Elements:N0} parameters without heads");
        Output.Line(source.Folder is null ? "a preset: use it with --init random"
            : summary.StoredTypes.Count == 0 ? $"no weights in {source.Folder}: use it with --init random"
            : $"weights: {source.Folder} ({string.Join(", ", summary.StoredTypes)})");
        if (summary.Groups.Count == 0) return;
        Table table = Output.Table("group", "tensors", "parameters", "share");
        foreach (GroupSize group in summary.Groups)
            table.AddRow(Name(group), $"{group.Tensors}", $"{group.Elements:N0}", ResultTable.Percent((double)group.Elements / Math.Max(1, summary.Elements)));
        Output.Write(table);
        string rows = summary.PositionRows == 0 ? "" : $", positions among them: of a table of {summary.PositionRows:N0} rows a run trains those that its sequences reach";
        string read = traits.EncoderDecoder ? " and read from its encoder" : "";
        Output.Line(FormattableString.Invariant(
            $"fpt, fed with vectors{read}, trains {summary.TrainedElements:N0} of these parameters ({summary.TrainedPercent:F2} %){rows}; and the new input and output layer"));
        Output.Line(
            $"memory of the weights that it reads: {Output.Bytes(summary.Float32Bytes)} in float32, {Output.Bytes(summary.BFloat16Bytes)} with frozen matrices in bfloat16" +
            (summary.UnusedElements == 0 ? "" : $"; {summary.UnusedElements:N0} parameters are never reached"));
    }

    /// <summary>A group's name as policies write it.</summary>
    public static string Name(GroupSize group) => group.Group.ToString().ToLowerInvariant();

    private static string Layers(BackboneTraits traits) => traits.Layers switch
    {
        0 => $"no layers, width {traits.Width}",
        1 => $"1 layer of {traits.Width}",
        _ when traits.EncoderDecoder => $"{traits.Layers - traits.DecoderLayers} layers of an encoder and {traits.DecoderLayers} of a decoder, width {traits.Width}",
        _ => $"{traits.Layers} layers of {traits.Width}",
    };
}
