using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;

namespace Permafrost;

/// <summary>What a classifier's training came to. Scores of a part that holds no rows have a count of 0 and no metrics.</summary>
/// <param name="Validation">Scores of the rows that the best weights were chosen by.</param>
/// <param name="Test">Scores of the rows held out for the test.</param>
/// <param name="Baselines">What trivial rules score on the same rows, by rule, in accuracy.</param>
/// <param name="Steps">Updates done.</param>
public sealed record ClassifierResult(Scores Validation, Scores Test, IReadOnlyDictionary<string, double> Baselines, long Steps)
{
    /// <summary>What <see cref="ClassifierOptions.StrongBaselines"/>, and for texts a linear probe of the same body, score on the same rows, by name, in accuracy.</summary>
    public IReadOnlyDictionary<string, double> StrongBaselines { get; init; } = new Dictionary<string, double>();
}

/// <summary>How texts become sequences: by the tokenizer of the body.</summary>
/// <param name="Vocabulary">V, the number of its ids.</param>
/// <param name="MaxLength">Most tokens of a text, special tokens included.</param>
internal sealed record TextEncoding(int Vocabulary, int MaxLength);

/// <summary><c>classifier.json</c>: everything about a classifier but its trained weights, which lie beside it.</summary>
internal sealed record ClassifierFile
{
    private const int Newest = 2;
    private const string Name = "classifier.json";
    private const string WeightsPrefix = "weights-";

    /// <summary>1 for rows of numbers, as the first programs wrote them; 2 for texts, which those cannot read.</summary>
    public int ClassifierVersion { get; init; } = 1;

    public required string Backbone { get; init; }

    public string BackboneSha256 { get; init; } = "";

    public required string Init { get; init; }

    public long InitSeed { get; init; }

    public string? SkipWeights { get; init; }

    public required string Policy { get; init; }

    public required IReadOnlyList<string> Columns { get; init; }

    public required IReadOnlyList<string> Labels { get; init; }

    /// <summary>How rows of numbers become sequences; null for texts.</summary>
    public RowEncoding? Encoding { get; init; }

    /// <summary>How texts do; null for rows of numbers.</summary>
    public TextEncoding? Text { get; init; }

    /// <summary>The file of the trained weights, named after its content: description and weights of two savings are never mixed.</summary>
    public string Weights { get; init; } = "";

    public ClassifierResult Result { get; init; } = new(Scores.None, Scores.None, new Dictionary<string, double>(), 0);

    [JsonIgnore]
    public TaskSpec Spec => Text is { } text ? new TaskSpec(new TextInput(text.Vocabulary, text.MaxLength), Output) { Readout = "mean" }
        : new TaskSpec(new VectorInput(Encoding!.Chunk, Encoding.Length), Output);

    private ClassOutput Output => new(Labels.Count) { Labels = Labels };

    public static ClassifierFile Read(string folder)
    {
        string path = Path.Combine(folder, Name);
        if (!File.Exists(path)) throw new PermafrostException($"{folder} holds no classifier: {Name} is not there");
        JsonObject json = JsonFile.Read(path);
        if (json["classifier_version"] is JsonValue value && value.TryGetValue(out int version) && version > Newest)
            throw new PermafrostException($"{path} is of version {version}; this program knows up to {Newest}: update it");
        try
        {
            return json.Deserialize(ClassifierJson.Readable.ClassifierFile) is { } file && file.FitsTogether ? file : throw new JsonException("parts do not fit together");
        }
        catch (JsonException)
        {
            throw new PermafrostException($"{path} is damaged: something is missing, or does not fit together");
        }
    }

    // Only null where somebody wrote null into the file.
    private bool FitsTogether
    {
        get
        {
            if (Weights is null || !Weights.StartsWith(WeightsPrefix, StringComparison.Ordinal) || Weights != Path.GetFileName(Weights)) return false;
            if (Backbone is null || BackboneSha256 is not { Length: 64 } || Init is null || Policy is null) return false;
            if (Columns is null || Labels is null || Result?.Baselines is null) return false;
            if (Labels.Count < 2 || Labels.Any(label => label is null)) return false;
            if (Text is not null) return Encoding is null && Text is { Vocabulary: > 0, MaxLength: > 0 };
            if (Encoding is not { Means: { Count: > 0 } means, Deviations: { } deviations } || deviations.Count != means.Count) return false;
            return Encoding.Chunk >= 1 && Encoding.Chunk <= means.Count && means.All(float.IsFinite) && deviations.All(float.IsFinite)
                && (Columns.Count == 0 || Columns.Count == means.Count);
        }
    }

    /// <summary>Sets a model to the weights.</summary>
    /// <exception cref="PermafrostException">They are missing or damaged, or of another model.</exception>
    public void ReadWeights(string folder, AdaptedModel model)
    {
        using var scope = torch.NewDisposeScope();
        model.LoadAdapter(AdapterFolder.ReadFile(Path.Combine(folder, Weights)), folder, complete: true);
    }

    /// <summary>Writes weights, then description; weights of an earlier classifier go last. Whatever ends the process in between, a whole classifier is there.</summary>
    /// <exception cref="PermafrostException">The folder cannot be written.</exception>
    public void Write(string folder, AdaptedModel model)
    {
        IReadOnlyDictionary<string, Tensor> tensors = model.Adapter();
        string weights = $"{WeightsPrefix}{WeightHash.Of(tensors.Select(pair => (pair.Key, WeightHash.Of(pair.Key, pair.Value))))[..12]}.safetensors";
        AdapterFolder.WriteFile(Path.Combine(folder, weights), tensors);
        RunFolder.WriteJson(Path.Combine(folder, Name), JsonSerializer.SerializeToNode(this with { Weights = weights }, ClassifierJson.Readable.ClassifierFile)!.AsObject());
        foreach (string old in Directory.EnumerateFiles(folder, WeightsPrefix + "*.safetensors").Where(file => Path.GetFileName(file) != weights)) File.Delete(old);
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    Converters = [typeof(ScoresConverter)])]
[JsonSerializable(typeof(ClassifierFile))]
internal sealed partial class ClassifierJson : JsonSerializerContext
{
    public static ClassifierJson Readable { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        RespectNullableAnnotations = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new ScoresConverter() },
    });
}
