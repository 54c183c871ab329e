namespace Permafrost.Torch.Tests;

/// <summary>Layers' functions on numbers small enough to check by hand.</summary>
public class TensorNnTests : IDisposable
{
    private readonly TensorScope scope = new();

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Softmax_turns_logarithms_into_shares()
    {
        Tensor x = Tensor.From([0, Math.Log(3), Math.Log(2), Math.Log(2)], 2, 2);
        Equal([0.25, 0.75, 0.5, 0.5], x.Softmax(-1));
        Equal([Math.Log(0.25), Math.Log(0.75), Math.Log(0.5), Math.Log(0.5)], x.LogSoftmax(-1));
        Equal([1 / 3.0, 0.6, 2 / 3.0, 0.4], x.Softmax(0));
    }

    [Fact]
    public void Layer_norm_has_mean_zero_and_deviation_one_before_gain_and_bias()
    {
        Tensor x = Tensor.From([1.0, 3, -5, 5], 2, 2);
        Equal([-1, 1, -1, 1], x.LayerNorm(null, null, 0));
        Equal([8, 23, 8, 23], x.LayerNorm(Tensor.From([2.0, 3]), Tensor.From([10.0, 20]), 0));
        // Variance 1, epsilon 3: divided by 2.
        Equal([-0.5, 0.5], x.Narrow(0, 0, 1).LayerNorm(null, null, 3));
    }

    [Fact]
    public void Activations_have_their_known_values()
    {
        Tensor x = Tensor.From([-1.0, 0, 1]);
        double phi = 0.8413447460685429;  // the normal distribution function at 1
        Equal([-(1 - phi), 0, phi], x.Gelu());
        double tanh = 0.5 * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * 1.044715));
        Equal([-(1 - tanh), 0, tanh], x.Gelu(tanh: true));
        double logistic = 1 / (1 + Math.Exp(-1));
        Equal([1 - logistic, 0.5, logistic], x.Sigmoid());
        Equal([-(1 - logistic), 0, logistic], x.Silu());
        Equal([-Math.Tanh(1), 0, Math.Tanh(1)], x.Tanh());
        Equal([0, 0, 1], x.Relu());
        Equal([0, 2, 6], Tensor.From([-1.0, 2, 7]).Relu6());
        Equal([-Math.Tanh(Math.Log(1 + Math.Exp(-1))), 0, Math.Tanh(Math.Log(1 + Math.E))], x.Mish());
    }

    [Fact]
    public void A_linear_map_multiplies_by_the_transposed_weight()
    {
        Tensor weight = Tensor.From([1.0, 2, 3, 4, 5, 6], 3, 2);  // (out, in)
        Tensor x = Tensor.From([1.0, 10], 1, 2);
        Equal([21, 43, 65], x.Linear(weight, null));
        Equal([121, 243, 365], x.Linear(weight, Tensor.From([100.0, 200, 300])));
    }

    [Fact]
    public void An_embedding_looks_rows_up()
    {
        Tensor table = Tensor.From([1.0, 2, 3, 4, 5, 6], 3, 2);
        Tensor found = Tensor.From([2L, 0, 2, 1], 2, 2).Embedding(table);
        Assert.Equal([2, 2, 2], found.Shape);
        Equal([5, 6, 1, 2, 5, 6, 3, 4], found);
        Assert.Throws<TorchException>(() => Tensor.From([3L]).Embedding(table));
    }

    [Fact]
    public void Cross_entropy_is_the_mean_surprise_in_nats_and_leaves_out_minus_100()
    {
        Tensor logits = Tensor.From([0, Math.Log(3), 0, 0, 7, 9], 3, 2);
        Tensor loss = logits.CrossEntropy(Tensor.From([1L, 0, -100]));
        Assert.Equal(-(Math.Log(0.75) + Math.Log(0.5)) / 2, loss.ToDouble(), 12);
    }

    [Fact]
    public void Dropout_keeps_the_mean_and_does_nothing_when_it_should_not()
    {
        Tensor x = Tensor.Ones([100_000]);
        Assert.Same(x, x.Dropout(0, training: true));
        Assert.Same(x, x.Dropout(0.5, training: false));
        Tensor dropped = x.Dropout(0.2, training: true);
        // Kept ones become 1 / 0.8; the share of zeros is 0.2 within 5 deviations of sqrt(0.2 * 0.8 / 100,000) = 0.0013.
        double zeros = dropped.Eq(0).To(DType.Float64).Mean().ToDouble();
        Assert.InRange(zeros, 0.1935, 0.2065);
        Assert.Equal(1.25, dropped.Max().ToDouble(), 6);
    }

    [Fact]
    public void Fused_attention_is_there_exactly_from_libtorch_2_on()
    {
        Assert.Equal(int.Parse(Engine.Version.Split('.')[0]) >= 2, Tensor.HasScaledDotProductAttention);
        if (!Tensor.HasScaledDotProductAttention) return;
        // One query, two equal keys: the mean of the values.
        Tensor result = Tensor.ScaledDotProductAttention(Tensor.Ones([1, 1, 1, 2]), Tensor.Ones([1, 1, 2, 2]), Tensor.From([1f, 2, 3, 6], 1, 1, 2, 2), null, 0, causal: false);
        Equal([2, 4], result.To(DType.Float64));
    }

    private static void Equal(double[] expected, Tensor actual)
    {
        double[] values = actual.ToArray<double>();
        Assert.Equal(expected.Length, values.Length);
        for (int i = 0; i < values.Length; i++) Assert.Equal(expected[i], values[i], 1e-12);
    }
}
