using Microsoft.Extensions.Logging;
using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Data.Csv;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tasks.Metrics;
using Permafrost.Tokenizers;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost;

/// <summary>
/// A classifier of sequences: a frozen body with a sliver of trained weights. It is trained in the background, saved as a small folder, and used by any number of threads at once.
/// It writes nothing to the console, and touches neither seeds nor thread counts of the process.
/// </summary>
/// <example><code>
/// var data = Dataset.FromCsv("readings.csv", label: "activity");
/// using var classifier = await SequenceClassifier.TrainAsync("gpt2-tiny", data, new() { Init = "random" });
/// Console.WriteLine(classifier.Result.Test["accuracy"]);
/// classifier.Save("activity");
/// </code></example>
public sealed partial class SequenceClassifier : IDisposable
{
    // Longer sequences are cut into larger tokens: attention over more positions costs more than it tells.
    private const int MostTokens = 256;
    private const int PredictBatch = 64;

    private readonly AdaptedModel model;
    private readonly FrozenWeights? owned;
    private readonly ClassifierFile facts;
    private readonly Tokenizer? tokenizer;  // of a classifier of texts
    private volatile bool disposed;

    private SequenceClassifier(AdaptedModel model, FrozenWeights? owned, ClassifierFile facts)
    {
        (this.model, this.owned, this.facts) = (model, owned, facts);
        if (facts.Text is not { } text) return;
        tokenizer = model.Weights.LoadTokenizer();
        if (tokenizer?.VocabularySize != text.Vocabulary)
            throw new PermafrostException($"the backbone {model.Weights.Reference} has no longer the tokenizer of {text.Vocabulary} ids that the classifier was trained with");
    }

    /// <summary>The labels: class 0, 1, ...</summary>
    public IReadOnlyList<string> Labels => facts.Labels;

    /// <summary>Scores of the held-out rows, and what trivial rules score on them.</summary>
    public ClassifierResult Result => facts.Result;

    /// <summary>The model, for TorchSharp code of one's own.</summary>
    public AdaptedModel Model => model;

