using Permafrost.Adaptation;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tests.Models;

namespace Permafrost.Tests.Adaptation;

/// <summary>The whole computation: what is counted, what trains, what the new layers start from, and what an adapter may set.</summary>
public class AdaptedModelTests : IDisposable
{
    private const long Gpt2 = 124_439_808;
    private const long TokenTable = 50257 * 768;

    private static readonly TaskSpec BitXor = new(new VectorInput(1, 10), new ClassOutput(2) { Count = 5 }) { Readout = "last:5" };
    private static readonly TaskSpec Mnist = new(new VectorInput(16, 49), new ClassOutput(10));
    private static readonly TaskSpec ListOps = new(new IdInput(15, 512), new ClassOutput(10));

    private static readonly Lazy<FrozenWeights> Gpt2Weights = new(() => FrozenWeights.Load("gpt2", "random"));

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    // Lu et al. 2021 as their code trains it (reference/fpt.md, section 1, column "requires_grad total").
    [Theory]
    [InlineData("bit-xor", 827_906, 1_536, 1_538)]
    [InlineData("mnist", 845_578, 13_056, 7_690)]
    [InlineData("listops", 844_042, 11_520, 7_690)]
    public void Trained_counts_on_gpt2_are_those_of_the_papers_code(string task, long trained, long input, long output)
    {
        using AdaptedModel model = OnGpt2(task switch { "bit-xor" => BitXor, "mnist" => Mnist, _ => ListOps }, "fpt");
        Assert.Equal((Gpt2 + input + output, trained, TokenTable), Numbers(model));
        Assert.Equal((input, output), (Elements(model, GroupName.Input), Elements(model, GroupName.Output)));
        Assert.Equal((38_400, 786_432), (Elements(model, GroupName.Ln), Elements(model, GroupName.Pos)));
        Assert.All(model.Parameters, parameter => Assert.Equal(parameter.Trained, parameter.Parameter.IsTrained));
        string share = (100.0 * trained / (Gpt2 + input + output)).ToString("F4");
        Assert.Equal($"trainable params: {trained:N0} || all params: {Gpt2 + input + output:N0} || trainable%: {share}", model.Counts.ToString());
    }

    [Fact]
    public void A_token_table_that_no_input_reaches_is_not_trained_under_star()
    {
        using AdaptedModel vectors = OnGpt2(Mnist, "*");
        Assert.Equal((Gpt2 + 13_056 + 7_690, Gpt2 - TokenTable + 13_056 + 7_690, TokenTable), Numbers(vectors));
        Assert.Equal(["wte.weight"], vectors.Frozen.Select(parameter => parameter.Name));
        using AdaptedModel ids = OnGpt2(ListOps, "*");  // a table of its own in front
        Assert.Equal(TokenTable, ids.Counts.Unused);
        using AdaptedModel own = OnGpt2(ListOps, "*", ownTokens: true);
        Assert.Equal((Gpt2 + 7_690, Gpt2 + 7_690, 0), Numbers(own));
    }

    [Fact]
    public void A_policy_over_layers_trains_exactly_those()
    {
        using AdaptedModel model = Tiny("output,attn[-1],ff[0]", layers: 2);
        Assert.Equal(["output_layer.weight", "output_layer.bias",
            "h.0.mlp.c_fc.weight", "h.0.mlp.c_fc.bias", "h.0.mlp.c_proj.weight", "h.0.mlp.c_proj.bias",
            "h.1.attn.c_attn.weight", "h.1.attn.c_attn.bias", "h.1.attn.c_proj.weight", "h.1.attn.c_proj.bias"], model.Trained.Select(parameter => parameter.Name));
    }

    [Theory]
    [InlineData("embed")]
    [InlineData("cross")]
    [InlineData("conv,recurrent")]
    public void A_policy_that_trains_nothing_is_refused(string policy) => Refusal.OfUsage($"`policy` '{policy}' trains nothing", () => Tiny(policy));

