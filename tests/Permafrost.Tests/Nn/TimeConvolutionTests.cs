using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Tests.Nn;

/// <summary>What convolutions along time promise beyond fairseq's numbers.</summary>
public sealed class TimeConvolutionTests : IDisposable
{
    private const int B = 2, T = 11, C = 12;

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string> Causal => ["depthwise", "lightweight", "alternating", "dynamic", "dilated"];

    public void Dispose() => scope.Dispose();

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public void A_constant_stays_constant_away_from_the_edges(int kernel)
    {
        using LightweightConv layer = Drawn(new LightweightConv(C, 3, new TapWindow(kernel, Causal: false)));
        Tensor y = layer.Forward(torch.ones([B, T, C]));
        Golden.Close("the middle", y.narrow(1, 2, T - 4), torch.ones([B, T - 4, C]), 1e-6);
        // Beyond an edge there are zeros, and the other taps are not made larger for them. An even kernel has one tap more behind than before.
        Assert.True(y.narrow(1, T - 1, 1).max().Number() < 0.999);
        Assert.True(y.narrow(1, 0, 1).max().Number() < 0.999);
        Assert.Equal(kernel == 4, y.narrow(1, T - 2, 1).max().Number() < 0.999);
        Assert.InRange(y.narrow(1, 1, 1).min().Number(), 0.999, 1.001);
    }

    [Fact]
    public void A_dynamic_convolution_that_predicts_nothing_is_the_mean_of_its_window()
    {
        using var layer = new DynamicConv(C, 3, new TapWindow(3, Causal: false));
        foreach ((_, Parameter parameter) in layer.NamedParameters()) parameter.Value = torch.zeros(parameter.Shape);
        Tensor x = Normal(B, T, C), y = layer.Forward(x);
        Golden.Close("the mean", y.narrow(1, 1, T - 2), (x.narrow(1, 0, T - 2) + x.narrow(1, 1, T - 2) + x.narrow(1, 2, T - 2)) / 3, 1e-6);
    }

