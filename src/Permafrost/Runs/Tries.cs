using System.Text.Json;
using Permafrost.Formats;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Runs;

/// <summary>A learning rate on a fold: the scores of the rows that were held out, by step.</summary>
internal sealed record Try(int Fold, double LearningRate, IReadOnlyDictionary<long, Scores> Validations);

/// <summary>The content of choosing.json.</summary>
internal sealed record TriesFile(RunIdentity Run, IReadOnlyList<Try> Tries);

/// <summary>
/// choosing.json in a run's folder: what was tried so far, so that a run that is stopped while it chooses goes on with what is left. It is gone once all is chosen.
/// </summary>
internal sealed class Tries
{
    /// <summary>The file's name.</summary>
    public const string FileName = "choosing.json";

    private readonly string path;
    private readonly List<Try> all = [];
    private readonly RunIdentity run;

    /// <summary>Those of an earlier call of the same run, or none.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="run">The run. That of the file may have computed other numbers of examples at a time; it goes on with them.</param>
    /// <exception cref="PermafrostException">The file is damaged.</exception>
    public Tries(RunFolder folder, RunIdentity run)
    {
        (path, this.run) = (Path.Combine(folder.Path, FileName), run);
        if (!File.Exists(path)) return;
        TriesFile file = Read();
        RunIdentity same = run with { MicroBatchSize = file.Run.MicroBatchSize };
        AreOfAnother = same.Differences(file.Run, lengthIsHarmless: false).Count > 0;
        if (AreOfAnother) return;
        this.run = same;
        all.AddRange(file.Tries);
        Before = all.Count;
    }

    /// <summary>Examples computed at a time.</summary>
    public int MicroBatchSize => run.MicroBatchSize;

    /// <summary>Whether what the file holds was tried with other settings or data, and does not count.</summary>
    public bool AreOfAnother { get; }

    /// <summary>Those of earlier calls.</summary>
    public int Before { get; }

    /// <summary>Those of this call.</summary>
    public int Now => all.Count - Before;

    /// <summary>What a rate came to on a fold; null where it was not tried.</summary>
    public Try? Find(int fold, double rate) => all.Find(one => one.Fold == fold && one.LearningRate == rate);

    /// <summary>Keeps one more.</summary>
    public void Keep(Try one)
    {
        all.Add(one);
        RunFolder.WriteJson(path, JsonSerializer.SerializeToNode(new TriesFile(run, all), RunJson.Readable.TriesFile)!.AsObject());
    }

    /// <summary>Removes the file.</summary>
    public void Remove() => File.Delete(path);

    private TriesFile Read()
    {
        try
        {
            TriesFile? file = JsonFile.Read(path).Deserialize(RunJson.Readable.TriesFile);
            bool isWhole = file is { Run.Options: not null, Tries: not null }
                && file.Tries.All(one => one is { Validations.Count: > 0 } && one.Validations.Values.All(scores => scores is not null));
            return isWhole ? file! : throw new JsonException("null");
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new PermafrostException($"{path} is damaged: it does not say what was tried; delete it, and the run chooses from the beginning");
        }
    }
}