    [Fact]
    public void A_linear_input_layer_starts_orthogonal_with_gain_1_41_and_zero_bias()
    {
        using AdaptedModel model = OnGpt2(Mnist, "fpt");
        Tensor weight = Value(model, "input_layer.weight").detach().to(ScalarType.Float64);  // (768, 16)
        Tensor product = weight.transpose(0, 1).matmul(weight);
        Tensor unit = torch.ones([16, 16], ScalarType.Float64).triu().tril() * (1.41 * 1.41);
        Assert.True((product - unit).abs().max().Number() < 1e-5);
        Assert.Equal(0, Value(model, "input_layer.bias").abs().max().Number());
        // Wider than the backbone: orthogonal the other way round.
        using AdaptedModel wide = Tiny("fpt", new TaskSpec(new VectorInput(20, 3), new ClassOutput(2)));
        Tensor rows = Value(wide, "input_layer.weight").detach().to(ScalarType.Float64);  // (8, 20)
        Assert.True((rows.matmul(rows.transpose(0, 1)) - torch.ones([8, 8], ScalarType.Float64).triu().tril() * (1.41 * 1.41)).abs().max().Number() < 1e-5);
    }

    [Fact]
    public void An_input_table_starts_as_standard_normal_and_the_output_layer_as_torchs_Linear()
    {
        using AdaptedModel model = OnGpt2(new TaskSpec(new IdInput(1000, 8), new ClassOutput(10)), "fpt");
        Tensor table = Value(model, "input_layer.weight");
        Assert.Equal([1000, 768], table.shape);
        Assert.InRange(table.std().Number(), 0.995, 1.005);  // 768,000 draws: 5 deviations are 0.004
        double bound = 1 / Math.Sqrt(768);
        Assert.InRange(Value(model, "output_layer.weight").abs().max().Number(), 0.99 * bound, bound);
        Assert.InRange(Value(model, "output_layer.bias").abs().max().Number(), 0, bound);
    }

    [Fact]
    public void The_seed_decides_the_new_layers()
    {
        using AdaptedModel one = Tiny("fpt", seed: 1), again = Tiny("fpt", seed: 1), two = Tiny("fpt", seed: 2);
        foreach (string name in new[] { "input_layer.weight", "output_layer.weight", "output_layer.bias" })
        {
            Assert.True(Value(one, name).ValuesEqual(Value(again, name)));
            Assert.False(Value(one, name).ValuesEqual(Value(two, name)));
        }
        Assert.True(Value(one, "h.0.attn.c_attn.weight").ValuesEqual(Value(two, "h.0.attn.c_attn.weight")));
    }

    [Fact]
    public void Logits_have_an_answer_for_every_target_and_only_trained_parameters_get_gradients()
    {
        using AdaptedModel model = Tiny("fpt");
        Tensor inputs = Tensors.From([0f, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1], 2, 6, 1);
        Tensor logits = model.Forward(inputs, null);
        Assert.Equal([2, 3, 2], logits.shape);
        model.Head.Loss(logits, Tensors.From([0L, 1, -100, 1, 1, 0], 2, 3)).backward();
        Assert.All(model.Trained, parameter => Assert.NotNull(parameter.Parameter.Value.grad));
        Assert.All(model.Frozen.Where(parameter => parameter.Parameter.HasValue), parameter => Assert.Null(parameter.Parameter.Value.grad));
    }

    [Fact]
    public void Padding_on_the_right_does_not_change_the_answers()
    {
        using AdaptedModel model = Tiny("fpt", new TaskSpec(new IdInput(11, 6), new ClassOutput(3)));
        using var noGrad = torch.no_grad();
        Tensor alone = model.Forward(Tensors.From([3L, 7, 2], 1, 3), null);
        Tensor padded = model.Forward(Tensors.From([3L, 7, 2, 9, 9, 9], 1, 6), Tensors.From([1L, 1, 1, 0, 0, 0], 1, 6));
        Assert.True((alone - padded).abs().max().Number() < 1e-6);
    }

    [Fact]
    public void Combinations_that_cannot_be_are_refused()
    {
        Refusal.OfUsage("`input_layer` pretrained-embedding", () => Tiny("fpt", ownTokens: true));
        Refusal.OfUsage("`readout` last:2", () => Tiny("fpt", new TaskSpec(new VectorInput(1, 6), new ClassOutput(2) { Count = 3 }), readout: "last:2"));
        Refusal.OfUsage("`policy` 'attn[1]'", () => Tiny("attn[1]"));
        Assert.Contains("do not fit the backbone's 16 positions", Refusal.Of("17 tokens", () => Tiny("fpt", new TaskSpec(new VectorInput(1, 17), new ClassOutput(2)))), StringComparison.Ordinal);
    }

