namespace Permafrost.Torch.Tests;

/// <summary>Who frees which tensor.</summary>
public class TensorScopeTests
{
    [Fact]
    public void A_scope_frees_what_was_made_in_it_and_nothing_else()
    {
        using Tensor before = Tensor.Ones([1]);
        Tensor made;
        using (new TensorScope()) made = before + 1;
        Assert.True(made.IsDisposed);
        Assert.False(before.IsDisposed);
    }

    [Fact]
    public void Inner_scopes_free_their_own_tensors_first()
    {
        using var outer = new TensorScope();
        Tensor first = Tensor.Ones([1]);
        Tensor second;
        using (new TensorScope()) second = Tensor.Ones([1]);
        Tensor third = Tensor.Ones([1]);
        Assert.Equal((false, true, false), (first.IsDisposed, second.IsDisposed, third.IsDisposed));
    }

    [Fact]
    public void A_kept_tensor_moves_one_scope_out_each_time()
    {
        Tensor tensor;
        using (new TensorScope())
        {
            using (var middle = new TensorScope())
            {
                using (var inner = new TensorScope()) tensor = inner.Keep(Tensor.Ones([1]));
                Assert.False(tensor.IsDisposed);
                Assert.Same(tensor, middle.Keep(tensor));
            }
            Assert.False(tensor.IsDisposed);
        }
        Assert.True(tensor.IsDisposed);
    }

    [Fact]
    public void Kept_from_the_outermost_scope_it_is_nobodys()
    {
        Tensor tensor;
        using (var scope = new TensorScope()) tensor = scope.Keep(Tensor.Ones([1]));
        Assert.Equal(1, tensor.ToDouble());
        tensor.Dispose();
    }

    [Fact]
    public void Keeping_a_tensor_of_another_scope_changes_nothing()
    {
        Tensor tensor;
        using (new TensorScope())
        {
            tensor = Tensor.Ones([1]);
            using (var inner = new TensorScope()) inner.Keep(tensor);
            Assert.False(tensor.IsDisposed);
        }
        Assert.True(tensor.IsDisposed);
    }

    [Fact]
    public void A_detached_tensor_outlives_every_scope()
    {
        Tensor tensor;
        using (new TensorScope())
        using (new TensorScope()) tensor = TensorScope.Detach(Tensor.Ones([1]));
        Assert.Equal(1, tensor.ToDouble());
        tensor.Dispose();
    }

    [Fact]
    public void Disposing_a_tensor_early_is_fine()
    {
        using var scope = new TensorScope();
        Tensor tensor = Tensor.Ones([1]);
        tensor.Dispose();
        Assert.True(tensor.IsDisposed);
    }

    [Fact]
    public void Closing_the_outer_scope_first_throws_and_frees_nothing()
    {
        var outer = new TensorScope();
        Tensor tensor = Tensor.Ones([1]);
        var inner = new TensorScope();
        Assert.Throws<InvalidOperationException>(outer.Dispose);
        Assert.False(tensor.IsDisposed);
        inner.Dispose();
        outer.Dispose();
        outer.Dispose();  // a second time does nothing
        Assert.True(tensor.IsDisposed);
    }

    [Fact]
    public void Closing_a_scope_on_another_thread_throws()
    {
        using var scope = new TensorScope();
        Exception? error = null;
        var thread = new Thread(() => error = Record.Exception(scope.Dispose));
        thread.Start();
        thread.Join();
        Assert.IsType<InvalidOperationException>(error);
    }

    [Fact]
    public void A_scope_does_not_see_what_other_threads_make()
    {
        Tensor? made = null;
        using (new TensorScope())
        {
            var thread = new Thread(() => made = Tensor.Ones([1]));
            thread.Start();
            thread.Join();
        }
        Assert.False(made!.IsDisposed);
        made.Dispose();
    }

    [Fact]
    public void Results_in_pairs_and_lists_belong_to_the_scope_too()
    {
        Tensor[] parts;
        (Tensor First, Tensor Second) pair;
        using (new TensorScope())
        {
            Tensor x = Tensor.Ones([4, 2]);
            parts = x.Chunk(4, 0);
            pair = x.Qr();
        }
        Assert.All(parts, part => Assert.True(part.IsDisposed));
        Assert.True(pair.First.IsDisposed && pair.Second.IsDisposed);
    }
}
