using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Tests.Nn;

/// <summary>Attention and its masks on numbers that can be checked by hand.</summary>
public class AttentionTests : IDisposable
{
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    // Scores are all zero, so that every visible key weighs the same.
    private static readonly Func<Tensor> Blank = () => torch.zeros([1, 1, 3, 2]);

    private static Tensor Values => Tensors.From([1f, 10, 2, 20, 6, 60], 1, 1, 3, 2);

    [Fact]
    public void Equal_scores_give_the_mean_of_the_values()
    {
        (Tensor context, Tensor probabilities) = Attend(Blank(), Blank(), Values, null, null, 1);
        Close([3, 30, 3, 30, 3, 30], context);
        Close([.. Enumerable.Repeat(1 / 3f, 9)], probabilities);
    }

    [Fact]
    public void A_causal_mask_hides_what_comes_later()
    {
        (Tensor context, Tensor probabilities) = Attend(Blank(), Blank(), Values, AttentionMask.Causal(3, torch.CPU), null, 1);
        Close([1, 10, 1.5f, 15, 3, 30], context);
        Close([1, 0, 0, 0.5f, 0.5f, 0, 1 / 3f, 1 / 3f, 1 / 3f], probabilities);
    }

    [Fact]
    public void A_padding_mask_hides_keys_with_and_without_a_causal_one()
    {
        Tensor padding = AttentionMask.Padding(Tensors.From([1L, 0, 1], 1, 3));
        Close([3.5f, 35, 3.5f, 35, 3.5f, 35], Attend(Blank(), Blank(), Values, null, padding, 1).Context);
        Close([1, 10, 1, 10, 3.5f, 35], Attend(Blank(), Blank(), Values, AttentionMask.Causal(3, torch.CPU), padding, 1).Context);
    }

    [Fact]
    public void What_memory_held_before_does_not_matter()
    {
        // Without a mask in the product, its result starts out as whatever memory held: freed NaNs would show.
        Tensor padding = AttentionMask.Padding(Tensors.From([1L, 0, 1], 1, 3));
        for (int round = 0; round < 100; round++)
        {
            torch.full([1, 3, 3], double.NaN).Dispose();
            Close([3.5f, 35, 3.5f, 35, 3.5f, 35], Attend(Blank(), Blank(), Values, null, padding, 1).Context);
        }
    }

    [Fact]
    public void Scores_are_scaled_products_of_query_and_key()
    {
        // One query (1, 0); keys (0, 0) and (ln 9, 0), scale 1/2: weights 1 and 3.
        Tensor query = Tensors.From([1f, 0], 1, 1, 1, 2);
        Tensor key = Tensors.From([0, 0, MathF.Log(9), 0], 1, 1, 2, 2);
        (Tensor context, Tensor probabilities) = Attend(query, key, Tensors.From([0f, 4, 8, 0], 1, 1, 2, 2), null, null, 0.5);
        Close([0.25f, 0.75f], probabilities);
        Close([6, 1], context);
    }

    [Fact]
    public void Heads_and_rows_do_not_mix()
    {
        using var random = new Generator(1);
        Tensor[] parts = [.. Enumerable.Range(0, 3).Select(_ => torch.empty([2, 3, 4, 5]).normal_(0, 1, random))];
        Tensor mask = AttentionMask.Causal(4, torch.CPU);
        Tensor whole = Attend(parts[0], parts[1], parts[2], mask, null, 0.4).Context;
        for (int b = 0; b < 2; b++)
        {
            for (int h = 0; h < 3; h++)
            {
                Tensor[] own = [.. parts.Select(part => part.narrow(0, b, 1).narrow(1, h, 1))];
                Tensor alone = Attend(own[0], own[1], own[2], mask, null, 0.4).Context;
                Assert.True((whole.narrow(0, b, 1).narrow(1, h, 1) - alone).abs().max().Number() < 1e-6);
            }
        }
    }

    private static (Tensor Context, Tensor Probabilities) Attend(Tensor query, Tensor key, Tensor value, Tensor? causalMask, Tensor? paddingMask, double scale)
    {
        Tensor probabilities = Attention.Probabilities(query, key, causalMask, paddingMask, scale);
        return (probabilities.matmul(value), probabilities);
    }

    private static void Close(float[] expected, Tensor actual)
    {
        float[] values = actual.ToArray<float>();
        Assert.Equal(expected.Length, values.Length);
        for (int i = 0; i < values.Length; i++) Assert.Equal(expected[i], values[i], 1e-5f);
    }
}
