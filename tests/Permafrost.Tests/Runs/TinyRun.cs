using System.Text.Json.Nodes;
using Permafrost.Formats.Safetensors;
using Permafrost.Runs;
using Permafrost.Tasks.Metrics;
using Permafrost.Tests.Models;
using Permafrost.Training;

namespace Permafrost.Tests.Runs;

/// <summary>Changes of options that are not in a variable.</summary>
internal static class OptionChanges
{
    /// <summary>The options as changed.</summary>
    public static RunOptions Change(this RunOptions options, Func<RunOptions, RunOptions> change) => change(options);
}

/// <summary>Trainings of a second or less, in a folder that goes away.</summary>
internal sealed class TinyRun : IDisposable, IProgress<TrainingEvent>
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
    { Model = new() { Backbone = TinyGpt2.Configure(folder, TinyGpt2.Json()), Init = "random", Device = "cpu", FeatureCache = "memory" }, Schedule = new() { MaxSteps = 4 }, Evaluation = new() { EvalSteps = 0, Baselines = false }, Checkpoints = new() { LoggingSteps = 1 }, Data = new() { Task = "bit-xor" } };

    /// <summary>Training data of one's own, fed in order.</summary>
    public RunOptions On(params (string Name, Tensor Tensor)[] tensors)
    {
        SafetensorsWriter.Write(folder["data.safetensors"], tensors.Select(pair => KeyValuePair.Create(pair.Name, pair.Tensor)));
        return Options with { Data = Options.Data with { Task = "tensors", Path = folder["data.safetensors"] }, Schedule = Options.Schedule with { Shuffle = false } };
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
        using var run = Finetuning.Prepare(options);
        using var stop = new StopRequest();
        return (target, run.Train(target, "permafrost finetune (a test)", this, stop, clock: clock).ToJson());
    }

    /// <summary>Scores as results.json has them.</summary>
    public static string Json(Scores scores) => new JsonObject([.. scores.Values.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)pair.Value)), new("loss", scores.Loss), new("count", scores.Count)]).ToJsonString();

    /// <summary>The bytes of a run's adapter.</summary>
    public static byte[] AdapterBytes(RunFolder run) => File.ReadAllBytes(Path.Combine(run.Adapter, "adapter_model.safetensors"));

    public void Report(TrainingEvent value)
    {
        switch (value)
        {
            case PhaseStarted phase: Phases.Add(phase.What); break;
            case PhaseProgress: OnProgress?.Invoke(); break;
            case TrainingNote note: Notes.Add(note.Text); break;
            case StepReport report:
                Reports.Add(report);
                OnStep?.Invoke(report);
                break;
        }
    }

    public void Dispose() => folder.Dispose();
}
