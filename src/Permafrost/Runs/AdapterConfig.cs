using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Runs;

/// <summary>What an adapter says of itself in <c>adapter_config.json</c>: for which body, task and shapes it was trained.</summary>
/// <param name="BackboneSha256">SHA-256 of the body's weights; null where the file does not say.</param>
/// <param name="Backbone">The body as it was typed, with its init where that is not pretrained; null where the file does not say.</param>
/// <param name="Spec">What the task feeds and asks for, with the readout.</param>
public sealed record AdapterConfig(string? BackboneSha256, string? Backbone, TaskSpec Spec)
{
    private static readonly string[] Keys =
    [
        "adapter_version", "permafrost_version", "step", "task", "task_version", "task_options", "policy", "input_layer", "readout", "backbone", "backbone_sha256", "init",
        "init_seed", "init_version", "shape", "labels", "preprocessing", "source",
    ];

    /// <summary>Reads an adapter's configuration, of this version or the first.</summary>
    /// <param name="folder">The adapter's folder.</param>
    /// <exception cref="PermafrostException">It is missing, damaged or from a newer version.</exception>
    public static AdapterConfig Read(string folder)
    {
        JsonObject json = AdapterFolder.ReadConfig(folder);
        if (json.Select(pair => pair.Key).FirstOrDefault(key => !Keys.Contains(key)) is { } stray)
            throw new PermafrostException($"{folder}: adapter_config.json has the key '{stray}', which no adapter has; it was changed by hand, or by another program");
        try
        {
            string readout = (string)JsonFile.Given(json, "readout")!;
            _ = Readout.Parse(readout);
            JsonNode shape = JsonFile.Given(json, "shape");
            string[] labels = Texts(JsonFile.Given(json, "labels"));
            TaskSpec spec = SpecFrom(shape, labels);
            // The first version wrote none.
            var preprocessing = new OrderedDictionary<string, string>();
            foreach ((string fact, JsonNode? said) in json["preprocessing"]?.AsObject() ?? []) preprocessing[fact] = (string?)said ?? throw new FormatException("no text");
            TaskSpec? source = json["source"] is not JsonObject own ? null
                : SpecFrom(JsonFile.Given(own, "shape"), Texts(JsonFile.Given(own, "labels"))) with
                { Readout = (string)JsonFile.Given(own, "readout")!, Preprocessing = preprocessing };
            return new AdapterConfig(json["backbone_sha256"]?.ToString(), BackboneOf(json), spec with { Readout = readout, Preprocessing = preprocessing, Source = source });
        }
        catch (Exception error) when (error is InvalidOperationException or FormatException or JsonException or UsageException)
        {
            throw new PermafrostException($"{folder}: adapter_config.json lacks the shape, readout or labels of the task, or they do not fit together; it may be damaged");
        }
    }

