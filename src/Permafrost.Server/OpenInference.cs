using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Permafrost.Adaptation;
using Permafrost.Tasks;

namespace Permafrost.Server;

/// <summary>
/// The Open Inference Protocol, version 2, over REST (github.com/kserve/open-inference-protocol): one input tensor, whose first dimension is the rows. BYTES are texts, or lines in
/// the task's format; FP32, FP64, INT32 and INT64 of two dimensions are rows of numbers or ids, and of three are series of T steps of C channels. Its binary tensors are not taken.
/// </summary>
internal static class OpenInference
{
    private const long MostElements = 1 << 24;
    private static readonly string[] NumberTypes = ["FP32", "FP64", "INT32", "INT64"];

    /// <summary>The rows of a request.</summary>
    /// <param name="request">Its body.</param>
    /// <returns>A JSON document of rows, to be disposed of, and the request's id.</returns>
    /// <exception cref="RequestException">It is no such request; the message says where.</exception>
    public static (JsonDocument Rows, string? Id) Read(JsonElement request)
    {
        string? id = request.TryGetProperty("id", out JsonElement given) ? given.ValueKind == JsonValueKind.String ? given.GetString() : throw Bad("`id` is no text") : null;
        if (!request.TryGetProperty("inputs", out JsonElement inputs) || inputs.ValueKind != JsonValueKind.Array || inputs.GetArrayLength() != 1)
            throw Bad("`inputs` must be a list of one tensor");
        JsonElement tensor = inputs[0];
        if (tensor.ValueKind != JsonValueKind.Object) throw Bad("`inputs` holds something else than a tensor");
        if (Property(tensor, "name").ValueKind != JsonValueKind.String) throw Bad("the tensor's `name` is no text");
        string type = Property(tensor, "datatype").ValueKind == JsonValueKind.String ? Property(tensor, "datatype").GetString()! : "";
        if (type != "BYTES" && !NumberTypes.Contains(type)) throw Bad($"the tensor's `datatype` must be BYTES, {string.Join(", ", NumberTypes)}");
        int[] shape = Shape(Property(tensor, "shape"));
        var data = new List<JsonElement>();
        Flatten(Property(tensor, "data"), data, 0);
        long wanted = shape.Aggregate(1L, (product, size) => product > MostElements ? product : product * size);
        if (data.Count != wanted) throw Bad($"the tensor's `data` holds {data.Count} values, and its `shape` asks for {wanted}");
        bool isText = type == "BYTES";
        // A list of one text is what a text is, to clients that know no vectors.
        if (isText && shape is [_, 1]) shape = [shape[0]];
        if (isText && shape.Length != 1) throw Bad("a tensor of BYTES has one dimension here, the rows");
        if (!isText && shape.Length is not (2 or 3)) throw Bad("a tensor of numbers has two dimensions here, rows and columns, or three, rows, steps and channels");
        JsonValueKind kind = isText ? JsonValueKind.String : JsonValueKind.Number;
        if (data.FindIndex(value => value.ValueKind != kind) is >= 0 and var stray) throw Bad($"value {stray} of the tensor is no {(isText ? "text" : "number")}");
        bool isWhole = type.StartsWith("INT", StringComparison.Ordinal);
        if (isWhole && data.FindIndex(value => !value.TryGetInt64(out _)) is >= 0 and var broken) throw Bad($"value {broken} of the tensor is no whole number");
        return (Rows(data, shape), id);
    }

    private static RequestException Bad(string message) => RequestException.BadInput(message);

    private static JsonElement Property(JsonElement tensor, string name) => tensor.TryGetProperty(name, out JsonElement value) ? value : throw Bad($"the tensor has no `{name}`");

    private static int[] Shape(JsonElement shape)
    {
        if (shape.ValueKind != JsonValueKind.Array || shape.GetArrayLength() is 0 or > 3) throw Bad("the tensor's `shape` must be a list of one to three sizes");
        return [.. shape.EnumerateArray().Select(size =>
            size.ValueKind == JsonValueKind.Number && size.TryGetInt32(out int number) && number > 0 ? number : throw Bad("the tensor's `shape` must hold whole numbers from 1"))];
    }

    private static void Flatten(JsonElement data, List<JsonElement> flat, int depth)
    {
        if (data.ValueKind != JsonValueKind.Array || depth > 3) throw Bad("the tensor's `data` must be a list of values, or lists of them as the shape says");
        foreach (JsonElement value in data.EnumerateArray())
        {
            if (value.ValueKind == JsonValueKind.Array) Flatten(value, flat, depth + 1);
            else flat.Add(value);
        }
    }

