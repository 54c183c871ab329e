using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Adaptation;

/// <summary>A group of a backbone's parameters.</summary>
/// <param name="Group">The group.</param>
/// <param name="Tensors">How many tensors.</param>
/// <param name="Elements">How many numbers.</param>
public sealed record GroupSize(GroupName Group, int Tensors, long Elements);

/// <summary>What a backbone is and what the policy <c>fpt</c> would train of it, before anything is loaded.</summary>
/// <param name="Traits">Width, layers, what it can be fed.</param>
/// <param name="Groups">Its groups, by name.</param>
/// <param name="StoredTypes">The element types of the checkpoint, as safetensors names them; empty where there are no weights.</param>
/// <param name="TrainedElements">Numbers that <c>fpt</c> trains where vectors are fed to it, without the new input and output layer.</param>
/// <param name="UnusedElements">Numbers that vectors never reach, such as the token table.</param>
/// <param name="PositionRows">Rows of the largest table of positions or distances, of which a run trains those that its sequences reach; 0 where there is none.</param>
/// <param name="Float32Bytes">Memory of the weights that such a run reads, in float32.</param>
/// <param name="BFloat16Bytes">The same with frozen matrices in bfloat16.</param>
public sealed record BackboneSummary(
    BackboneTraits Traits, IReadOnlyList<GroupSize> Groups, IReadOnlyList<string> StoredTypes, long TrainedElements, long UnusedElements, long PositionRows, long Float32Bytes,
    long BFloat16Bytes)
{
    /// <summary>Numbers of the whole backbone, without heads.</summary>
    public long Elements => Groups.Sum(group => group.Elements);

    /// <summary>Share of <see cref="TrainedElements"/>, in percent.</summary>
    public double TrainedPercent => Elements == 0 ? 0 : 100.0 * TrainedElements / Elements;

    /// <summary>Describes a backbone by its configuration and, where it has weights, the headers of their files.</summary>
    /// <exception cref="PermafrostException">The configuration or a file is damaged, or the family is not known.</exception>
    public static BackboneSummary Of(BackboneSource source)
    {
        Architecture architecture = ModelRegistry.Find(source.Config);
        using Backbone backbone = architecture.Backbone(source.Config);
        var fpt = Policy.Parse("fpt");
        HashSet<string> unused = [.. backbone.UnusedParameters(new BackboneUse(Vectors: true))];
        var groups = new SortedDictionary<string, GroupSize>(StringComparer.Ordinal);
        (long trained, long left, long rows, long wide, long mixed) = (0, 0, 0, 0, 0);
        foreach ((string name, Parameter parameter) in backbone.NamedParameters())
        {
            (GroupName group, int layer) = backbone.GroupOf(name);
            GroupSize size = groups.GetValueOrDefault($"{group}") ?? new GroupSize(group, 0, 0);
            groups[$"{group}"] = size with { Tensors = size.Tensors + 1, Elements = size.Elements + parameter.Elements };
            if (unused.Contains(name))
            {
                left += parameter.Elements;
                continue;
            }
            bool trains = fpt.Trains(group, layer, backbone.Traits.Layers);
            if (trains) trained += parameter.Elements;
            if (group == GroupName.Pos && parameter.Shape.Length >= 2) rows = Math.Max(rows, parameter.Shape[^2]);
            wide += parameter.Elements * sizeof(float);
            mixed += parameter.Elements * (!trains && parameter.Layout != MatrixLayout.None ? ScalarType.BFloat16 : ScalarType.Float32).ElementBytes();
        }
        return new BackboneSummary(backbone.Traits, [.. groups.Values], Types(architecture, source, backbone), trained, left, rows, wide, mixed);
    }

    private static string[] Types(Architecture architecture, BackboneSource source, Backbone backbone)
    {
        if (source.Folder is null || !CheckpointReader.IsIn(source.Folder)) return [];
        using var reader = new CheckpointReader(architecture, "", source.Folder);
        return [.. backbone.NamedParameters().Select(pair => reader.TypeOf(pair.Name)).OfType<string>().Distinct().Order(StringComparer.Ordinal)];
    }
}