    [Fact]
    public void A_row_for_each_channel_is_depthwise_after_the_softmax()
    {
        using LightweightConv light = Drawn(new LightweightConv(C, C, new TapWindow(5, Causal: true)));
        using var depthwise = new DepthwiseConv(C, new TapWindow(5, Causal: true));
        depthwise.NamedParameters().Single().Parameter.Value = light.NamedParameters().Single().Parameter.Value.softmax(-1);
        Tensor x = Normal(B, T, C);
        Golden.Close("depthwise", light.Forward(x), depthwise.Forward(x), 1e-6);
        // torch's own convolution: a group for each channel, zeros in front.
        Tensor padded = torch.cat([torch.zeros([B, C, 4]), x.transpose(1, 2)], 2);
        Tensor expected = torch.nn.functional.conv1d(padded, depthwise.NamedParameters().Single().Parameter.Value, groups: C).transpose(1, 2);
        Golden.Close("torch", depthwise.Forward(x), expected, 1e-6);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_dilated_convolution_is_one_over_every_other_token(bool causal)
    {
        using DilatedConv wide = Drawn(new DilatedConv(C, 3, causal, dilation: 2, bias: true));
        using var narrow = new DepthwiseConv(C, new TapWindow(3, causal), bias: true);
        foreach ((Parameter to, Parameter from) in narrow.NamedParameters().Zip(wide.NamedParameters(), (a, b) => (a.Parameter, b.Parameter))) to.Value = from.Value.clone();
        Tensor x = Normal(B, T, C), y = wide.Forward(x);
        foreach (int first in new[] { 0, 1 })
        {
            Tensor places = Tensors.From([.. Enumerable.Range(0, (T + 1 - first) / 2).Select(i => first + 2L * i)]);
            Golden.Close($"from {first}", y.index_select(1, places), narrow.Forward(x.index_select(1, places)), 1e-6);
        }
    }

    [Theory]
    [MemberData(nameof(Causal))]
    public void A_causal_convolution_sees_nothing_that_comes_later_and_goes_on_where_it_stopped(string kind)
    {
        using TimeConvolution layer = Drawn(Layer(kind));
        Tensor x = Normal(B, T, C), changed = x.clone();
        changed.narrow(1, 6, 1).add_(1);
        Tensor whole = layer.Forward(x), other = layer.Forward(changed);
        Assert.True(whole.narrow(1, 0, 6).contiguous().ValuesEqual(other.narrow(1, 0, 6).contiguous()));
        Assert.False(whole.narrow(1, 6, 1).ValuesEqual(other.narrow(1, 6, 1)));

        // Token by token, some at once, with padding in front of one row.
        Tensor mask = torch.ones([B, T], ScalarType.Int64);
        mask[0].narrow(0, 0, 2).zero_();
        whole = layer.Forward(x, new TimeConvolutionInputs(mask));
        using var cache = new KeyValueCache();
        var parts = new List<Tensor>();
        using (torch.no_grad())
            foreach ((int first, int count) in new[] { (0, 1), (1, 1), (2, 5), (7, 1), (8, 3) })
                parts.Add(layer.Forward(x.narrow(1, first, count), new TimeConvolutionInputs(mask.narrow(1, 0, first + count), cache, "here")));
        Golden.Close("step by step", torch.cat([.. parts], 1), whole, 2e-6);
    }

    [Theory]
    [MemberData(nameof(Causal))]
    public void A_kept_window_follows_its_rows(string kind)
    {
        using var noGrad = torch.no_grad();
        using TimeConvolution layer = Drawn(Layer(kind));
        Tensor x = Normal(B, T, C), swapped = x.index_select(0, Tensors.From([1L, 0]));
        using var cache = new KeyValueCache();
        layer.Forward(x.narrow(1, 0, 8), new TimeConvolutionInputs(Cache: cache));
        cache.Reorder(Tensors.From([1L, 0, 1]));
        Tensor next = torch.cat([swapped, swapped.narrow(0, 0, 1)], 0).narrow(1, 8, 3);
        Golden.Close("reordered", layer.Forward(next, new TimeConvolutionInputs(Cache: cache)).narrow(0, 0, 2), layer.Forward(swapped).narrow(1, 8, 3), 2e-6);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Masked_tokens_are_as_if_they_were_not_there(bool renormalise)
    {
        using DynamicConv layer = Drawn(new DynamicConv(C, 4, new TapWindow(5, Causal: false), new DynamicTaps { Renormalise = renormalise }));
        Tensor x = Normal(B, T, C), mask = torch.ones([B, T], ScalarType.Int64);
        mask[0].narrow(0, 0, 2).zero_();
        mask[0].narrow(0, 7, 4).zero_();
        Tensor y = layer.Forward(x, new TimeConvolutionInputs(mask));
        Assert.True(y.AllFinite());
        Golden.Close("what is left", y.narrow(0, 0, 1).narrow(1, 2, 5), layer.Forward(x.narrow(0, 0, 1).narrow(1, 2, 5)), 1e-6);
    }

    [Theory]
    [InlineData("lightweight")]
    [InlineData("dynamic")]
    public void DropConnect_drops_taps_in_training_only_and_by_its_key(string kind)
    {
        using TimeConvolution layer = Drawn(Layer(kind));
        Tensor x = torch.ones([B, T, C]);
        Tensor Run(long seed, long firstRow = 0)
        {
            layer.UseDropoutKeys(new DropoutKeys { Seed = seed, FirstRow = firstRow });
            return layer.Forward(x, new TimeConvolutionInputs(TapDropout: 0.4));
        }
        Tensor still = Run(1);
        layer.train();
        Assert.True(Run(1).ValuesEqual(Run(1)));
        Assert.False(Run(1).ValuesEqual(Run(2)));
        Assert.False(Run(1).ValuesEqual(still));
        // A lightweight convolution's taps are the same for every row, a dynamic one's are each row's own, wherever in a run the batch begins.
        Tensor both = Run(1);
        Assert.Equal(kind == "lightweight", both[0].ValuesEqual(both[1]));
        Golden.Close("the second row alone", Run(1, firstRow: 1)[0], both[1], 1e-6);
        // What is kept is 1 / (1 - p) times as large: of 6 taps of 1/6 each, whole multiples of 1/3.6 remain.
        foreach ((_, Parameter parameter) in layer.NamedParameters()) parameter.Value = torch.zeros(parameter.Shape);
        Tensor kept = Run(1).narrow(1, 5, T - 5) * 3.6;
        Golden.Close("what is kept", kept, kept.round(), 1e-5);
    }

    [Fact]
    public void Channels_that_cannot_share_rows_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new LightweightConv(C, 5, new TapWindow(3, Causal: true)));
        Assert.Throws<ArgumentException>(() => new DynamicConv(C, 0, new TapWindow(3, Causal: true)));
        var settings = new ConvolutionSettings(0);
        Tensor x = Normal(B, T, C);
        foreach (Func<Tensor> wrong in new Func<Tensor>[]
        {
            () => x.ConvolveTime(torch.ones([5, 3]), null, settings), () => x.ConvolveTime(torch.ones([B, T - 1, 4, 3]), null, settings), () => x[0].ConvolveTime(torch.ones([4, 3]), null, settings),
            () => x.ConvolveTime(torch.ones([4, 3]), torch.ones([C + 1]), settings), () => x.ConvolveTime(torch.ones([4, 3]), null, settings with { Mask = torch.ones([B, T + 1]) }),
            () => x.ConvolveTime(torch.ones([4, 3]), null, settings with { Dilation = 0 }), () => x.ConvolveTime(torch.ones([4, 3]), null, settings with { Outputs = 0 }),
        }) Assert.Throws<ArgumentException>(wrong);
    }

    private static TimeConvolution Layer(string kind) => kind switch
    {
        "depthwise" => new DepthwiseConv(C, new TapWindow(4, Causal: true)),
        "lightweight" => new LightweightConv(C, 3, new TapWindow(6, Causal: true), bias: true),
        "alternating" => new LightweightConv(C, 3, new TapWindow(1, Causal: true), alternating: true, softmax: false),
        "dynamic" => new DynamicConv(C, 4, new TapWindow(6, Causal: true)),
        _ => new DilatedConv(C, 3, causal: true, dilation: 2),
    };

    private static TLayer Drawn<TLayer>(TLayer layer) where TLayer : Module
    {
        foreach ((string name, Parameter parameter) in layer.NamedParameters())
        {
            using Generator random = Initializers.GeneratorFor(1, name);
            parameter.Initialize(random, Initializers.Normal(0.5));
        }
        return layer;
    }

    private static Tensor Normal(params long[] shape)
    {
        using var random = new Generator(5);
        return torch.empty(shape).normal_(0, 1, random);
    }
}
