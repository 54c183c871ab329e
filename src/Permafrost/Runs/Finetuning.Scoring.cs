using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;
using Permafrost.Training;

namespace Permafrost.Runs;

/// <content>Scores and answers of a run's model as it is.</content>
public sealed partial class Finetuning
{
    // Enough that inputs of about the same length find each other.
    private const int PartBatches = 50;

    /// <summary>A split's scores, from this run's model as it is.</summary>
    /// <param name="split"><c>validation</c> or <c>test</c>.</param>
    /// <param name="batchSize">Examples scored at a time; less where memory is short.</param>
    /// <param name="cancellation">Ends the scoring.</param>
    /// <returns>Null when the data has no such split.</returns>
    public Scores? Score(string split, int batchSize, CancellationToken cancellation)
    {
        EvalBatchSize = batchSize;
        FitScoring();
        if (Data!.Split(split) is not { } examples) return null;
        return Evaluator.Evaluate(Model, features.Of(split, examples, null, cancellation), EvalBatchSize, Device, cancellation: cancellation);
    }

    /// <summary>Answers new inputs, in their order, as they are read.</summary>
    /// <param name="path">A file in the task's format; <c>-</c> for standard input, where that is text.</param>
    /// <param name="batchSize">Examples computed together.</param>
    /// <param name="progress">Told at the end how many texts were cut, or hold nothing that is known; null for nobody.</param>
    /// <param name="cancellation">Ends the answering.</param>
    /// <exception cref="PermafrostException">The file is missing, damaged or of another shape.</exception>
    public IEnumerable<Prediction> Predict(string path, int batchSize, IProgress<TrainingEvent>? progress = null, CancellationToken cancellation = default)
    {
        long first = 0;
        TextFlaws flaws = default;
        foreach (IDataset part in Task.ReadInputs(path, Casting.Source(Model.Spec), TaskOptions, PartBatches * batchSize))
        {
            try
            {
                IDataset read = AsFed(part);
                foreach (Prediction prediction in Evaluator.Predict(Model, read, batchSize, Device, cancellation))
                    yield return prediction with { Index = first + prediction.Index };
                first += part.Count!.Value;
                if (part is TextRows texts) flaws += texts.Flaws;
            }
            finally
            {
                (part as IDisposable)?.Dispose();
            }
        }
        foreach (string note in flaws.Notes("input text", Model.Spec.Input.Length)) progress?.Report(new TrainingNote(note));
    }

    /// <summary>Reads new inputs as <see cref="Predict"/> does, for whoever batches them on their own.</summary>
    /// <param name="path">A file in the task's format.</param>
    /// <param name="partSize">The most examples in a part, where a format can be read in parts.</param>
    /// <returns>Parts of the inputs, in order, in the shape that <see cref="Model"/> takes; each is the caller's to dispose of, where it can be.</returns>
    /// <exception cref="PermafrostException">The file is missing, damaged or of another shape.</exception>
    public IEnumerable<IDataset> ReadInputs(string path, int partSize) => Task.ReadInputs(path, Casting.Source(Model.Spec), TaskOptions, partSize).Select(AsFed);

    private IDataset AsFed(IDataset inputs) => Casting.AsText(inputs, Model.Spec, TaskOptions);

    // Only where it could be short at all is it measured.
    private void FitScoring(bool training = false)
    {
        long available = ProcessMemory.Available;
        if (!Device.IsCpu() || features.Active || available > 8L << 30 || Data is null) return;
        EvalBatchSize = MeasureMemory().FitScoring(EvalBatchSize, available, training);
    }
}
