using Permafrost.Formats.Onnx;
using Permafrost.Models.OnnxExport;
using Permafrost.Nn;
using Permafrost.Tasks;

namespace Permafrost.Adaptation;

/// <summary>
/// An adapted model as one ONNX file: from <c>input_ids</c> (batch, tokens) int64, <c>inputs</c> (batch, tokens, size) or <c>pixel_values</c> (batch, channels, height, width) to
/// <c>logits</c>, or <c>values</c> where numbers are asked for. All but pixels come with <c>attention_mask</c> (batch, tokens) int64, 1 for tokens and 0 for padding.
/// </summary>
internal sealed class OnnxModel
{
    private readonly AdaptedModel model;
    private readonly OnnxWriter graph = new();
    private readonly LayerGraph layers;

    private OnnxModel(AdaptedModel model)
    {
        this.model = model;
        Dictionary<string, Parameter> weights = model.Parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Parameter);
        layers = new LayerGraph(graph, name => weights[name].Value);
    }

    /// <summary>Writes a model, whose frozen weights are in float32.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">Where to.</param>
    /// <param name="properties">What readers of the file can look up.</param>
    /// <param name="largest">Bytes of weights from which on they go into a file beside it; null for what a file can hold.</param>
    /// <returns>The files that were written.</returns>
    /// <exception cref="PermafrostException">The body's family, its readout or its answers cannot be written, or the file cannot.</exception>
    public static IReadOnlyList<string> Write(AdaptedModel model, string path, IReadOnlyDictionary<string, string> properties, long? largest = null)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        var file = new OnnxModel(model);
        file.Build();
        foreach ((string key, string value) in properties) file.graph.Property(key, value);
        return largest is { } bytes ? file.graph.Save(path, bytes) : file.graph.Save(path);
    }

    private void Build()
    {
        if (model.Spec.Output is SequenceOutput || model.Readout.Kind == ReadoutKind.Decoder)
            throw new PermafrostException($"a model that answers from a decoder (`readout` {model.Readout}) cannot be written as ONNX");
        (string vectors, string mask) = Inputs();
        string hidden = BodyGraph.Add(layers, model.Backbone, vectors, mask);
        string answers = layers.Linear(Read(hidden, mask), "output_layer");
        switch (model.Spec.Output)
        {
            case ClassOutput classes:
                graph.Node("Reshape", "logits", [answers, graph.Integers(0, classes.Count, classes.Classes)]);
                graph.Output("logits", "batch", $"{classes.Count}", $"{classes.Classes}");
                break;
            case TokenClassOutput tokens:
                graph.Node("Identity", "logits", [answers]);
                graph.Output("logits", "batch", "tokens", $"{tokens.Classes}");
                break;
            case MultiLabelOutput labels:
                graph.Node("Reshape", "logits", [answers, graph.Integers(0, labels.Classes)]);
                graph.Output("logits", "batch", $"{labels.Classes}");
                break;
            case NumberOutput numbers:
                graph.Node("Reshape", "values", [answers, graph.Integers(0, numbers.Count)]);
                graph.Output("values", "batch", $"{numbers.Count}");
                break;
            default:
                throw new PermafrostException($"{model.Spec.Output.GetType().Name} cannot be written as ONNX");
        }
    }

    private (string Vectors, string Mask) Inputs()
    {
        if (model.Spec.Input is PixelInput pixels)
        {
            string patches = Cut(pixels, graph.Input("pixel_values", false, "batch", $"{pixels.Channels}", $"{pixels.Height}", $"{pixels.Width}"));
            string shape = graph.Node("Concat", [layers.Size(patches, 0), graph.Integers(pixels.Length)], new NodeAttribute("axis", 0));
            return (layers.Linear(patches, "input_layer"), layers.Node("Expand", graph.Integer(1), shape));
        }
        string? size = model.Spec.Input is VectorInput given ? $"{given.Size}" : null;
        string inputs = size is null ? graph.Input("input_ids", true, "batch", "tokens") : graph.Input("inputs", false, "batch", "tokens", size);
        string mask = graph.Input("attention_mask", true, "batch", "tokens");
        if (size is not null) return (layers.Linear(inputs, "input_layer"), mask);
        string table = model.Parameters.Any(parameter => parameter.Name == "input_layer.weight") ? "input_layer.weight" : model.Backbone.TokenTable
            ?? throw new PermafrostException($"{model.Backbone.Config.ModelType} has no token table that could be written as ONNX");
        return (layers.Node("Gather", layers.Constant(table), inputs), mask);
    }

    // As PixelInput.Cut.
    private string Cut(PixelInput pixels, string values)
    {
        (long rows, long columns, long patch) = (pixels.Height / pixels.Patch, pixels.Width / pixels.Patch, pixels.Patch);
        string whole = layers.Node("Slice", values, graph.Integers(0, 0), graph.Integers(rows * patch, columns * patch), graph.Integers(2, 3));
        string split = layers.Node("Reshape", whole, graph.Integers(-1, pixels.Channels, rows, patch, columns, patch));
        string moved = graph.Node("Transpose", [split], new NodeAttribute("perm", Ints: [0, 2, 4, 1, 3, 5]));
        return layers.Node("Reshape", moved, graph.Integers(-1, rows * columns, pixels.PatchSize));
    }

    // (B, K, C) of (B, T, C), as Readout.Positions and Readout.Read.
    private string Read(string hidden, string mask)
    {
        if (model.Readout.Kind == ReadoutKind.All) return hidden;
        if (model.Readout.Kind == ReadoutKind.Mean)
        {
            string weights = layers.Node("Unsqueeze", graph.Node("Cast", [mask], new NodeAttribute("to", 1)), graph.Integers(2));
            return layers.Node("Div", layers.Node("ReduceSum", layers.Node("Mul", hidden, weights), graph.Integers(1)), layers.Node("ReduceSum", weights, graph.Integers(1)));
        }
        string positions;
        if (model.Readout.Kind == ReadoutKind.First) positions = graph.Node("ArgMax", [mask], new NodeAttribute("axis", 1));
        else
        {
            string places = layers.Node("Mul", mask, layers.Node("Add", layers.Range(mask), graph.Integer(1)));
            string fromLast = graph.Second("TopK", [places, graph.Integers(model.Readout.Count)], new NodeAttribute("axis", 1));
            positions = layers.Node("Slice", fromLast, graph.Integers(-1), graph.Integers(-model.Readout.Count - 1), graph.Integers(1), graph.Integers(-1));
        }
        return graph.Node("GatherND", [hidden, layers.Node("Unsqueeze", positions, graph.Integers(2))], new NodeAttribute("batch_dims", 1));
    }
}