    /// <summary>Trains a classifier on a body of its own.</summary>
    /// <param name="backbone">A model folder, a model in the Hugging Face cache, or, with <see cref="ClassifierOptions.Init"/> random, a preset.</param>
    /// <param name="data">Labelled rows, or texts, for which the body needs a tokenizer.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="progress">Told of what happens, from the thread that trains; null for nobody.</param>
    /// <param name="cancellation">Ends it after the present step; nothing is kept.</param>
    /// <exception cref="PermafrostException">The body is missing or damaged, or the rows do not do.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static async Task<SequenceClassifier> TrainAsync(
        string backbone, Dataset data, ClassifierOptions? options = null, IProgress<TrainingEvent>? progress = null, CancellationToken cancellation = default)
    {
        options ??= new ClassifierOptions();
        var source = BackboneSource.Resolve(backbone);
        if (source.Note is { } note) progress?.Report(new TrainingNote(note));
        FrozenWeights weights = FrozenWeights.Load(source, options.Init, options.InitSeed, options.SkipWeights);
        try
        {
            return await Task.Run(() => Train(weights, owns: true, data, options, progress, cancellation), cancellation).ConfigureAwait(false);
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Trains a classifier on a body that others share; the body's own init counts, not the options'.</summary>
    /// <param name="weights">The body; not owned.</param>
    /// <param name="data">Labelled rows, or texts, for which the body needs a tokenizer.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="progress">Told of what happens, from the thread that trains; null for nobody.</param>
    /// <param name="cancellation">Ends it after the present step; nothing is kept.</param>
    /// <exception cref="PermafrostException">The body is damaged, or the rows do not do.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static Task<SequenceClassifier> TrainAsync(
        FrozenWeights weights, Dataset data, ClassifierOptions? options = null, IProgress<TrainingEvent>? progress = null, CancellationToken cancellation = default) =>
        Task.Run(() => Train(weights, owns: false, data, options ?? new ClassifierOptions(), progress, cancellation), cancellation);

    /// <summary>Loads a saved classifier.</summary>
    /// <param name="folder">The folder that <see cref="Save"/> wrote.</param>
    /// <param name="weights">The body, where it is loaded already; not owned. Null loads the one that the classifier was trained on.</param>
    /// <exception cref="PermafrostException">The folder is damaged, or the body is missing or another one.</exception>
    public static SequenceClassifier Load(string folder, FrozenWeights? weights = null)
    {
        var facts = ClassifierFile.Read(folder);
        FrozenWeights body = weights ?? FrozenWeights.Load(facts.Backbone, facts.Init, facts.InitSeed, facts.SkipWeights);
        AdaptedModel? model = null;
        try
        {
            model = Adapt(body, facts);
            if (body.Sha256 != facts.BackboneSha256)
                throw new PermafrostException(
                    $"the backbone {body.Reference} is not the one that {folder} was trained on, {facts.Backbone} " +
                    $"(SHA-256 {body.Sha256[..12]}..., then {facts.BackboneSha256[..12]}...)");
            facts.ReadWeights(folder, model);
            return new SequenceClassifier(model, weights is null ? body : null, facts);
        }
        catch
        {
            model?.Dispose();
            if (weights is null) body.Dispose();
            throw;
        }
    }

    /// <summary>Writes the trained weights, and how rows become sequences, into a folder; the body is not written, but known by its SHA-256.</summary>
    /// <param name="folder">Made where it is not there; a classifier in it is written over.</param>
    /// <exception cref="PermafrostException">It cannot be written.</exception>
    /// <exception cref="ObjectDisposedException">The classifier was disposed of.</exception>
    public void Save(string folder)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        facts.Write(folder, model);
    }

    /// <summary>The class of a row.</summary>
    /// <param name="row">A number for each column that the classifier was trained on.</param>
    /// <exception cref="PermafrostException">The row has another number of columns, or holds NaN or infinity.</exception>
    /// <exception cref="InvalidOperationException">The classifier was trained on texts.</exception>
    /// <exception cref="ObjectDisposedException">The classifier was disposed of.</exception>
    public ClassPrediction Predict(IReadOnlyList<float> row) => Predict([row])[0];

    /// <summary>The classes of many rows, computed in batches.</summary>
    /// <param name="rows">A number for each column that the classifier was trained on.</param>
    /// <exception cref="PermafrostException">A row has another number of columns, or holds NaN or infinity.</exception>
    /// <exception cref="InvalidOperationException">The classifier was trained on texts.</exception>
    /// <exception cref="ObjectDisposedException">The classifier was disposed of.</exception>
    public IReadOnlyList<ClassPrediction> Predict(IReadOnlyList<IReadOnlyList<float>> rows)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        RowEncoding encoding = facts.Encoding ?? throw new InvalidOperationException("the classifier was trained on texts; ask for the class of a text");
        var predictions = new List<ClassPrediction>(rows.Count);
        using var noGrad = torch.no_grad();
        for (int first = 0; first < rows.Count; first += PredictBatch)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            IReadOnlyList<float>[] part = [.. rows.Skip(first).Take(PredictBatch)];
            long[] numbers = [.. Enumerable.Range(first, part.Length).Select(number => (long)number)];
            predictions.AddRange(Compute(encoding.Encode(part, first), null, numbers));
        }
        return predictions;
    }

    /// <summary>The class of a text.</summary>
    /// <param name="text">The text; what is longer than in training is cut.</param>
    /// <exception cref="PermafrostException">The text is empty.</exception>
    /// <exception cref="InvalidOperationException">The classifier was trained on rows of numbers.</exception>
    /// <exception cref="ObjectDisposedException">The classifier was disposed of.</exception>
    public ClassPrediction Predict(string text) => Predict([text])[0];

    /// <summary>The classes of many texts, computed in batches of about one length.</summary>
    /// <param name="texts">The texts; what is longer than in training is cut.</param>
    /// <exception cref="PermafrostException">A text is empty.</exception>
    /// <exception cref="InvalidOperationException">The classifier was trained on rows of numbers.</exception>
    /// <exception cref="ObjectDisposedException">The classifier was disposed of.</exception>
    public IReadOnlyList<ClassPrediction> Predict(IReadOnlyList<string> texts)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        if (facts.Text is not { } how || tokenizer is null) throw new InvalidOperationException("the classifier was trained on rows of numbers; ask for the class of a row");
        var rows = new TextRows(texts, [.. texts.Select(_ => -100L)], tokenizer, how.MaxLength);
        if (rows.FirstEmpty is { } empty) throw new PermafrostException($"text {empty}: {TextRows.EmptyIs}; leave it out");
        var predictions = new ClassPrediction[texts.Count];
        IReadOnlyList<int> lengths = rows.Lengths;
        using var noGrad = torch.no_grad();
        foreach (int[] part in Enumerable.Range(0, texts.Count).OrderBy(i => lengths[i]).Chunk(PredictBatch))
        {
            using DisposeScope scope = torch.NewDisposeScope();
            long[] numbers = [.. part.Select(i => (long)i)];
            Batch batch = rows.Get(numbers);
            foreach (ClassPrediction prediction in Compute(batch.Inputs, batch.Mask, numbers)) predictions[prediction.Index] = prediction;
        }
        return predictions;
    }

    private IEnumerable<ClassPrediction> Compute(Tensor inputs, Tensor? mask, long[] numbers)
    {
        try
        {
            return model.Head.Predict(model.Forward(inputs, mask), numbers, null).Cast<ClassPrediction>();
        }
        catch (InvalidOperationException error) when (disposed)
        {
            throw new ObjectDisposedException($"this {nameof(SequenceClassifier)} was disposed while it computed", error);
        }
    }

    /// <summary>Frees the model, and the body where it is the classifier's own.</summary>
    public void Dispose()
    {
        disposed = true;
        model.Dispose();
        owned?.Dispose();
    }

    private static SequenceClassifier Train(
        FrozenWeights weights, bool owns, Dataset data, ClassifierOptions options, IProgress<TrainingEvent>? progress, CancellationToken cancellation)
    {
        options.Validate();
        StratifiedSplit rows = data.Split(options.ValidationFraction, options.TestFraction, options.Seed);
        (TaskData splits, RowEncoding? encoding) = data.IsText ? (Texts(weights, data, rows, options), null) : Numbers(weights, data, rows);
        foreach (string note in splits.Notes) progress?.Report(new TrainingNote(note));
        if (splits.Validation is null && splits.Test is null && options.ValidationFraction + options.TestFraction > 0)
            progress?.Report(new TrainingNote("no label has rows enough to hold some out: nothing is validated or tested, and training does not stop early"));
        var facts = new ClassifierFile
        {
            ClassifierVersion = data.IsText ? 2 : 1,
            Backbone = BackboneSource.IsFolder(weights.Reference) ? Path.GetFullPath(weights.Reference) : weights.Reference,
            Init = weights.Init,
            InitSeed = weights.Seed,
            SkipWeights = weights.SkipWeights,
            Policy = options.Policy,
            Columns = data.Columns,
            Labels = data.Labels,
            Encoding = encoding,
            Text = splits.Spec.Input is TextInput texts ? new TextEncoding(texts.Vocabulary, texts.Length) : null,
        };
        AdaptedModel model = Adapt(weights, facts, options.Dropout, options.Seed);
        try
        {
            TrainerOptions how = HowToTrain(options, rows.Train.Length, splits.Validation is not null);
            if (options.Logger is not null)
                LogStart(options.Logger, model.Counts.Trained, model.Counts.Total, weights.Reference, rows.Train.Length, data.Labels.Count, facts.Spec.Input.Length);
            IProgress<TrainingEvent>? told = options.Logger is null ? progress : new Told(progress, options.Logger);
            TrainingOutcome outcome = Trainer.Fit(model, new TrainingData(splits.Train, splits.Validation), how, progress: told, cancellation: cancellation);
            Scores Score(IDataset? split) => split is null ? Scores.None : Evaluator.Evaluate(model, split, PredictBatch, torch.CPU, cancellation: cancellation);
            (Scores validation, Scores test) = (Score(splits.Validation), Score(splits.Test));
            RunBaselines baselines = options.Baselines ? RunBaselines.Measure(model, splits, null, options.StrongBaselines, how, told, cancellation) : RunBaselines.None;
            var result = new ClassifierResult(validation, test, baselines.Trivial, outcome.State.Step) { StrongBaselines = baselines.Strong };
            return new SequenceClassifier(model, owns ? weights : null, facts with { BackboneSha256 = weights.Sha256, Result = result });
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    private static (TaskData Splits, RowEncoding? Encoding) Numbers(FrozenWeights weights, Dataset data, StratifiedSplit rows)
    {
        int longest = Math.Min(MostTokens, weights.LongestInput ?? MostTokens);
        var encoding = RowEncoding.Of([.. rows.Train.Select(row => data.Rows[row])], longest);
        EncodedRows? Rows(int[] numbers) => numbers.Length == 0 ? null
            : new([.. numbers.Select(row => data.Rows[row])], [.. numbers.Select(row => Class(data, row))], encoding, i => data.Where(numbers[i]));
        var spec = new TaskSpec(new VectorInput(encoding.Chunk, encoding.Length), new ClassOutput(data.Labels.Count) { Labels = data.Labels });
        return (new TaskData(spec, Rows(rows.Train)!, Rows(rows.Validation), Rows(rows.Test)), encoding);
    }

    private static TaskData Texts(FrozenWeights weights, Dataset data, StratifiedSplit rows, ClassifierOptions options)
    {
        LabelledText[] Split(int[] numbers) => [.. numbers.Select(row => new LabelledText(data.Texts[row], Class(data, row), data.Where(row)))];
        var how = new TaskOptions { Tokenizer = weights.LoadTokenizer, LongestInput = () => weights.LongestInput, MaxLength = options.MaxLength };
        return TextTask.Make("a classifier of texts", how, data.Labels, Split(rows.Train), Split(rows.Validation), Split(rows.Test));
    }

    private static AdaptedModel Adapt(FrozenWeights weights, ClassifierFile facts, double dropout = 0, long seed = 0) =>
        new(weights, facts.Spec, new AdaptationOptions { Policy = Policy.Parse(facts.Policy), PretrainedEmbedding = facts.Text is not null, Dropout = dropout, Seed = seed });

    private static long Class(Dataset data, int row)
    {
        for (int label = 0; label < data.Labels.Count; label++) if (data.Labels[label] == data.RowLabels[row]) return label;
        throw new InvalidOperationException(data.RowLabels[row]);
    }

    private static TrainerOptions HowToTrain(ClassifierOptions options, int rows, bool hasValidation)
    {
        int pass = (rows + options.BatchSize - 1) / options.BatchSize;
        return new TrainerOptions
        {
            Seed = options.Seed,
            Optimizer = new OptimizerOptions { LearningRate = options.LearningRate },
            Schedule = new ScheduleOptions { MaxSteps = options.MaxSteps ?? Math.Clamp(30 * pass, 200, 3000), PerDeviceTrainBatchSize = options.BatchSize },
            Evaluation = new EvaluationOptions { EvalSteps = pass, EarlyStoppingPatience = hasValidation ? options.Patience : 0 },
            Checkpoints = new CheckpointOptions { SaveSteps = 0, SaveMinutes = 0 },
        };
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "training {Trained} of {Total} weights of {Backbone} on {Rows} rows with {Labels} labels, at most {Tokens} tokens each")]
    private static partial void LogStart(ILogger logger, long trained, long total, string backbone, int rows, int labels, int tokens);

    [LoggerMessage(Level = LogLevel.Information, Message = "step {Step}: {Split} accuracy {Accuracy}, loss {Loss}")]
    private static partial void LogScores(ILogger logger, long step, string split, double accuracy, double loss);

    // What is scored goes to the log too.
    private sealed class Told(IProgress<TrainingEvent>? progress, ILogger logger) : IProgress<TrainingEvent>
    {
        public void Report(TrainingEvent value)
        {
            if (value is SplitScored scored) LogScores(logger, scored.Step, scored.Split, scored.Scores["accuracy"], scored.Scores.Loss);
            progress?.Report(value);
        }
    }
}
