using Permafrost.Adaptation;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Models;

namespace Permafrost.Tests.Adaptation;

/// <summary>Tokens that are padding in every row of a batch, at its end, are never computed; nothing else follows from that.</summary>
public class PaddedTailTests : IDisposable
{
    private const int T = 7;

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    // A third row without padding keeps a batch whole, and its own answers do not count.
    [Theory]
    [InlineData("last", 1, 1, 3)]
    [InlineData("first", 1, 4, 2)]
    [InlineData("mean", 1, 5, 3)]
    [InlineData("last:2", 2, 2, 5)]
    [InlineData("last", 1, 4, 4)]  // what is left has no padding at all
    public void Losses_answers_and_gradients_are_those_of_the_whole_batch(string readout, int targets, int first, int second)
    {
        foreach (bool vectors in new[] { false, true })
        {
            Tensor inputs = vectors ? Tensors.From([.. Enumerable.Range(0, 3 * T * 2).Select(i => MathF.Sin(i))], 3, T, 2) : Tensors.From([.. Enumerable.Range(0, 3 * T).Select(i => i * 7L % 11)], 3, T);
            Tensor mask = Tensors.From([.. new[] { first, second, T }.SelectMany(length => Enumerable.Range(0, T).Select(t => t < length ? 1L : 0))], 3, T);
            Tensor answers = Tensors.From([.. Enumerable.Range(0, 3 * targets).Select(i => i < 2 * targets ? i % 3L : -100)], 3, targets);
            (float[] logits, double loss, float[] gradients) cut = Compute(2), whole = Compute(3);
            Assert.Equal(whole.loss, cut.loss, 1e-6);
            Assert.True(Difference(cut.logits, whole.logits[..cut.logits.Length]) < 1e-5);
            Assert.True(Difference(cut.gradients, whole.gradients) < 1e-5);
            Assert.True(cut.gradients.Max() > 0.01);

            (float[], double, float[]) Compute(int rows)
            {
                using AdaptedModel model = Model(readout, targets, vectors);
                Tensor logits = model.Forward(inputs.narrow(0, 0, rows), mask.narrow(0, 0, rows));
                Tensor loss = model.Head.Loss(logits, answers.narrow(0, 0, rows));
                loss.backward();
                return (logits.detach().ToArray<float>(), loss.Number(), [.. model.Trained.SelectMany(parameter => parameter.Parameter.Value.grad?.ToArray<float>() ?? new float[parameter.Parameter.Elements])]);
            }
        }
    }

    [Fact]
    public void The_tail_is_not_computed_and_padding_before_a_token_is_left_alone()
    {
        // 20 tokens do not fit this body's 16 positions: only what is computed has to.
        using AdaptedModel model = Model("last", 1, vectors: false);
        Tensor ids = torch.ones([2, 20], ScalarType.Int64);
        Tensor right = torch.cat([torch.ones([2, 16], ScalarType.Int64), torch.zeros([2, 4], ScalarType.Int64)], 1);
        Assert.Equal([2, 1, 3], model.Forward(ids, right).shape);
        Refusal.Of("20 tokens", () => model.Forward(ids, right.flip(1)));
        Refusal.Of("20 tokens", () => model.Forward(ids, torch.cat([right.narrow(0, 0, 1), right.narrow(0, 1, 1).flip(1)])));
        Refusal.Of("20 tokens", () => model.Forward(ids, null));
    }

    private static float Difference(float[] a, float[] b) => a.Zip(b).Max(pair => Math.Abs(pair.First - pair.Second));

    private AdaptedModel Model(string readout, int targets, bool vectors)
    {
        var spec = new TaskSpec(vectors ? new VectorInput(2, T) : new IdInput(11, T), new ClassOutput(3) { Count = targets });
        return Bodies.Adapt(TinyGpt2.Configure(folder, TinyGpt2.Json(layers: 2)), spec, "*", readout: readout);
    }
}
