using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Training.Options;

namespace Permafrost.Runs;

/// <summary>What a run is: it goes on from a checkpoint only where everything that its result follows from is the same.</summary>
public sealed record RunIdentity
{
    /// <summary>What <see cref="Features"/> says where nothing is computed once.</summary>
    public const string EveryStep = "computed at every step";

    /// <summary>Every option's value as text, by key.</summary>
    public required IReadOnlyDictionary<string, string> Options { get; init; }

    /// <summary>SHA-256 of the backbone's weights.</summary>
    public required string BackboneSha256 { get; init; }

    /// <summary>Examples computed at a time.</summary>
    public required int MicroBatchSize { get; init; }

    /// <summary>Examples scored at a time, where that is less than was asked for; no difference of the run.</summary>
    public int? EvalBatchSize { get; init; }

    /// <summary>The task's version; null in checkpoints of the first versions.</summary>
    public int? TaskVersion { get; init; }

    /// <summary>Number format of frozen weights.</summary>
    public required string FrozenType { get; init; }

    /// <summary>SHA-256 of the data.</summary>
    public required string DataSha256 { get; init; }

    /// <summary>The program's version, without what follows the three numbers.</summary>
    public required string PermafrostVersion { get; init; }

    /// <summary>libtorch's version.</summary>
    public required string LibtorchVersion { get; init; }

    /// <summary>Whether hidden states are computed once: batches of their own give other rounding than the batches of the steps.</summary>
    public string Features { get; init; } = EveryStep;

    /// <summary>The names of everything that can differ.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [.. OptionTable.All.Select(field => field.Key), "backbone_sha256", "micro_batch_size",
         "task_version", "frozen_type", "data_sha256", "permafrost_version", "libtorch_version", "features"];

    /// <summary>Reads an identity.</summary>
    /// <param name="json">As a checkpoint holds it.</param>
    /// <param name="source">Names the file in errors.</param>
    /// <exception cref="PermafrostException">Something is missing or of another type.</exception>
    public static RunIdentity FromJson(JsonObject json, string source)
    {
        try
        {
            // As the first versions called it.
            if (json["options"] is JsonObject options && options["floors"] is { } floors) options["baselines"] = floors.DeepClone();
            return json.Deserialize(RunJson.Readable.RunIdentity) ?? throw new JsonException("null");
        }
        catch (JsonException)
        {
            throw new PermafrostException($"{source} is damaged: it does not say what the run was");
        }
    }

    /// <summary>As JSON.</summary>
    public JsonObject ToJson() => JsonSerializer.SerializeToNode(this, RunJson.Readable.RunIdentity)!.AsObject();

    /// <summary>What is different from a run that was saved, one sentence part each.</summary>
    /// <param name="saved">The other one.</param>
    /// <param name="lengthIsHarmless">Whether training for longer changes nothing of what was done.</param>
    public IReadOnlyDictionary<string, string> Differences(RunIdentity saved, bool lengthIsHarmless)
    {
        var differences = new OrderedDictionary<string, string>();
        foreach (OptionField field in OptionTable.All.Where(field => Matters(field, lengthIsHarmless) && field.Affects != Affects.Place))
            // An option that is younger than the checkpoint was at its default.
            Compare(differences, field.Key, saved.Options.GetValueOrDefault(field.Key, field.DefaultText), Options[field.Key]);
        Compare(differences, "backbone_sha256", saved.BackboneSha256, BackboneSha256);
        Compare(differences, "micro_batch_size", $"{saved.MicroBatchSize}", $"{MicroBatchSize}");
        if (saved.TaskVersion is not null) Compare(differences, "task_version", $"{saved.TaskVersion}", $"{TaskVersion}");
        Compare(differences, "frozen_type", saved.FrozenType, FrozenType);
        Compare(differences, "data_sha256", saved.DataSha256, DataSha256);
        Compare(differences, "permafrost_version", saved.PermafrostVersion, PermafrostVersion);
        Compare(differences, "libtorch_version", saved.LibtorchVersion, LibtorchVersion);
        Compare(differences, "features", saved.Features, Features);
        return differences;
    }

    /// <summary>The same for options alone: where no checkpoint's checksums stand for what they name, places count too.</summary>
    /// <param name="saved">The options of the other run.</param>
    /// <param name="now">The options of this one.</param>
    public static IReadOnlyDictionary<string, string> Differences(RunOptions saved, RunOptions now)
    {
        var differences = new OrderedDictionary<string, string>();
        foreach (OptionField field in OptionTable.All.Where(field => Matters(field, !now.Schedule.RateDependsOnLength)))
            Compare(differences, field.Key, field.Format(saved), field.Format(now));
        return differences;
    }

    /// <summary>Whether another value of an option would change the result of a run that goes on.</summary>
    internal static bool Matters(OptionField field, bool lengthIsHarmless) => field.Affects switch
    {
        Affects.Nothing => false,
        Affects.Length => !lengthIsHarmless,
        _ => true,
    };

    private static void Compare(OrderedDictionary<string, string> differences, string name, string then, string now)
    {
        if (then != now) differences[name] = $"{name} was {Short(then)}, is {Short(now)}";
    }

    private static string Short(string text) => text.Length == 0 ? "not set" : text.Length > 24 ? text[..12] + "..." : text;

    /// <summary>Refuses differences, each with its sentence, that were not allowed by name.</summary>
    /// <exception cref="UsageException">There is one, or a name is no difference.</exception>
    internal static void Refuse(string source, IReadOnlyDictionary<string, string> differences, IReadOnlyCollection<string> allowed)
    {
        if (allowed.FirstOrDefault(name => !Names.Contains(name)) is { } unknown)
        {
            string hint = Spelling.Hint(unknown, Names, "; the refusal names them, such as learning_rate or data_sha256");
            throw new UsageException($"`allow_changes` {unknown}: there is no such difference{hint}");
        }
        string[] refused = [.. differences.Where(difference => !allowed.Contains(difference.Key)).Select(difference => difference.Value)];
        if (refused.Length > 0)
            throw new UsageException(
                $"{source} belongs to another run: {string.Join("; ", refused)}; " +
                "undo the change, start anew in another `output_dir`, or accept it with `allow_changes` NAME where the shapes allow");
    }
}
