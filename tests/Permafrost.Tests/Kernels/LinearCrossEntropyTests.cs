using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>The cross entropy that never holds all logits, beside libtorch's own on float64.</summary>
[Collection(ProcessWide.Name)]
public class LinearCrossEntropyTests
{
    // With the larger vocabulary the logits are computed in three parts.
    public static TheoryData<string, int> Sets => new(KernelSet.Available.SelectMany(set => new[] { (set, 300), (set, 140_000) }));

    [Theory]
    [MemberData(nameof(Sets))]
    public void Loss_and_gradients_are_those_of_all_logits(string set, int vocabulary)
    {
        using IDisposable used = KernelSets.Use(set);
        using DisposeScope scope = torch.NewDisposeScope();
        using var random = new Generator(3);
        (int rows, int width) = (70, vocabulary > 300 ? 4 : 32);
        Tensor x = torch.empty(rows, width).normal_(0, 1, random), table = torch.empty(vocabulary, width).normal_(0, 0.3, random), bias = torch.empty(vocabulary).normal_(0, 0.5, random);
        long[] answers = [.. Enumerable.Range(0, rows).Select(row => row % 9 == 0 ? -100 : row * 37L % vocabulary)];
        (double loss, Tensor[] gradients) = Compute(x, table, bias, answers, wide: true);
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            (double made, Tensor[] own) = Compute(x, table, bias, answers, wide: false, type);
            double coarse = type == ScalarType.BFloat16 ? 2e-2 : vocabulary > 300 ? 3e-5 : 1e-5;
            Assert.Equal(loss, made, coarse * loss);
            for (int i = 0; i < own.Length; i++) Golden.Close($"{set} {type} gradient {i}", own[i].to(ScalarType.Float64), gradients[i], coarse * Golden.Largest(gradients[i]));
        }
    }

    [Fact]
    public void Without_an_answer_the_loss_is_zero_and_answers_beyond_the_table_are_refused()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor x = torch.ones(2, 4), table = torch.ones(6, 4);
        Assert.Equal(0, x.LinearCrossEntropy(table, null, [-100, -100], ScalarType.BFloat16).Number());
        Assert.Throws<ArgumentException>(() => x.LinearCrossEntropy(table, null, [0, 6], ScalarType.BFloat16));
        Assert.Throws<ArgumentException>(() => x.LinearCrossEntropy(table, null, [0], ScalarType.BFloat16));
    }

    private static (double Loss, Tensor[] Gradients) Compute(Tensor x, Tensor table, Tensor bias, long[] answers, bool wide, ScalarType type = ScalarType.Float64)
    {
        Tensor[] leaves = [.. new[] { x, table, bias }.Select(tensor => (wide ? tensor.to(ScalarType.Float64) : tensor.clone()).requires_grad_(true))];
        Tensor loss = wide
            ? torch.nn.functional.cross_entropy(leaves[0].matmul(leaves[1].transpose(0, 1)) + leaves[2], Tensors.From(answers))
            : leaves[0].LinearCrossEntropy(leaves[1], leaves[2], answers, type);
        Segment.Backward(loss);
        return (loss.Number(), [.. leaves.Select(leaf => leaf.grad!)]);
    }
}
