using Permafrost.Adaptation;
using Permafrost.Formats;
using Permafrost.Tasks;

namespace Permafrost.Runs;

/// <summary>
/// A finished run's model as ONNX (operator set 17), in float32: body, adapter and head in one file. What reads it gives ids, vectors or pixels as the task encodes them, and gets
/// logits; texts are to be tokenised before, by the body's own tokenizer.
/// </summary>
/// <param name="Files">What was written: the model, and above 2 GB its weights beside it.</param>
public sealed record OnnxExport(IReadOnlyList<string> Files)
{
    /// <summary>
    /// Writes a run's model. Its properties <c>permafrost.task</c>, <c>permafrost.backbone</c>, <c>permafrost.readout</c>, <c>permafrost.labels</c> (one a line) and
    /// <c>permafrost.preprocessing</c> say what goes in and comes out.
    /// </summary>
    /// <param name="run">A finished run, opened with frozen weights in float32 (<see cref="Open"/>).</param>
    /// <param name="path">The file.</param>
    /// <exception cref="PermafrostException">The body's family, its readout or its answers cannot be written as ONNX, or the file cannot be written.</exception>
    public static OnnxExport Write(Finetuning run, string path)
    {
        TaskSpec spec = run.Model.Spec;
        IReadOnlyList<string> labels = spec.Output switch
        {
            ClassOutput classes => classes.Labels,
            TokenClassOutput classes => classes.Labels,
            MultiLabelOutput classes => classes.Labels,
            _ => [],
        };
        var properties = new Dictionary<string, string>
        {
            ["permafrost.task"] = run.Options.Data.Task,
            ["permafrost.backbone"] = run.Options.Model.Backbone,
            ["permafrost.readout"] = run.Model.Readout.ToString(),
            ["permafrost.labels"] = string.Join('\n', labels),
            ["permafrost.preprocessing"] = string.Join('\n', spec.Preprocessing.Select(fact => $"{fact.Key}: {fact.Value}")),
        };
        if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder) AtomicFile.MakeFolder(folder);
        return new OnnxExport(OnnxModel.Write(run.Model, path, properties));
    }

    /// <summary>Opens a finished run for <see cref="Write"/>.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="backbone">Where the body is now; null for where it was.</param>
    /// <exception cref="PermafrostException">The run is damaged, unfinished, or its backbone is not the one it was trained on.</exception>
    public static Finetuning Open(string folder, string? backbone = null) => Finetuning.Open(folder, withData: false, options => options with
    {
        Model = options.Model with { Backbone = backbone ?? options.Model.Backbone, FrozenDtype = "float32", Device = "cpu" },
    });
}
