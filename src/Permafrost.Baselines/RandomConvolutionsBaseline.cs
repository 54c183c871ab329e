using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;

namespace Permafrost.Baselines;

/// <summary>
/// Random convolutions and ridge regression on what they respond with, as of ROCKET (Dempster, Petitjean and Webb 2020), for series of any lengths; classes are numbers from -1 to
/// 1, of which the largest answers. The ridge's weight is chosen on validation. The seed decides the kernels.
/// </summary>
public sealed class RandomConvolutionsBaseline : IStrongBaseline
{
    private const int Kernels = 2_000;
    private const int MostTrain = 5_000;
    private const int MostAsked = 60_000;

    // Of responses with deviation 1; without validation examples the first is taken.
    private static readonly double[] Ridges = [100, 1, 10, 1_000, 10_000];

    /// <inheritdoc/>
    public string Name => "random-convolutions";

    /// <inheritdoc/>
    public bool AppliesTo(TaskSpec spec) => SeriesExamples.Are(spec) && spec is { Output: ClassOutput { Count: 1 } or NumberOutput { Count: 1 } } && spec.Metrics[0].Over is null;

    /// <inheritdoc/>
    public BaselineScore? Score(TaskData data, long seed, CancellationToken cancellation)
    {
        Answered<Steps>? train = SeriesExamples.Of(data.Train, data.Spec, MostTrain, cancellation);
        if (train is null || train.Targets.Distinct().Count() < 2) return null;
        Answered<Steps>? validation = SeriesExamples.Of(data.Validation, data.Spec, MostAsked, cancellation);
        Answered<Steps>? test = SeriesExamples.Of(data.Test, data.Spec, MostAsked, cancellation);
        var kernels = new ConvolutionKernels(Kernels, train.Examples.Max(one => one.Count), train.Examples[0].Channels, seed);
        Answered<float[]>? Responses(Answered<Steps>? split) => split is null ? null : new Answered<float[]>(Respond(kernels, split.Examples, cancellation), split.Targets);
        Answered<float[]> responses = Responses(train)!;
        string rows = data.Train.Count > train.Examples.Count ? FormattableString.Invariant($", {train.Examples.Count:N0} of {data.Train.Count:N0} training series") : "";
        Candidate<float[]>[] candidates = [.. Ridges.Select(ridge => new Candidate<float[]>(
            FormattableString.Invariant($"{Kernels:N0} kernels, ridge {ridge}{rows}"), () => Fit(responses, data.Spec.Output, ridge)))];
        return Candidates.Choose(Name, data.Spec, candidates, Responses(validation), Responses(test), cancellation);
    }

    private static float[][] Respond(ConvolutionKernels kernels, IReadOnlyList<Steps> examples, CancellationToken cancellation)
    {
        var responses = new float[examples.Count][];
        Parallel.For(
            0, examples.Count, new ParallelOptions { CancellationToken = cancellation }, row => kernels.Apply(examples[row], responses[row] = new float[kernels.Features]));
        return responses;
    }

    private static Answering<float[]> Fit(Answered<float[]> train, OutputSpec output, double ridge)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        float[] occurring = output is ClassOutput ? [.. train.Targets.Distinct().Order()] : [];
        double[] wanted = occurring.Length == 0 ? [.. train.Targets.Select(target => (double)target)]
            : [.. train.Targets.SelectMany(target => occurring.Select(one => one == target ? 1.0 : -1.0))];
        Tensor x = Matrix(train.Examples), y = Tensors.From(wanted, train.Examples.Count, Math.Max(1, occurring.Length));
        Tensor means = x.mean([0L], keepdim: true), mean = y.mean([0L], keepdim: true);
        // What never changes is 0, whatever it is divided by.
        Tensor deviations = torch.maximum(x.std(0, unbiased: false, keepdim: true), Tensors.From([1e-8], 1, 1));
        Tensor z = x.sub(means).div(deviations), products = z.matmul(z.t());
        Tensor dual = torch.linalg.solve(products.add(torch.diag(Tensors.From(Enumerable.Repeat(ridge, train.Examples.Count).ToArray()))), y.sub(mean));
        Tensor weights = z.t().matmul(dual).div(deviations.t());
        double[] map = weights.contiguous().ToArray<double>(), offsets = mean.sub(means.matmul(weights)).ToArray<double>();
        return examples => Answer(examples, map, offsets, occurring);
    }

    private static float[] Answer(IReadOnlyList<float[]> examples, double[] map, double[] offsets, float[] occurring)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor outputs = Matrix(examples).matmul(Tensors.From(map, map.Length / offsets.Length, offsets.Length)).add(Tensors.From(offsets, 1, offsets.Length));
        return occurring.Length == 0 ? [.. outputs.contiguous().ToArray<double>().Select(number => (float)number)]
            : [.. outputs.argmax(1).ToArray<long>().Select(place => occurring[place])];
    }

    private static Tensor Matrix(IReadOnlyList<float[]> rows) => Tensors.From([.. rows.SelectMany(row => row)], rows.Count, rows[0].Length).to(ScalarType.Float64);
}
