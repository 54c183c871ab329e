using Permafrost.Data;
using Permafrost.Runs;
using Permafrost.Tasks;

namespace Permafrost.Server;

/// <summary>A run's model in memory. It is freed once it is no longer served and the last request that began with it has ended.</summary>
internal sealed class ServedAdapter
{
    private readonly Lock gate = new();
    private int users = 1;  // the host is one

    public ServedAdapter(string name, string folder, Finetuning run, Traffic traffic)
    {
        (Name, Folder, Run, Traffic) = (name, folder, run, traffic);
        run.Model.eval();
        Result = File.Exists(RunFolder.At(folder).Results) ? RunResult.Read(RunFolder.At(folder)) : null;
        Loaded = DateTimeOffset.UtcNow;
    }

    public string Name { get; }

    public string Folder { get; }

    public Finetuning Run { get; }

    public Traffic Traffic { get; }

    /// <summary>Its scores; null where the run's folder has none.</summary>
    public RunResult? Result { get; }

    public DateTimeOffset Loaded { get; }

    /// <summary>When it last had its turn: the smallest is next.</summary>
    public long LastTurn { get; set; }

    /// <summary>What the task itself feeds and asks for.</summary>
    public TaskSpec Source => Run.Model.Spec.Source ?? Run.Model.Spec;

    /// <summary>Whether rows of several requests can be computed together: answers of each row have their own number.</summary>
    public bool Joins => Run.Model.Spec.Output is not (TokenClassOutput or SequenceOutput);

    /// <summary>One more user.</summary>
    /// <returns>False where it has been freed meanwhile.</returns>
    public bool TryUse()
    {
        lock (gate)
        {
            if (users == 0) return false;
            users++;
            return true;
        }
    }

    /// <summary>One user less.</summary>
    public void Release()
    {
        lock (gate) if (--users > 0) return;
        Run.Dispose();
    }
}

/// <summary>What a run's folder must hold to be served, as it was when it was looked at: another value is another run, or the same half-copied.</summary>
internal static class RunStamp
{
    private static readonly string[] Files = ["config.yaml", "results.json", Path.Combine("adapter", "adapter_config.json"), Path.Combine("adapter", "adapter_model.safetensors")];

    public static string Of(string folder) => string.Join('|', Files.Select(name =>
    {
        var file = new FileInfo(Path.Combine(folder, name));
        return file.Exists ? FormattableString.Invariant($"{file.Length}@{file.LastWriteTimeUtc.Ticks}") : "-";
    }));
}

/// <summary>A request's rows.</summary>
/// <param name="Rows">All of them.</param>
/// <param name="Count">How many.</param>
internal sealed record RequestRows(IDataset Rows, int Count);
