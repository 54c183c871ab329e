using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>Where start weights come from: reproducible, and of the distribution that the name promises.</summary>
public class BackboneInitTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void A_random_body_is_known_by_its_seed()
    {
        string path = TinyGpt2.Configure(folder, TinyGpt2.Json());
        Assert.Equal(Sha(path, "random", 3), Sha(path, "random", 3));
        Assert.NotEqual(Sha(path, "random", 3), Sha(path, "random", 4));
        Assert.NotEqual(Sha(path, "random", 3), Sha(path, "random-gpt2-2021", 3));
    }

    [Fact]
    public void A_parameters_values_depend_on_seed_and_name_only()
    {
        // The unscaled scheme, whose deviations do not depend on the number of layers.
        using Backbone one = Load(TinyGpt2.Configure(folder, TinyGpt2.Json(layers: 1)), "random-gpt2-2021", 5);
        using Backbone two = Load(TinyGpt2.Configure(folder, TinyGpt2.Json(layers: 2)), "random-gpt2-2021", 5);
        Dictionary<string, Parameter> larger = two.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
        Assert.All(one.NamedParameters(), pair => Assert.True(pair.Parameter.Value.ValuesEqual(larger[pair.Name].Value), pair.Name));
        Assert.False(larger["h.0.mlp.c_fc.weight"].Value.ValuesEqual(larger["h.1.mlp.c_fc.weight"].Value));
    }

    [Theory]
    [InlineData("random", 0.01)]
    [InlineData("random-gpt2-2021", 0.02)]
    public void Residual_projections_are_scaled_unless_drawn_as_in_2021(string init, double projection)
    {
        // 2 layers of 128: 0.02 / sqrt(2 * 2) = 0.01.
        using Backbone backbone = Load("gpt2-tiny", init, 0);
        foreach ((string name, Parameter parameter) in backbone.NamedParameters())
        {
            if (name.EndsWith("bias", StringComparison.Ordinal)) Assert.Equal(0, parameter.Value.abs().max().Number());
            else if (name.Contains("ln_", StringComparison.Ordinal)) Assert.True(parameter.Value.ValuesEqual(torch.ones(parameter.Shape)));
            else CheckMoments(name, parameter.Value, 0, name.EndsWith("c_proj.weight", StringComparison.Ordinal) ? projection : 0.02);
        }
    }

    [Fact]
    public void The_configurations_initializer_range_holds_for_both_schemes()
    {
        string path = TinyGpt2.Configure(folder, TinyGpt2.Json(layers: 2, width: 64, more: ", \"initializer_range\": 0.1"));
        using Backbone scaled = Load(path, "random", 0);
        CheckMoments("scaled", Value(scaled, "h.1.attn.c_proj.weight"), 0, 0.05);
        using Backbone unscaled = Load(path, "random-gpt2-2021", 0);
        CheckMoments("c_attn", Value(unscaled, "h.1.attn.c_attn.weight"), 0, 0.1);
        // "residual projections drawn like every other weight" (BackboneInit.DrawRandom)
        CheckMoments("c_proj", Value(unscaled, "h.1.attn.c_proj.weight"), 0, 0.1);
    }

    [Fact]
    public void Statistics_keep_mean_and_deviation_and_norms_and_positions_bit_by_bit()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(layers: 2, width: 32, vocabulary: 100), weights => weights["h.1.mlp.c_fc.bias"] = torch.full([128], 0.25));
        using Backbone pretrained = Load(path, "pretrained", 0);
        using Backbone drawn = Load(path, "statistics", 7);
        using Backbone again = Load(path, "statistics", 7);
        using Backbone other = Load(path, "statistics", 8);
        foreach ((string name, Parameter parameter) in pretrained.NamedParameters())
        {
            Tensor value = Value(drawn, name);
            Assert.True(value.ValuesEqual(Value(again, name)), name);
            if (Kept(pretrained, name)) { Assert.Equal(parameter.Value.ToBytes(), value.ToBytes()); continue; }
            if (name == "h.1.mlp.c_fc.bias") { Assert.True(value.ValuesEqual(parameter.Value)); continue; }  // no spread: nothing to draw
            CheckMoments(name, value, parameter.Value.mean().Number(), parameter.Value.std(unbiased: false).Number());
            Assert.False(value.ValuesEqual(parameter.Value), name);
            Assert.False(value.ValuesEqual(Value(other, name)), name);
        }
    }

    [Fact]
    public void Shuffling_permutes_each_tensor_within_itself_and_leaves_norms_and_positions()
    {
        string path = TinyGpt2.Save(folder, TinyGpt2.Json(layers: 2));
        using Backbone pretrained = Load(path, "pretrained", 0);
        using Backbone shuffled = Load(path, "shuffled", 7);
        Assert.Equal(Sha(path, "shuffled", 7), WeightHash.Of(shuffled.NamedParameters()));
        Assert.NotEqual(Sha(path, "shuffled", 8), WeightHash.Of(shuffled.NamedParameters()));
        foreach ((string name, Parameter parameter) in pretrained.NamedParameters())
        {
            Tensor value = Value(shuffled, name);
            Assert.Equal(parameter.Value.ToArray<float>().Order(), value.ToArray<float>().Order());
            Assert.Equal(Kept(pretrained, name), value.ValuesEqual(parameter.Value));
        }
    }

    [Fact]
    public void Inits_that_need_weights_or_do_not_exist_are_refused()
    {
        Refusal.OfUsage("'gpt2-tiny' is a preset without weights", () => Load("gpt2-tiny", "pretrained", 0));
        Refusal.OfUsage("`init` shuffled", () => Load("gpt2-tiny", "shuffled", 0));
        Refusal.OfUsage("`init` magic does not exist", () => Load("gpt2-tiny", "magic", 0));
    }

    [Fact]
    public void The_hash_sees_every_bit_and_every_name_and_not_the_order()
    {
        Parameter a = Make("a", 1), b = Make("b", 2);
        string hash = WeightHash.Of([("a", a), ("b", b)]);
        Assert.Matches("^[0-9a-f]{64}$", hash);
        Assert.Equal(hash, WeightHash.Of([("b", b), ("a", a)]));
        Assert.NotEqual(hash, WeightHash.Of([("a", b), ("b", a)]));
        Assert.NotEqual(hash, WeightHash.Of([("a", a), ("c", b)]));
        Assert.NotEqual(hash, WeightHash.Of([("a", a), ("b", Make("b", MathF.BitIncrement(2)))]));
    }

    private static Parameter Make(string name, float value) => new(name, [1], Initializers.Zeros) { Value = Tensors.From([value]) };

    private static bool Kept(Backbone backbone, string name) => backbone.GroupOf(name).Group is GroupName.Ln or GroupName.Pos;

    private static Tensor Value(Backbone backbone, string name) => backbone.NamedParameters().Single(pair => pair.Name == name).Parameter.Value;

    private static Backbone Load(string reference, string init, long seed) => Bodies.Load(reference, init, seed);

    private static string Sha(string reference, string init, long seed)
    {
        using Backbone backbone = Load(reference, init, seed);
        return WeightHash.Of(backbone.NamedParameters());
    }

    // Of n normal draws: the mean is within 5 s / sqrt(n), the deviation within 5 s / sqrt(2 n); one in a million runs of another seed would fail.
    private static void CheckMoments(string name, Tensor values, double mean, double deviation)
    {
        double n = values.NumberOfElements;
        double actual = values.mean().Number();
        Assert.True(Math.Abs(actual - mean) <= 5 * deviation / Math.Sqrt(n), $"{name}: mean {actual}, expected {mean}");
        actual = values.std(unbiased: false).Number();
        Assert.True(Math.Abs(actual - deviation) <= 5 * deviation / Math.Sqrt(2 * n) + deviation / n, $"{name}: deviation {actual}, expected {deviation}");
    }
}