    [Fact]
    public void An_adapter_restores_what_trained()
    {
        using AdaptedModel source = Tiny("fpt", seed: 1), target = Tiny("fpt", seed: 2);
        using (torch.no_grad()) foreach (AdaptedParameter parameter in source.Trained) parameter.Parameter.Value.add_(torch.ones([1]), 0.25);
        string frozen = target.FrozenSha256();
        target.LoadAdapter(source.Adapter().ToDictionary(p => p.Key.StartsWith("h.", StringComparison.Ordinal) ? $"transformer.{p.Key}" : p.Key, p => p.Value), "a.safetensors", complete: true);
        Assert.All(source.Adapter(), pair => Assert.True(pair.Value.ValuesEqual(target.Adapter()[pair.Key]), pair.Key));
        Assert.Equal(frozen, target.FrozenSha256());
        Assert.Equal(target.Trained.Select(parameter => parameter.Name), target.Adapter().Keys);
    }

    [Fact]
    public void An_adapter_holds_the_new_layers_even_where_they_are_frozen()
    {
        // Nothing else knows their values: the seed alone would not do once --init-adapter has set them.
        using AdaptedModel model = Tiny("ln"), other = Tiny("ln", seed: 1);
        Assert.Equal(["input_layer.weight", "input_layer.bias", "output_layer.weight", "output_layer.bias"], model.Adapter().Keys.Where(name => name.Contains("put_layer", StringComparison.Ordinal)));
        Assert.False(Value(model, "output_layer.weight").requires_grad);
        other.LoadAdapter(model.Adapter(), "a.safetensors", complete: true);
        Tensor inputs = torch.ones([1, 6, 1]);
        Assert.True(model.Forward(inputs, null).ValuesEqual(other.Forward(inputs, null)));
    }

    [Fact]
    public void An_adapter_that_does_not_fit_is_refused_with_its_file()
    {
        using AdaptedModel model = Tiny("fpt");
        void Load(string name, Tensor tensor, bool complete = false) => model.LoadAdapter(new Dictionary<string, Tensor> { [name] = tensor }, "a.safetensors", complete);
        Assert.Contains("no parameter of this run", Refusal.Of("a.safetensors", () => Load("h.7.ln_1.weight", torch.ones([8]))), StringComparison.Ordinal);
        Assert.Contains("is frozen", Refusal.Of("a.safetensors", () => Load("h.0.attn.c_proj.bias", torch.ones([8]))), StringComparison.Ordinal);
        Assert.Contains("[9], this run's is [8]", Refusal.Of("a.safetensors", () => Load("ln_f.weight", torch.ones([9]))), StringComparison.Ordinal);
        Assert.Contains("missing", Refusal.Of("a.safetensors", () => Load("ln_f.weight", torch.ones([8]), complete: true)), StringComparison.Ordinal);
        Load("ln_f.weight", torch.full([8], 3));
        Assert.Equal(3, Value(model, "ln_f.weight").max().Number());
    }

    private static (long Total, long Trained, long Unused) Numbers(AdaptedModel model) => (model.Counts.Total, model.Counts.Trained, model.Counts.Unused);

    // One body for all tests that count on it.
    private static AdaptedModel OnGpt2(TaskSpec spec, string policy, bool ownTokens = false) => Bodies.Adapt(Gpt2Weights.Value, spec, policy, ownTokens, dropout: 0.1);

    private AdaptedModel Tiny(string policy, TaskSpec? shape = null, int layers = 1, bool ownTokens = false, string? readout = null, long seed = 0)
    {
        shape ??= new TaskSpec(new VectorInput(1, 6), new ClassOutput(2) { Count = 3 }) { Readout = "last:3" };
        return Bodies.Adapt(TinyGpt2.Configure(folder, TinyGpt2.Json(layers)), shape, policy, ownTokens: ownTokens, readout: readout, seed: seed);
    }

    private static long Elements(AdaptedModel model, GroupName group) => model.Trained.Where(parameter => parameter.Group == group).Sum(parameter => parameter.Parameter.Elements);

    private static Tensor Value(AdaptedModel model, string name) => model.Parameters.Single(parameter => parameter.Name == name).Parameter.Value;
}
