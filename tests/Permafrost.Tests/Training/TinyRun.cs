using System.Text.Json.Nodes;
using Permafrost.Formats.Safetensors;
using Permafrost.Tests.Models;
using Permafrost.Training;

namespace Permafrost.Tests.Training;

/// <summary>Trainings of a second or less, in a folder that goes away.</summary>
internal sealed class TinyRun : IDisposable, ITrainingObserver
{
    private readonly TemporaryFolder folder = new();
    private int runs;

    /// <summary>The steps' reports of the last run.</summary>
    public List<StepReport> Reports { get; } = [];

    /// <summary>The phases of the last run.</summary>
    public List<string> Phases { get; } = [];

    /// <summary>Its notes.</summary>
    public List<string> Notes { get; } = [];

    /// <summary>Called within a phase.</summary>
    public Action? OnProgress { get; set; }

    /// <summary>Called after every report.</summary>
    public Action<StepReport>? OnStep { get; set; }

    /// <summary>Bit XOR on a one-layer GPT-2 of 8, every step reported.</summary>
    public RunOptions Options => new()
    {
        Task = "bit-xor",
        Backbone = TinyGpt2.Configure(folder, TinyGpt2.Json()),
        Init = "random",
        MaxSteps = 4,
        EvalSteps = 0,
        LoggingSteps = 1,
        Floors = false,
        Device = "cpu",
        FeatureCache = "memory",
    };

    /// <summary>Training data of one's own, fed in order.</summary>
    public RunOptions On(params (string Name, Tensor Tensor)[] tensors)
    {
        SafetensorsWriter.Write(folder["data.safetensors"], tensors.Select(pair => KeyValuePair.Create(pair.Name, pair.Tensor)));
        return Options with { Task = "tensors", Data = folder["data.safetensors"], Shuffle = false };
    }

    /// <summary>A folder for one more run.</summary>
    public string NewFolder() => folder[$"run-{runs++}"];

    /// <summary>A file beside the runs.</summary>
    public string this[string name] => folder[name];

    /// <summary>Trains, and returns the run's folder and results.</summary>
    public (RunFolder Folder, JsonObject Results) Train(RunOptions options, TimeProvider? clock = null)
    {
        RunFolder target = RunFolder.Create(NewFolder());
        Reports.Clear();
        Phases.Clear();
        Notes.Clear();
        using FinetuneRun run = FinetuneRun.Prepare(options);
        using var stop = new StopRequest();
        return (target, run.Train(target, "permafrost finetune (a test)", this, stop, clock: clock));
    }

    /// <summary>The bytes of a run's adapter.</summary>
    public static byte[] AdapterBytes(RunFolder run) => File.ReadAllBytes(Path.Combine(run.Adapter, "adapter_model.safetensors"));

    public void Phase(string what) => Phases.Add(what);

    public void Progress(string what, double part) => OnProgress?.Invoke();

    public void Note(string what) => Notes.Add(what);

    public void Started(FinetuneRun run, long steps) { }

    public void Stepped(StepReport report)
    {
        Reports.Add(report);
        OnStep?.Invoke(report);
    }

    public void Evaluated(string split, long step, Metrics metrics) { }

    public void Dispose() => folder.Dispose();
}
