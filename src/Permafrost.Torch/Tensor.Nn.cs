namespace Permafrost.Torch;

// What neural networks are made of.
public sealed partial class Tensor
{
    private static readonly Operator SoftmaxOp = new("aten::softmax", "int");
    private static readonly Operator LogSoftmaxOp = new("aten::log_softmax", "int");
    private static readonly Operator LayerNormOp = new("aten::layer_norm");
    private static readonly Operator GeluOp = new("aten::gelu");
    private static readonly Operator ReluOp = new("aten::relu");
    private static readonly Operator Relu6Op = new("aten::relu6");
    private static readonly Operator MishOp = new("aten::mish");
    private static readonly Operator SiluOp = new("aten::silu");
    private static readonly Operator TanhOp = new("aten::tanh");
    private static readonly Operator SigmoidOp = new("aten::sigmoid");
    private static readonly Operator EmbeddingOp = new("aten::embedding");
    private static readonly Operator LinearOp = new("aten::linear");
    private static readonly Operator CrossEntropyOp = new("aten::cross_entropy_loss");
    private static readonly Operator AttentionOp = new("aten::scaled_dot_product_attention");
    private static readonly Lazy<bool> LazyHasAttention = new(() => AttentionOp.Exists);

    /// <summary>Exponentials that sum to one along a dimension.</summary>
    public Tensor Softmax(long dimension) => SoftmaxOp.Call(this, dimension);

    /// <summary>Logarithm of the softmax along a dimension.</summary>
    public Tensor LogSoftmax(long dimension) => LogSoftmaxOp.Call(this, dimension);

    /// <summary>Layer normalisation over the last dimension (Ba et al. 2016), times weight, plus bias.</summary>
    public Tensor LayerNorm(Tensor? weight, Tensor? bias, double epsilon) => LayerNormOp.Call(this, new[] { Size(-1) }, weight, bias, epsilon);

    /// <summary>Gaussian error linear unit; with <paramref name="tanh"/>, the tanh approximation that Hugging Face calls gelu_new.</summary>
    public Tensor Gelu(bool tanh = false) => GeluOp.Call(this, tanh ? "tanh" : "none");

    /// <summary>max(x, 0).</summary>
    public Tensor Relu() => ReluOp.Call(this);

    /// <summary>min(max(x, 0), 6).</summary>
    public Tensor Relu6() => Relu6Op.Call(this);

    /// <summary>x tanh(log(1 + exp(x))) (Misra 2019).</summary>
    public Tensor Mish() => MishOp.Call(this);

    /// <summary>x sigmoid(x).</summary>
    public Tensor Silu() => SiluOp.Call(this);

    /// <summary>Hyperbolic tangent.</summary>
    public Tensor Tanh() => TanhOp.Call(this);

    /// <summary>Logistic function.</summary>
    public Tensor Sigmoid() => SigmoidOp.Call(this);

    /// <summary>Zeroes elements with a probability and scales the rest up; draws from the device's default generator. The tensor itself when the probability is 0 or not training.</summary>
    public Tensor Dropout(double probability, bool training) => training && probability > 0 ? FusedDropoutOp.Call(this, probability) : this;

    /// <summary>Rows of <paramref name="table"/> (V, C) for this tensor's ids: (..., C).</summary>
    public Tensor Embedding(Tensor table, long paddingIndex = -1) => EmbeddingOp.Call(table, this, paddingIndex);

    /// <summary>x W^T + b for a weight (out, in).</summary>
    public Tensor Linear(Tensor weight, Tensor? bias) => LinearOp.Call(this, weight, bias);

    /// <summary>Mean cross entropy, in nats, of logits (N, C) against class ids (N); targets equal to <paramref name="ignoreIndex"/> do not count.</summary>
    public Tensor CrossEntropy(Tensor targets, long ignoreIndex = -100) => CrossEntropyOp.Call(this, targets, Argument.None, 1L, ignoreIndex);

    /// <summary>Whether this libtorch has fused attention (2.0 on).</summary>
    public static bool HasScaledDotProductAttention => LazyHasAttention.Value;

    /// <summary>softmax(q k^T scale-by-1/sqrt(D) + mask) v for (B, H, T, D); needs <see cref="HasScaledDotProductAttention"/>.</summary>
    public static Tensor ScaledDotProductAttention(Tensor query, Tensor key, Tensor value, Tensor? mask, double dropout, bool causal) =>
        AttentionOp.Call(query, key, value, mask, dropout, causal);
}
