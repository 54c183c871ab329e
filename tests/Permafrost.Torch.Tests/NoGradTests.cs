namespace Permafrost.Torch.Tests;

/// <summary>Switching gradient recording off and on again.</summary>
public class NoGradTests
{
    [Fact]
    public void Nothing_is_recorded_inside_and_everything_again_after()
    {
        using var scope = new TensorScope();
        Tensor x = Tensor.Ones([2]);
        x.RequiresGrad = true;
        using (new NoGrad())
        {
            Assert.False(NoGrad.GradientsEnabled);
            Assert.False((x * 2).RequiresGrad);
        }
        Assert.True(NoGrad.GradientsEnabled);
        Assert.True((x * 2).RequiresGrad);
    }

    [Fact]
    public void Nested_ones_end_with_the_outermost()
    {
        using (new NoGrad())
        {
            using (new NoGrad()) Assert.False(NoGrad.GradientsEnabled);
            Assert.False(NoGrad.GradientsEnabled);
        }
        Assert.True(NoGrad.GradientsEnabled);
    }

    [Fact]
    public void It_ends_when_an_exception_passes()
    {
        Assert.Throws<TorchException>(() =>
        {
            using var noGrad = new NoGrad();
            using Tensor two = Tensor.Ones([2]);
            two.View(3);
        });
        Assert.True(NoGrad.GradientsEnabled);
    }

    [Fact]
    public void It_holds_for_its_own_thread_only()
    {
        using var noGrad = new NoGrad();
        bool elsewhere = false;
        var thread = new Thread(() => elsewhere = NoGrad.GradientsEnabled);
        thread.Start();
        thread.Join();
        Assert.True(elsewhere);
    }

    [Fact]
    public void A_leaf_may_be_changed_in_place_only_inside()
    {
        using var scope = new TensorScope();
        Tensor x = Tensor.Ones([2]);
        x.RequiresGrad = true;
        Assert.Throws<TorchException>(() => x.FillInPlace(3));
        using (new NoGrad()) x.FillInPlace(3);
        Assert.Equal([3f, 3], x.ToArray<float>());
        Assert.True(x.RequiresGrad);
    }
}