    /// <summary>The configuration of a run's adapter.</summary>
    /// <param name="run">The run.</param>
    /// <param name="step">The step whose weights are written.</param>
    public static JsonObject Of(Finetuning run, long step)
    {
        RunOptions options = run.Options;
        TaskSpec spec = run.Model.Spec;
        var json = new JsonObject
        {
            ["permafrost_version"] = EnvironmentInfo.Version,
            ["step"] = step,
            ["task"] = options.Data.Task,
            ["task_version"] = run.Task.Version,
            ["task_options"] = new JsonObject(options.Data.TaskOptions.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value))),
            ["policy"] = options.Model.Policy,
            ["input_layer"] = options.Model.InputLayer,
            ["readout"] = run.Model.Readout.ToString(),
            ["backbone"] = run.ShownBackbone,
            ["backbone_sha256"] = run.Weights.Sha256,
            ["init"] = options.Model.Init,
            ["init_seed"] = options.Model.InitSeed,
            ["init_version"] = BackboneInit.Version,
            ["shape"] = Shape(spec),
            ["labels"] = new JsonArray([.. Labels(spec.Output).Select(label => (JsonNode)label)]),
            ["preprocessing"] = new JsonObject(spec.Preprocessing.Select(fact => KeyValuePair.Create(fact.Key, (JsonNode?)fact.Value))),
        };
        if (spec.Source is { } source)
            json["source"] = new JsonObject
            {
                ["shape"] = Shape(source),
                ["labels"] = new JsonArray([.. Labels(source.Output).Select(label => (JsonNode)label)]),
                ["readout"] = source.Readout,
            };
        return json;
    }

    private static string? BackboneOf(JsonObject json)
    {
        if (json["backbone"]?.ToString() is not { Length: > 0 } name) return null;
        return json["init"]?.ToString() is { Length: > 0 } init and not "pretrained" ? $"{name} (init {init}, seed {json["init_seed"] ?? 0})" : name;
    }

    internal static IReadOnlyList<string> Labels(OutputSpec output) => output switch
    {
        ClassOutput classes => classes.Labels,
        MultiLabelOutput many => many.Labels,
        TokenClassOutput tokens => tokens.Labels,
        SequenceOutput sequence => sequence.Tokens,
        _ => [],
    };

    // The keys of classification over vectors or ids are those of the first version.
    internal static JsonObject Shape(TaskSpec spec)
    {
        var shape = new JsonObject { ["sequence_length"] = spec.Input.Length };
        if (spec.Input is VectorInput vectors) shape["vector_size"] = vectors.Size;
        if (spec.Input is IdInput ids) shape["vocabulary"] = ids.Vocabulary;
        if (spec.Input is TextInput texts) shape["text_vocabulary"] = texts.Vocabulary;
        if (spec.Input is PixelInput pixels) shape["pixels"] = new JsonArray(pixels.Channels, pixels.Height, pixels.Width, pixels.Patch);
        if (spec.Output is ClassOutput classes) (shape["targets"], shape["classes"]) = (classes.Count, classes.Classes);
        if (spec.Output is TokenClassOutput tokens) shape["token_classes"] = tokens.Classes;
        if (spec.Output is MultiLabelOutput many) shape["multi_label"] = many.Classes;
        if (spec.Output is NumberOutput numbers) shape["numbers"] = numbers.Count;
        if (spec.Output is SequenceOutput sequence)
        {
            var json = new JsonObject { ["vocabulary"] = sequence.Vocabulary, ["length"] = sequence.Length, ["end"] = sequence.End };
            if (sequence.Labels.Count > 0)
                json["labels"] = new JsonArray([.. sequence.Labels.Select(label => new JsonObject
                {
                    ["text"] = label.Text,
                    ["tokens"] = new JsonArray([.. label.Tokens.Select(token => (JsonNode)token)]),
                })]);
            shape["sequence"] = json;
        }
        shape["metrics"] = new JsonArray([.. spec.Metrics.Select(metric => new JsonObject
        {
            ["name"] = metric.Name,
            ["measure"] = metric.Measure,
            ["higher_is_better"] = metric.HigherIsBetter,
            ["unit"] = metric.Unit,
            ["over"] = metric.Over,
            ["class"] = metric.Class,
        })]);
        return shape;
    }

    private static TaskSpec SpecFrom(JsonNode shape, string[] labels)
    {
        int length = (int)JsonFile.Given(shape, "sequence_length");
        InputSpec input = shape["pixels"] is JsonArray { Count: 4 } pixels ? PixelsFrom([.. pixels.Select(size => (int?)size ?? 0)])
            : shape["vector_size"] is { } size ? new VectorInput((int)size, length)
            : shape["text_vocabulary"] is { } texts ? new TextInput((int)texts, length) : new IdInput((int)JsonFile.Given(shape, "vocabulary"), length);
        OutputSpec output = shape["numbers"] is { } numbers ? new NumberOutput((int)numbers)
            : shape["sequence"] is { } sequence ? SequenceFrom(sequence, labels)
            : shape["multi_label"] is { } many ? new MultiLabelOutput((int)many) { Labels = labels }
            : shape["token_classes"] is { } tokens ? new TokenClassOutput((int)tokens) { Labels = labels }
            : new ClassOutput((int)JsonFile.Given(shape, "classes")) { Labels = labels, Count = (int)JsonFile.Given(shape, "targets") };
        int classes = output switch
        {
            ClassOutput of => of.Classes,
            TokenClassOutput of => of.Classes,
            MultiLabelOutput of => of.Classes,
            SequenceOutput of => of.Vocabulary,
            _ => 1,
        };
        bool fits = length > 0 && input.Length == length && classes > 0 && output.Answers >= (output is TokenClassOutput or SequenceOutput ? 0 : 1)
            && input is not (VectorInput { Size: < 1 } or IdInput { Vocabulary: < 1 } or TextInput { Vocabulary: < 1 })
            && (labels.Length == 0 || labels.Length == classes);
        return fits ? new TaskSpec(input, output) { Metrics = MetricsFrom(shape, output) } : throw new FormatException("no such shape");
    }

    private static string[] Texts(JsonNode list) => [.. list.AsArray().Select(text => (string?)text ?? throw new FormatException("no text"))];

    private static PixelInput PixelsFrom(int[] sizes) =>
        sizes.All(size => size > 0) ? new PixelInput(sizes[0], sizes[1], sizes[2], sizes[3]) : throw new FormatException("no such pixels");

    private static SequenceOutput SequenceFrom(JsonNode json, string[] tokens)
    {
        int vocabulary = (int)JsonFile.Given(json, "vocabulary");
        long Id(JsonNode? token) => (long?)token is >= 0 and var id && id < vocabulary ? id : throw new FormatException("no such token");
        WrittenLabel Label(JsonNode? label) => label is not JsonObject own ? throw new FormatException("no label")
            : new WrittenLabel((string)JsonFile.Given(own, "text")!, [.. JsonFile.Given(own, "tokens").AsArray().Select(Id)]);
        WrittenLabel[] labels = [.. json["labels"]?.AsArray().Select(Label) ?? []];
        var output = new SequenceOutput(vocabulary, (int)JsonFile.Given(json, "length"), (int)JsonFile.Given(json, "end")) { Tokens = tokens, Labels = labels };
        return output is { Vocabulary: > 0, Length: > 0, End: >= 0 } && output.End < output.Vocabulary ? output : throw new FormatException("no such sequence");
    }

    private static IReadOnlyList<MetricInfo> MetricsFrom(JsonNode shape, OutputSpec output)
    {
        if (shape["metrics"] is JsonArray { Count: > 0 } metrics) return [.. metrics.Select(metric => MetricFrom(metric ?? throw new FormatException("no metric")))];
        // The first version knew of one subset, that of Bit Memory.
        return (string?)shape["hard_metric"] is { } hard ? [.. output.Metrics, MetricInfo.Accuracy with { Name = hard, Over = "masked" }] : output.Metrics;
    }

    private static MetricInfo MetricFrom(JsonNode json)
    {
        string name = (string)JsonFile.Given(json, "name")!, measure = (string)JsonFile.Given(json, "measure")!;
        if (!Metric.Measures.Contains(measure)) throw new FormatException("no such measure");
        return new MetricInfo(name, measure, (bool)JsonFile.Given(json, "higher_is_better"), (string?)json["unit"] ?? "", (string?)json["over"]) { Class = (int?)json["class"] };
    }
}