    // Numbers keep the digits that they were sent with.
    private static JsonDocument Rows(List<JsonElement> data, int[] shape)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            int at = 0;
            void Write(int dimension)
            {
                if (dimension == shape.Length)
                {
                    data[at++].WriteTo(writer);
                    return;
                }
                writer.WriteStartArray();
                for (int i = 0; i < shape[dimension]; i++) Write(dimension + 1);
                writer.WriteEndArray();
            }
            try
            {
                Write(0);
            }
            catch (InvalidOperationException)
            {
                throw Bad($"row {at} holds half of a character (an unpaired surrogate)");
            }
        }
        return JsonDocument.Parse(buffer.ToArray());
    }

    /// <summary>What a model takes and gives.</summary>
    public static ModelMetadata Describe(ServedAdapter adapter)
    {
        InputSpec input = adapter.Source.Input;
        IReadOnlyList<string> columns = AdapterInfo.ColumnsOf(adapter.Source);
        TensorMetadata takes = Takes(adapter.Run.Task, input, columns.Count);
        TensorMetadata[] gives = adapter.Run.Model.Spec.Output switch
        {
            ClassOutput { Count: 1 } classes => [new("label", "BYTES", [-1]), new("probabilities", "FP32", [-1, classes.Classes])],
            ClassOutput classes => [new("label", "BYTES", [-1, classes.Count]), new("probabilities", "FP32", [-1, classes.Count, classes.Classes])],
            MultiLabelOutput labels => [new("labels", "INT64", [-1, labels.Classes]), new("probabilities", "FP32", [-1, labels.Classes])],
            NumberOutput numbers => [new("value", "FP32", [-1, numbers.Count])],
            _ => [new("answer", "BYTES", [-1])],
        };
        return new ModelMetadata(adapter.Name, ["1"], "permafrost", [takes], gives);
    }

    private static TensorMetadata Takes(TaskDefinition task, InputSpec input, int columns)
    {
        if (columns > 0) return new("rows", "FP32", [-1, columns]);
        if (input is TextInput) return new("text", "BYTES", [-1]);
        if (input is IdInput && task is JsonlTask) return new("tokens", "INT64", [-1, -1]);
        bool isSeries = task is JsonlTask || (input is VectorInput && task is TimeSeriesTask);
        return isSeries ? new("values", "FP32", [-1, -1, -1]) : new("line", "BYTES", [-1]);
    }

    /// <summary>The answer to a request, with every bit of its probabilities.</summary>
    public static InferAnswer Answer(ServedAdapter adapter, string? id, IReadOnlyList<Prediction> predictions)
    {
        TensorMetadata[] gives = [.. Describe(adapter).Outputs];
        var outputs = new List<InferTensor>();
        foreach (TensorMetadata tensor in gives)
        {
            object[] data = [.. predictions.SelectMany(prediction => Values(tensor.Name, prediction))];
            long[] shape = [predictions.Count, .. tensor.Shape.Skip(1)];
            outputs.Add(new InferTensor(tensor.Name, tensor.Datatype, shape, JsonSerializer.SerializeToElement(data, InferJson.Default.ObjectArray)));
        }
        return new InferAnswer(adapter.Name, "1", id, outputs);
    }

    private static IEnumerable<object> Values(string tensor, Prediction prediction) => (tensor, prediction) switch
    {
        ("label", ClassPrediction classes) => classes.Classes.Select(number => (object)classes.NameOf(number)),
        ("probabilities", ClassPrediction classes) => classes.Probabilities.SelectMany(row => row.Select(Number)),
        ("labels", LabelsPrediction labels) => Enumerable.Range(0, labels.Probabilities.Count).Select(label => (object)(labels.Given.Contains(label) ? 1L : 0L)),
        ("probabilities", LabelsPrediction labels) => labels.Probabilities.Select(Number),
        ("value", NumberPrediction numbers) => numbers.Numbers.Select(Number),
        ("answer", ClassPrediction tokens) => [string.Join(' ', tokens.Classes.Select(tokens.NameOf))],
        _ => [string.Format(CultureInfo.InvariantCulture, "{0}", prediction)],
    };

    // JSON has no NaN; a model that answers with it has no answer.
    private static object Number(float value) => float.IsFinite(value) ? value : throw new PermafrostException("the model's answer is not finite; its run has diverged");
}

internal sealed record TensorMetadata(string Name, string Datatype, IReadOnlyList<int> Shape);

internal sealed record ModelMetadata(string Name, IReadOnlyList<string> Versions, string Platform, IReadOnlyList<TensorMetadata> Inputs, IReadOnlyList<TensorMetadata> Outputs);

internal sealed record ServerMetadata(string Name, string Version, IReadOnlyList<string> Extensions);

internal sealed record InferTensor(string Name, string Datatype, IReadOnlyList<long> Shape, JsonElement Data);

internal sealed record InferAnswer(string ModelName, string ModelVersion, string? Id, IReadOnlyList<InferTensor> Outputs);

[JsonSerializable(typeof(object[]))]
[JsonSerializable(typeof(string))]
[JsonSerializable(typeof(float))]
[JsonSerializable(typeof(long))]
internal sealed partial class InferJson : JsonSerializerContext;
