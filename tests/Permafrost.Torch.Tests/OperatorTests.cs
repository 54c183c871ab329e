namespace Permafrost.Torch.Tests;

/// <summary>The door to libtorch's dispatcher: how arguments and results cross it, and what a refusal says.</summary>
public class OperatorTests : IDisposable
{
    private readonly TensorScope scope = new();

    public void Dispose()
    {
        scope.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [InlineData("aten::no_such_operator", "", "aten::no_such_operator")]
    [InlineData("aten::add", "NoSuchOverload", "aten::add.NoSuchOverload")]
    [InlineData("no_such_namespace::add", "Tensor", "no_such_namespace::add.Tensor")]
    public void An_unknown_operator_is_named(string name, string overload, string expected)
    {
        var unknown = new Operator(name, overload);
        Assert.Equal(expected, unknown.Name);
        Assert.False(unknown.Exists);
        var error = Assert.Throws<TorchException>(() => unknown.Call());
        Assert.Equal(expected, error.Operation);
        Assert.Contains($"no operator {expected}", error.Message, StringComparison.Ordinal);
        Assert.Contains(Engine.Version, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Wrong_shapes_are_reported_with_operator_types_and_shapes()
    {
        Tensor a = Tensor.Zeros([2, 3]);
        Tensor b = Tensor.Zeros([4, 5], DType.Float64);
        var error = Assert.Throws<TorchException>(() => a.Matmul(b));
        Assert.Equal("aten::matmul", error.Operation);
        Assert.Equal("Float[2, 3], Double[4, 5]", error.Arguments);
        Assert.StartsWith("aten::matmul(Float[2, 3], Double[4, 5]): ", error.Message, StringComparison.Ordinal);
        Assert.NotEmpty(error.Reason);
        Assert.False(error.IsOutOfMemory);
    }

    [Fact]
    public void Every_kind_of_argument_is_described_in_a_refusal()
    {
        Tensor table = Tensor.Zeros([2, 3]);
        var error = Assert.Throws<TorchException>(() => new Operator("aten::gelu").Call(table, "no such variant"));
        Assert.Equal("Float[2, 3], 'no such variant'", error.Arguments);
        error = Assert.Throws<TorchException>(() => table.View(4, 2));
        Assert.Equal("Float[2, 3], [4, 2]", error.Arguments);
        error = Assert.Throws<TorchException>(() => Tensor.Cat([table, Tensor.Zeros([1L], DType.Int64)], 5));
        Assert.Equal("[Float[2, 3], Long[1]], 5", error.Arguments);
        error = Assert.Throws<TorchException>(() => table.LayerNorm(Tensor.Zeros([7]), null, 0.5));
        Assert.Equal("Float[2, 3], [3], Float[7], none, 0.5", error.Arguments);
    }

    [Fact]
    public void Too_many_and_too_few_arguments_are_counted()
    {
        Tensor x = Tensor.Ones([1]);
        var relu = new Operator("aten::relu");
        var error = Assert.Throws<TorchException>(() => relu.Call(x, 1, 2));
        Assert.Contains("takes 1 arguments and was given 3", error.Message, StringComparison.Ordinal);
        error = Assert.Throws<TorchException>(() => relu.Call());
        Assert.Contains("needs the argument 'self'", error.Message, StringComparison.Ordinal);
        error = Assert.Throws<TorchException>(() => new Operator("aten::add", "Tensor").Call(x));
        Assert.Contains("needs the argument 'other'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Missing_and_default_arguments_take_the_schemas_values()
    {
        // aten::addmm(self, mat1, mat2, *, beta=1, alpha=1)
        var addmm = new Operator("aten::addmm");
        Tensor one = Tensor.Ones([1, 1]);
        Assert.Equal(2, addmm.Call(one, one, one).ToDouble());
        Assert.Equal(4, addmm.Call(one, one, one, Argument.Default, 3.0).ToDouble());
        Assert.Equal(6, addmm.Call(one, one, one, 5L).ToDouble());  // an integer where a number is wanted
    }

    [Fact]
    public void Integers_and_reals_are_converted_to_what_the_schema_wants()
    {
        Tensor x = Tensor.From([1L, 2]);
        var add = new Operator("aten::add", "Scalar");
        Assert.Equal([3L, 4], add.Call(x, 2L).ToArray<long>());  // stays integer
        Assert.Equal(DType.Float32, add.Call(x, 2.0).DType);
        // aten::leaky_relu's slope and aten::layer_norm's epsilon are floating-point; an integer will do.
        Assert.Equal([-2f], new Operator("aten::leaky_relu").Call(Tensor.From([-1f]), 2L).ToArray<float>());
        Assert.Equal([0.5f], new Operator("aten::layer_norm").Call(Tensor.From([7f]), new long[] { 1 }, Argument.None, Tensor.From([0.5f]), 1L).ToArray<float>());
        // One number where a list is wanted.
        Assert.Equal([3L], new Operator("aten::sum", "dim_IntList").Call(x, 0L, true).ToArray<long>());
    }

    [Fact]
    public void Absent_tensors_may_stand_among_arguments_and_in_lists()
    {
        Tensor x = Tensor.Arange(6).View(2, 3);
        Assert.Equal([0.0, 0], Tensor.From([1.0, 1]).LayerNorm(null, null, 1e-5).ToArray<double>());
        // aten::index.Tensor(self, Tensor?[] indices): x[:, [2, 0]]
        Tensor picked = new Operator("aten::index", "Tensor").Call(x, new Tensor[] { null!, Tensor.From([2L, 0]) });
        Assert.Equal([2L, 0, 5, 3], picked.ToArray<long>());
    }

    [Fact]
    public void Lists_longer_than_the_scratch_on_the_stack_arrive_whole()
    {
        // 300 of each kind; the stack holds 128 words.
        Tensor[] ones = [.. Enumerable.Range(0, 300).Select(i => Tensor.From([(double)i]))];
        Assert.Equal(Enumerable.Range(0, 300).Select(i => (double)i), Tensor.Cat(ones).ToArray<double>());

        long[] cuts = [.. Enumerable.Range(1, 299).Select(i => (long)i)];
        Tensor[] parts = new Operator("aten::tensor_split", "indices").CallList(Tensor.Arange(300), cuts);
        Assert.Equal(300, parts.Length);
        Assert.All(parts.Select((part, i) => (part, i)), pair => Assert.Equal(pair.i, pair.part.ToInt64()));

        double[] factors = [.. Enumerable.Range(0, 300).Select(i => i * 0.5)];
        Tensor[] products = new Operator("aten::_foreach_mul", "ScalarList").CallList(ones, factors);
        Assert.All(products.Select((product, i) => (product, i)), pair => Assert.Equal(pair.i * pair.i * 0.5, pair.product.ToDouble()));

        var error = Assert.Throws<TorchException>(() => new Operator("aten::gelu").Call(ones[0], new string('x', 5000)));
        Assert.Contains(new string('x', 5000), error.Arguments, StringComparison.Ordinal);
    }

    [Fact]
    public void Several_lists_and_texts_of_one_call_do_not_run_into_each_other()
    {
        Tensor[] start = [Tensor.From([1.0]), Tensor.From([2.0])];
        Tensor[] left = [Tensor.From([3.0]), Tensor.From([4.0])];
        Tensor[] right = [Tensor.From([5.0]), Tensor.From([6.0])];
        Tensor[] sums = new Operator("aten::_foreach_addcmul", "Scalar").CallList(start, left, right, 10.0);
        Assert.Equal([151.0, 242], sums.Select(sum => sum.ToDouble()));
    }

    [Fact]
    public void Results_come_as_one_as_a_pair_and_as_a_list()
    {
        Tensor x = Tensor.From([3L, 9, 4]);
        (Tensor values, Tensor indices) = new Operator("aten::max", "dim").CallPair(x, 0L);
        Assert.Equal((9, 1), (values.ToInt64(), indices.ToInt64()));
        Assert.Equal([3L, 9, 4], new Operator("aten::unbind", "int").CallList(x).Select(element => element.ToInt64()));
        Assert.Empty(new Operator("aten::unbind", "int").CallList(Tensor.Zeros([0, 2])));
        new Operator("aten::mul_", "Scalar").Run(x, 2L);
        Assert.Equal([6L, 18, 8], x.ToArray<long>());
    }

    [Fact]
    public void Results_of_another_kind_are_refused()
    {
        Tensor x = Tensor.Ones([2]);
        Assert.Throws<TorchException>(() => new Operator("aten::relu").CallList(x));
        Assert.Throws<TorchException>(() => new Operator("aten::relu").CallPair(x));
        Assert.Throws<TorchException>(() => new Operator("aten::unbind", "int").Call(x));
        Assert.Throws<TorchException>(() => new Operator("aten::is_same_size").Call(x, x));  // a flag
    }

    [Fact]
    public void A_refusal_leaves_the_operator_usable()
    {
        Tensor x = Tensor.Ones([2]);
        var view = new Operator("aten::view");
        for (int i = 0; i < 100; i++)
        {
            Assert.Throws<TorchException>(() => view.Call(x, new long[] { 3 }));
            Assert.Equal([2, 1], view.Call(x, new long[] { 2, 1 }).Shape);
        }
    }

    [Fact]
    public void Threads_that_call_one_new_operator_at_once_get_their_own_results()
    {
        var square = new Operator("aten::square");
        Parallel.For(0, 64, i =>
        {
            using var inner = new TensorScope();
            Assert.Equal(i * i, square.Call(Tensor.Scalar((double)i)).ToDouble());
        });
    }
}
