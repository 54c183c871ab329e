using Permafrost.Kernels;

namespace Permafrost.Training.Optimizers;

/// <summary>Adafactor's switches, by which the two libraries that people use differ.</summary>
public sealed record AdafactorSettings
{
    /// <summary>Hugging Face's and fairseq's: every tensor of two or more dimensions is factored over its last two.</summary>
    public static AdafactorSettings HuggingFace { get; } = new();

    /// <summary>Mesh TensorFlow's and T5's: only a tensor whose two largest dimensions have at least 128 numbers is factored, over those.</summary>
    public static AdafactorSettings Mesh { get; } = new() { SmallestFactored = 128, LargestDimensions = true };

    /// <summary>Whether the step's rate is min(0.01, 1 / sqrt(t)) and the given one does not count.</summary>
    public bool RelativeStep { get; init; }

    /// <summary>With <see cref="RelativeStep"/>: min(t / 1,000,000, 1 / sqrt(t)) instead.</summary>
    public bool WarmupInit { get; init; }

    /// <summary>Whether the rate is multiplied by the root mean square of the parameter, at least 0.001.</summary>
    public bool ScaleParameter { get; init; } = true;

    /// <summary>Decay of the running mean of updates; null for none.</summary>
    public double? Beta1 { get; init; }

    /// <summary>The fraction, times the rate, taken off the weights.</summary>
    public double WeightDecay { get; init; }

    /// <summary>An update's root mean square is at most this.</summary>
    public double ClipThreshold { get; init; } = 1;

    /// <summary>beta2 of step t is 1 - t to this power.</summary>
    public double DecayRate { get; init; } = -0.8;

    /// <summary>Added to the squared gradients.</summary>
    public double Epsilon { get; init; } = 1e-30;

    /// <summary>The smallest scale of a parameter, so that one that begins at zero moves.</summary>
    public double SmallestScale { get; init; } = 1e-3;

    /// <summary>Smaller dimensions are not factored.</summary>
    public long SmallestFactored { get; init; }

    /// <summary>Factor over the two largest dimensions rather than the last two.</summary>
    public bool LargestDimensions { get; init; }

    /// <summary>Steps taken off the count that beta2 depends on: where fine-tuning began (Mesh TensorFlow's step offset).</summary>
    public long StepOffset { get; init; }
}

/// <summary>
/// Adafactor (Shazeer and Stern 2018), in the order of operations of transformers/optimization.py: the squared gradients of a matrix are kept as the means of its rows and columns
/// alone, and updates are clipped by their root mean square.
/// </summary>
/// <param name="groups">What is updated.</param>
/// <param name="settings">How; null for Hugging Face's defaults with a rate of one's own.</param>
public sealed class Adafactor(IReadOnlyList<ParameterGroup> groups, AdafactorSettings? settings = null) : Optimizer(groups)
{
    private const string Row = "exp_avg_sq_row", Column = "exp_avg_sq_col", Full = "exp_avg_sq", Mean = "exp_avg";

    private readonly AdafactorSettings settings = settings ?? AdafactorSettings.HuggingFace;

    private protected override void Update(Batch batch, double learningRate, double? groupDecay, long step)
    {
        double decay = groupDecay ?? settings.WeightDecay;
        long counted = Math.Max(1, step - settings.StepOffset);
        double beta2 = 1 - Math.Pow(counted, settings.DecayRate);
        if (settings.RelativeStep) learningRate = Math.Min(settings.WarmupInit ? 1e-6 * step : 1e-2, 1 / Math.Sqrt(step));
        for (int i = 0; i < batch.Names.Length; i++)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            (string name, Tensor parameter, Tensor gradient) = (batch.Names[i], batch.Parameters[i], batch.Gradients[i].to(ScalarType.Float32));
            double rate = learningRate * (settings.ScaleParameter ? Math.Max(settings.SmallestScale, Rms(parameter)) : 1);
            Tensor square = gradient.square().Increase(settings.Epsilon), update;
            if (Factored(parameter.shape) is var (rows, columns))
            {
                // The means over the columns, one for each row, and over the rows.
                Tensor row = Slot(name, Row, SlotShape(Row, parameter.shape)), column = Slot(name, Column, SlotShape(Column, parameter.shape));
                row.mul_(beta2.Hold()).add_(square.mean([columns]), (1 - beta2).Hold());
                column.mul_(beta2.Hold()).add_(square.mean([rows]), (1 - beta2).Hold());
                long left = rows < columns ? rows : rows - 1;
                update = gradient * row.div(row.mean([left], keepdim: true)).rsqrt().unsqueeze(columns) * column.rsqrt().unsqueeze(rows);
            }
            else
            {
                Tensor full = Slot(name, Full, parameter);
                full.mul_(beta2.Hold()).add_(square, (1 - beta2).Hold());
                update = full.rsqrt() * gradient;
            }
            update.div_(Math.Max(1, Rms(update) / settings.ClipThreshold).Hold());
            update.mul_(rate.Hold());
            if (settings.Beta1 is { } beta1)
            {
                Tensor mean = Slot(name, Mean, parameter);
                update = mean.mul_(beta1.Hold()).add_(update, (1 - beta1).Hold());
            }
            if (decay != 0) parameter.add_(parameter, (-decay * rate).Hold());
            parameter.sub_(update);
        }
    }

    private protected override long[] SlotShape(string slot, long[] parameter)
    {
        if (slot is not (Row or Column) || Factored(parameter) is not var (rows, columns)) return parameter;
        long gone = slot == Row ? columns : rows;
        return [.. parameter.Where((_, dimension) => dimension != gone)];
    }

    // The dimensions that are rows and columns; null where the tensor is not factored.
    private (long Rows, long Columns)? Factored(long[] shape)
    {
        if (shape.Length < 2) return null;
        (int rows, int columns) = (shape.Length - 2, shape.Length - 1);
        if (settings.LargestDimensions)
        {
            int[] largest = [.. Enumerable.Range(0, shape.Length).OrderByDescending(dimension => shape[dimension]).Take(2).Order()];
            (rows, columns) = (largest[0], largest[1]);
        }
        return Math.Min(shape[rows], shape[columns]) < settings.SmallestFactored ? null : (rows, columns);
    }

    private static double Rms(Tensor tensor) => tensor.norm().Number() / Math.Sqrt(tensor.NumberOfElements);
}
