using Permafrost.Kernels;
using Permafrost.Runs;

namespace Permafrost.Cli.Terminal;

/// <summary>A remark on a run whose batches are taken in parts, because memory is short.</summary>
internal static class MemoryNote
{
    /// <summary>Prints it, where there is something to say.</summary>
    public static void Print(Finetuning run)
    {
        (int batch, int scored) = (run.Options.Schedule.PerDeviceTrainBatchSize, run.Options.Evaluation.PerDeviceEvalBatchSize);
        string free = $"memory is short ({Output.Bytes(ProcessMemory.Available)} free)";
        if (run.MicroBatchSize < batch)
            Output.Note(
                $"{free}: batches of {batch} are computed {run.MicroBatchSize} at a time and their gradients added up; " +
                "--gradient-checkpointing true needs less");
        if (run.EvalBatchSize < scored) Output.Note($"{free}: {run.EvalBatchSize} examples are scored at a time, not {scored}");
    }
}
