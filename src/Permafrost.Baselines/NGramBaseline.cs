using Microsoft.ML;
using Microsoft.ML.Data;
using Microsoft.ML.Trainers;
using Microsoft.ML.Transforms.Text;
using Permafrost.Data;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Weighting = Microsoft.ML.Transforms.Text.NgramExtractingEstimator.WeightingCriteria;

namespace Permafrost.Baselines;

/// <summary>
/// A linear model of n-grams: single words and pairs of neighbours, with or without sequences of four characters, weighted by tf-idf; maximum entropy, trained by stochastic dual
/// coordinate ascent (Shalev-Shwartz and Zhang 2013). The features and the L2 weight are chosen on validation. One thread: the same seed gives the same scores.
/// </summary>
public sealed class NGramBaseline : IStrongBaseline
{
    private const int MostTrain = 60_000;
    private const int MostNGrams = 1_000_000;
    private const int Characters = 4;

    // The middle one first: it is taken where there is nothing to choose by.
    private static readonly float[] Penalties = [1e-5f, 1e-6f, 1e-4f];

    /// <inheritdoc/>
    public string Name => "ngram-linear";

    /// <inheritdoc/>
    public bool AppliesTo(TaskSpec spec) => spec is { Input: TextInput, Output: ClassOutput { Count: 1 } } && spec.Metrics[0].Over is null;

    /// <inheritdoc/>
    public BaselineScore? Score(TaskData data, long seed, CancellationToken cancellation)
    {
        if (data.Train is not TextRows all || data.Spec.Output is not ClassOutput { Count: 1 } output) return null;
        Answered<string> train = Of(all, MostTrain)!;
        if (train.Targets.Distinct().Count() < 2) return null;
        Candidate<string>[] candidates = [.. new[] { Characters, 0 }.SelectMany(characters =>
            Models(train, output.Classes, characters == 0 ? "words 1-2" : $"words 1-2, characters {characters}", Features(characters), seed))];
        return Candidates.Choose(Name, data.Spec, candidates, Of(data.Validation as TextRows), Of(data.Test as TextRows), cancellation);
    }

    /// <summary>A linear model for each penalty, all of the same features of texts.</summary>
    /// <param name="train">The texts to train on, with their classes.</param>
    /// <param name="classes">C, the number of classes.</param>
    /// <param name="settings">The features in words.</param>
    /// <param name="how">The features.</param>
    /// <param name="seed">Of what is drawn.</param>
    internal static IEnumerable<Candidate<string>> Models(Answered<string> train, int classes, string settings, TextFeaturizingEstimator.Options how, long seed)
    {
        var features = new Lazy<(ITransformer Featurizer, IDataView Rows)>(() =>
        {
            MLContext ml = Context(seed);
            IDataView rows = View(ml, train.Examples, train.Targets, classes);
            ITransformer featurizer = ml.Transforms.Text.FeaturizeText("Features", how, nameof(TextRow.Text)).Fit(rows);
            return (featurizer, ml.Data.Cache(featurizer.Transform(rows)));
        });
        return Penalties.Select(penalty => new Candidate<string>(FormattableString.Invariant($"{settings}, L2 {penalty:G2}"), () =>
        {
            MLContext ml = Context(seed);
            var trainer = new SdcaMaximumEntropyMulticlassTrainer.Options { L2Regularization = penalty, L1Regularization = 0, NumberOfThreads = 1, MaximumNumberOfIterations = 20 };
            ITransformer model = ml.MulticlassClassification.Trainers.SdcaMaximumEntropy(trainer).Fit(features.Value.Rows);
            return texts => [.. model.Transform(features.Value.Featurizer.Transform(View(ml, texts, null, classes)))
                .GetColumn<uint>("PredictedLabel").Select(key => (float)(key - 1))];
        }));
    }

    private static TextFeaturizingEstimator.Options Features(int characters) => new()
    {
        CaseMode = TextNormalizingEstimator.CaseMode.Lower,
        KeepDiacritics = true,
        KeepPunctuations = true,
        KeepNumbers = true,
        WordFeatureExtractor = new WordBagEstimator.Options { NgramLength = 2, UseAllLengths = true, Weighting = Weighting.TfIdf, MaximumNgramsCount = [MostNGrams, MostNGrams] },
        CharFeatureExtractor = characters == 0 ? null
            : new WordBagEstimator.Options { NgramLength = characters, UseAllLengths = false, Weighting = Weighting.TfIdf, MaximumNgramsCount = [MostNGrams] },
        Norm = TextFeaturizingEstimator.NormFunction.L2,
    };

    private static MLContext Context(long seed) => new(unchecked((int)seed));

    private static IDataView View(MLContext ml, IReadOnlyList<string> texts, IReadOnlyList<float>? targets, int classes)
    {
        var schema = SchemaDefinition.Create(typeof(TextRow));
        schema[nameof(TextRow.Label)].ColumnType = new KeyDataViewType(typeof(uint), classes);
        return ml.Data.LoadFromEnumerable(texts.Select((text, i) => new TextRow { Text = text, Label = (uint)(targets?[i] ?? 0) }), schema);
    }

    private static Answered<string>? Of(TextRows? rows, int most = int.MaxValue)
    {
        if (rows is null) return null;
        IEnumerable<long> order = rows.Texts.Count <= most ? Enumerable.Range(0, rows.Texts.Count).Select(i => (long)i)
            : new CounterRandom("ngram-linear", 0, 0).Permutation(rows.Texts.Count).Take(most);
        int[] known = [.. order.Select(i => (int)i).Where(i => rows.Targets[i] >= 0)];
        return known.Length == 0 ? null : new Answered<string>([.. known.Select(i => rows.Texts[i])], [.. known.Select(i => (float)rows.Targets[i])]);
    }

    // ML.NET reads its columns by reflection.
    private sealed class TextRow
    {
        public string Text { get; set; } = "";

        public uint Label { get; set; }
    }
}
