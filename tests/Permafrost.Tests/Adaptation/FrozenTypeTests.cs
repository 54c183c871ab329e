using Permafrost.Adaptation;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tasks;
using Permafrost.Tests.Models;

namespace Permafrost.Tests.Adaptation;

/// <summary>Frozen weights in bfloat16: the gradients that training follows, and what becomes of weights in memory. The kernels are the whole process's choice.</summary>
[Collection(ProcessWide.Name)]
public class FrozenTypeTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public static TheoryData<string, string> FixturesAndKernels()
    {
        var cases = new TheoryData<string, string>();
        foreach (string fixture in new[] { "gpt2_a", "gpt2_b", "fpt_bitxor", "fpt_image", "fpt_tokens" })
            foreach (string kernels in KernelSet.Available) cases.Add(fixture, kernels);
        return cases;
    }

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    // Without instructions for bfloat16 (avx512, avx2, portable) weights are rounded but not packed: the fallback is held to the same numbers.
    [Theory]
    [MemberData(nameof(FixturesAndKernels))]
    public void Gradients_and_outputs_are_those_of_float32_within_bfloat16s_rounding(string fixture, string kernels)
    {
        Case one = Load(fixture);
        string before = KernelSet.Name;
        (Tensor logits, Dictionary<string, Tensor> gradients) = Compute(one, ScalarType.Float32, out int packed);
        Assert.Equal(0, packed);
        try
        {
            KernelSet.Select(KernelSet.Available[0]);
            KernelSet.Select(kernels);
            (Tensor rounded, Dictionary<string, Tensor> roundedGradients) = Compute(one, ScalarType.BFloat16, out packed);
            Assert.Equal(KernelSet.MultipliesBFloat16, packed > 0);
            Assert.True(Cosine([logits], [rounded]) >= 0.999, $"logits: cosine {Cosine([logits], [rounded]):F5}");
            Assert.InRange((logits - rounded).abs().max().Number() / Golden.Largest(logits), 1e-6, 0.04);  // not the same numbers, but close
            string[] names = [.. gradients.Keys];
            Assert.Equal(names, roundedGradients.Keys);
            double all = Cosine([.. names.Select(name => gradients[name])], [.. names.Select(name => roundedGradients[name])]);
            Assert.True(all >= 0.999, $"all gradients together: cosine {all:F5}");
            double largest = gradients.Values.Max(gradient => gradient.norm().Number());
            foreach (string name in names.Where(name => gradients[name].norm().Number() > 0.01 * largest))
            {
                double cosine = Cosine([gradients[name]], [roundedGradients[name]]);
                Assert.True(cosine >= 0.99, $"{name}: cosine {cosine:F5}");
            }
        }
        finally
        {
            KernelSet.Select(before);
        }
    }

    [Fact]
    public void Frozen_matrices_are_packed_and_everything_else_stays_float32()
    {
        using AdaptedModel model = Tiny(ScalarType.BFloat16, "fpt");
        foreach (AdaptedParameter parameter in model.Parameters.Where(parameter => parameter.Parameter.HasValue))
        {
            bool matrix = !parameter.Trained && parameter.Parameter.Layout != MatrixLayout.None;
            Assert.Equal(matrix ? ScalarType.BFloat16 : ScalarType.Float32, parameter.Parameter.Stored.dtype);
            if (matrix && KernelSet.MultipliesBFloat16) Assert.Contains("packed", Assert.Throws<InvalidOperationException>(() => parameter.Parameter.Value).Message, StringComparison.Ordinal);
            else Assert.Equal(parameter.Parameter.Shape, parameter.Parameter.Value.shape);
        }
        // What trains is never rounded, even where it is a matrix.
        using AdaptedModel wider = Tiny(ScalarType.BFloat16, "fpt,attn");
        Assert.All(wider.Parameters.Where(parameter => parameter.Name.Contains(".attn.", StringComparison.Ordinal)), parameter => Assert.Equal((ScalarType.Float32, true), (parameter.Parameter.Value.dtype, parameter.Parameter.Value.requires_grad)));
    }

    [Fact]
    public void The_frozen_hash_sees_packed_weights()
    {
        using AdaptedModel one = Tiny(ScalarType.BFloat16, "fpt"), same = Tiny(ScalarType.BFloat16, "fpt"), other = Tiny(ScalarType.BFloat16, "fpt", initSeed: 1), wide = Tiny(ScalarType.Float32, "fpt");
        string before = one.FrozenSha256();
        Assert.Equal(before, same.FrozenSha256());
        Assert.NotEqual(before, other.FrozenSha256());
        Assert.NotEqual(before, wide.FrozenSha256());
        one.Head.Loss(one.Forward(torch.ones([2, 6, 1]), null), torch.zeros([2, 3], ScalarType.Int64)).backward();
        Assert.Equal(before, one.FrozenSha256());
        // One bit of one packed weight.
        Parameter changed = one.Parameters.Single(parameter => parameter.Name == "h.0.mlp.c_fc.weight").Parameter;
        using (torch.no_grad()) changed.Stored.view(-1).narrow(0, 3, 1).mul_(-1);
        Assert.NotEqual(before, one.FrozenSha256());
    }

    [Theory]
    [InlineData("last", "none")]
    [InlineData("last", "right")]
    [InlineData("last", "left")]
    [InlineData("last:3", "none")]
    [InlineData("last:3", "right")]
    [InlineData("last:3", "left")]
    [InlineData("first", "none")]
    [InlineData("first", "right")]
    [InlineData("first", "left")]
    public void Positions_that_are_read_are_computed_as_if_all_were(string readout, string padding)
    {
        foreach (int layers in new[] { 1, 3 })
            foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            {
                using Backbone backbone = Bodies.Load(TinyGpt2.Save(folder, TinyGpt2.Json(layers, width: 24)), "pretrained", type: type);
                Tensor? mask = padding == "none" ? null : Tensors.From<long>(padding == "right" ? [1L, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0] : [0L, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1], 2, 9);
                Tensor positions = Readout.Parse(readout).Positions(mask, 2, 9, torch.CPU)!;
                (Tensor all, Dictionary<string, Tensor> expected) = Read(backbone, mask, null, positions);
                (Tensor read, Dictionary<string, Tensor> gradients) = Read(backbone, mask, positions, positions);
                string where = $"{layers} layers, {type}";
                Assert.Equal([2, positions.size(1), 24], read.shape);
                double rounding = type == ScalarType.Float32 ? 5e-6 : 0.02;
                Golden.Close($"{where}: states", read, all, rounding * Golden.Largest(all));
                Assert.Equal(expected.Keys, gradients.Keys);
                double largest = expected.Values.Max(Golden.Largest);
                foreach ((string name, Tensor gradient) in expected) Golden.Close($"{where}: gradient of {name}", gradients[name], gradient, rounding * Golden.Largest(gradient) + 0.2 * rounding * largest);
            }
    }

    [Fact]
    public void A_token_table_that_no_input_reaches_is_freed_as_soon_as_it_is_there()
    {
        string path = TinyGpt2.Configure(folder, TinyGpt2.Json());
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
            foreach (bool ownTokens in new[] { false, true })
            {
                TaskSpec spec = new(new IdInput(4, 6), new ClassOutput(2));
                using AdaptedModel model = Bodies.Adapt(path, spec, ownTokens: ownTokens, type: type);
                Dictionary<string, Parameter> parameters = model.Backbone.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
                Assert.Equal(ownTokens, parameters["wte.weight"].HasValue);
                Assert.Equal(type, parameters["h.0.attn.c_attn.weight"].Stored.dtype);
                Assert.Equal(ScalarType.Float32, parameters["h.0.attn.c_attn.bias"].Stored.dtype);
                Assert.All(parameters.Where(pair => pair.Key != "wte.weight"), pair => Assert.True(pair.Value.HasValue, pair.Key));
            }
        // A whole float32 backbone never is in memory: what is settled leaves before the next one comes.
        using var weights = FrozenWeights.Load(path, "random");
        long before = Engine.LiveTensors;
        using (weights.CreateBackbone((_, name) => name == "wte.weight" ? WeightUse.Unused : WeightUse.Frozen, ScalarType.BFloat16))
            Assert.Equal(before + 2 * 15, Engine.LiveTensors);  // of 16 parameters, a handle each for the weights and for the model
        Assert.Equal(before + 15, Engine.LiveTensors);
        weights.Dispose();
        Assert.Equal(before, Engine.LiveTensors);
    }

    [Fact]
    public void Shared_and_own_weights_make_the_same_model()
    {
        string path = TinyGpt2.Configure(folder, TinyGpt2.Json(layers: 2));
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            using var weights = FrozenWeights.Load(path, "random");
            using AdaptedModel whole = Bodies.Adapt(path, Shape, "fpt,ff[-1]", type: type), first = Bodies.Adapt(weights, Shape, "output", type: type), settled = Bodies.Adapt(weights, Shape, "fpt,ff[-1]", type: type);
            Assert.Equal(whole.Counts, settled.Counts);
            Tensor inputs = torch.arange(12, ScalarType.Float32).view(2, 6, 1);
            Assert.True(whole.Forward(inputs, null).ValuesEqual(settled.Forward(inputs, null)));
            Assert.Equal(whole.Trained.Select(parameter => parameter.Name), settled.Trained.Select(parameter => parameter.Name));
        }
    }

    private static TaskSpec Shape => new(new VectorInput(1, 6), new ClassOutput(2) { Count = 3 }) { Readout = "last:3" };

    private AdaptedModel Tiny(ScalarType type, string policy, long initSeed = 0) =>
        Bodies.Adapt(TinyGpt2.Configure(folder, TinyGpt2.Json()), Shape, policy, initSeed: initSeed, type: type);

    // The states at the positions, and the gradients of positions, norms and input.
    private static (Tensor States, Dictionary<string, Tensor> Gradients) Read(Backbone backbone, Tensor? mask, Tensor? asked, Tensor positions)
    {
        using var random = new Generator(1);
        Tensor vectors = torch.empty([2, 9, 24]).normal_(0, 1, random), weight = torch.empty([2, positions.size(1), 24]).normal_(0, 1, random);
        vectors.requires_grad = true;
        (string Name, Tensor Value)[] trained = [("in", vectors), .. backbone.NamedParameters().Where(pair => pair.Name.Contains("ln_", StringComparison.Ordinal) || pair.Name == "wpe.weight").Select(pair => (pair.Name, pair.Parameter.Value))];
        foreach ((_, Tensor value) in trained) (value.requires_grad, value.grad) = (true, null);
        Tensor hidden = backbone.Forward(new ModelInputs(InputsEmbeds: vectors, AttentionMask: mask, ReadPositions: asked)).LastHiddenState;
        if (asked is null) hidden = hidden.Rows(positions);
        (hidden * weight).sum().backward();
        return (hidden.detach(), trained.ToDictionary(one => one.Name, one => one.Value.grad!));
    }

    private sealed record Case(string Folder, TaskSpec Shape, Readout Readout, bool OwnTokens, Tensor Inputs, Tensor? Mask, Tensor Targets, IReadOnlyDictionary<string, Tensor> Start);

    private static Case Load(string fixture)
    {
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        string path = Repository.Fixture(fixture);
        if (fixture.StartsWith("fpt", StringComparison.Ordinal))
        {
            using var initial = new SafetensorsFile(Repository.Fixture(fixture, "initial.safetensors"));
            using AdaptedModel model = FptFixture.Model(fixture, expected);
            return new Case(path, model.Spec, model.Readout, false, FptFixture.Inputs(fixture, expected.Read("batch.0/x")), null, FptFixture.Targets(expected.Read("batch.0/y")), FptFixture.StartValues(initial));
        }
        // Padded sentences through the model's own token table; any answer makes a gradient.
        Tensor ids = expected.Read("right_padded/in.input_ids");
        var shape = new TaskSpec(new IdInput(80, (int)ids.size(1)), new ClassOutput(5));
        return new Case(path, shape, Readout.Parse("last"), true, ids, expected.Read("right_padded/in.attention_mask"), Tensors.From([0L, 3, 1], 3, 1), new Dictionary<string, Tensor>());
    }

    private static (Tensor Logits, Dictionary<string, Tensor> Gradients) Compute(Case one, ScalarType type, out int packed)
    {
        using AdaptedModel model = Bodies.Adapt(one.Folder, one.Shape, init: "pretrained", ownTokens: one.OwnTokens, readout: one.Readout.ToString(), type: type);
        model.LoadAdapter(one.Start, "start values", complete: false);
        packed = model.Frozen.Count(parameter => parameter.Parameter.HasValue && parameter.Parameter.Stored is { dtype: ScalarType.BFloat16, Dimensions: 1 });
        model.train();
        Tensor logits = model.Forward(one.Inputs, one.Mask);
        model.Head.Loss(logits, one.Targets).backward();
        return (logits.detach(), model.Trained.ToDictionary(parameter => parameter.Name, parameter => parameter.Parameter.Value.grad!));
    }

    private static double Cosine(Tensor[] left, Tensor[] right)
    {
        double Dot(Tensor[] a, Tensor[] b) => a.Zip(b).Sum(pair => (pair.First.to(ScalarType.Float64) * pair.Second.to(ScalarType.Float64)).sum().Number());
        return Dot(left, right) / Math.Sqrt(Dot(left, left) * Dot(right, right));
    }
}
