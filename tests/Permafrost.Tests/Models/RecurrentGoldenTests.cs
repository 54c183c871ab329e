using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>LSTMs against torch.nn.LSTM and the FPT code's own: states, cells and every gradient; on kernels inside a segment, and on the twin outside.</summary>
public class RecurrentGoldenTests
{
    [Theory]
    [InlineData("00_l3", 3, false, true)]
    [InlineData("01_l3_init", 3, false, true)]
    [InlineData("02_l1", 1, false, true)]
    [InlineData("03_l2_init_bi", 2, true, true)]
    [InlineData("00_l3", 3, false, false)]
    [InlineData("03_l2_init_bi", 2, true, false)]
    public void An_lstm_is_that_of_PyTorch(string name, int layers, bool bidirectional, bool inSegment)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture("lstm", "expected.safetensors"));
        Tensor first = expected.Read($"{name}/param.weight_ih_l0");
        using var stack = new LstmStack((int)first.size(1), (int)first.size(0) / 4, layers, bidirectional);
        int directions = bidirectional ? 2 : 1;
        Check(expected, $"lstm/{name}", name, stack, inSegment, ["h0", "c0"], inputs =>
        {
            Tensor x = inputs[0]!;
            var last = new List<(Tensor State, Tensor Cell)>();
            for (int layer = 0; layer < layers; layer++)
            {
                (Tensor, Tensor)[]? start = inputs[1] is not { } h0 ? null
                    : [.. Enumerable.Range(layer * directions, directions).Select(way => (One(h0, way), One(inputs[2]!, way)))];
                (x, (Tensor States, Tensor Cells)[] ways) = stack.Layer(layer, x, null, start);
                last.AddRange(ways.Select((way, i) => (Step(way.States, i == 1 ? 0 : -1), Step(way.Cells, i == 1 ? 0 : -1))));
            }
            return [x, Stack(last.Select(pair => pair.State)), Stack(last.Select(pair => pair.Cell))];
        });
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_layer_normalised_lstm_is_that_of_the_code(bool inSegment)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture("lnlstm", "expected.safetensors"));
        using var model = new LnLstmModel(HfConfig.Parse("""{"model_type": "lnlstm", "hidden_size": 12, "num_layers": 3}""", "here"));
        Check(expected, "lnlstm", "case", model, inSegment, ["h0.0", "h0.1", "h0.2", "c0.0", "c0.1", "c0.2"], inputs =>
        {
            Tensor x = inputs[0]!;
            var last = new List<(Tensor State, Tensor Cell)>();
            for (int layer = 0; layer < 3; layer++)
            {
                (x, Tensor cells) = model.Layer(layer, x, null, One(inputs[1 + layer]!, 0), One(inputs[4 + layer]!, 0));
                last.Add((Step(x, -1), Step(cells, -1)));
            }
            return [x, Stack(last.Select(pair => pair.State)), Stack(last.Select(pair => pair.Cell))];
        });
    }

    private static void Check(SafetensorsFile expected, string title, string name, Module model, bool inSegment, string[] starts, Func<Tensor?[], Tensor[]> body)
    {
        foreach ((string parameter, Parameter place) in model.NamedParameters())
        {
            place.Value = expected.Read($"{name}/param.{parameter}");
            place.Value.requires_grad = true;
        }
        Dictionary<string, Tensor> inputs = Golden.Case(expected, $"{name}/in.");
        Dictionary<string, Tensor> gradients = Golden.Case(expected, $"{name}/grad.");
        foreach ((string input, Tensor tensor) in inputs) tensor.requires_grad = gradients.ContainsKey($"in.{input}");
        Tensor?[] given = [inputs["x"], .. starts.Select(start => inputs.GetValueOrDefault(start))];

        Tensor[] outputs = inSegment ? Segment.Run(body, given) : body(given);

        Tensor loss = torch.zeros([]);
        foreach ((string output, Tensor actual) in new[] { "y", "hn", "cn" }.Zip(outputs))
        {
            Golden.Forward($"{title}/{output}", actual, expected.Read($"{name}/out.{output}"));
            loss += (actual * inputs[$"loss_weight.{output}"]).sum();
        }
        Golden.Loss($"{title}/loss", loss.Number(), expected.Read($"{name}/out.loss").Number());
        loss.backward();
        double largest = gradients.Values.Max(Golden.Largest);
        Dictionary<string, Parameter> parameters = model.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
        foreach ((string of, Tensor reference) in gradients)
        {
            Tensor? actual = of.StartsWith("in.", StringComparison.Ordinal) ? inputs[of[3..]].grad : parameters[of].Value.grad;
            Assert.True(actual is not null, $"{title}: no gradient of {of}");
            Golden.Gradient($"{title}/grad.{of}", actual, reference, largest);
        }
        Assert.Equal(parameters.Count, gradients.Keys.Count(key => !key.StartsWith("in.", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(3, 7, 5, false, false, false, false)]
    [InlineData(1, 1, 2, true, false, false, false)]
    [InlineData(3, 7, 5, true, true, true, false)]
    [InlineData(2, 5, 33, false, true, true, true)]
    [InlineData(4, 6, 16, true, true, false, true)]
    public void The_recurrence_is_its_twin(long B, long T, long H, bool reverse, bool masked, bool dropped, bool normed)
    {
        using var scope = torch.NewDisposeScope();
        using var random = new Generator(7);
        Tensor Some(params long[] shape) => torch.empty(shape).normal_(0, 0.7, random);
        Tensor[] values = [Some(B, T, 4 * H), Some(4 * H, H), Some(4 * H), Some(B, H), Some(B, H), Some(1, 4 * H), Some(1, 4 * H), Some(1, H), Some(1, H)];
        Tensor? mask = masked ? Some(B, T).gt(-0.3).to(ScalarType.Byte) : null, factors = dropped ? Some(B, T, H).gt(0).to(ScalarType.Float32) * 2 : null;
        Tensor weightOfStates = Some(B, T, H), weightOfCells = Some(B, T, H);

        (Tensor[] Outputs, Tensor[] Gradients) Run(bool twin)
        {
            Tensor[] leaves = [.. values.Select(value => value.detach().clone().requires_grad_(true)).Take(normed ? 9 : 5)];
            Tensor[] Body(Tensor?[] given)
            {
                var norms = normed ? new LstmNorms(given[5]!, given[6]!, given[7]!, given[8]!, 1e-6) : null;
                (Tensor states, Tensor cells) = given[0]!.Recur(new LstmWeights(given[1]!, given[2]!, CandidateLast: normed, norms), given[3], given[4], new LstmSweep(reverse, mask, factors));
                return [states, cells];
            }
            Tensor[] outputs = twin ? Body(leaves) : Segment.Run(Body, leaves);
            ((outputs[0] * weightOfStates).sum() + (outputs[1] * weightOfCells).sum()).backward();
            return (outputs, [.. leaves.Select(leaf => leaf.grad!)]);
        }
        (Tensor[] outputs, Tensor[] gradients) = Run(twin: false);
        (Tensor[] twins, Tensor[] twinGradients) = Run(twin: true);
        foreach ((Tensor actual, Tensor expected) in outputs.Zip(twins)) Golden.Forward("the output", actual, expected);
        double largest = twinGradients.Max(Golden.Largest);
        for (int i = 0; i < gradients.Length; i++) Golden.Gradient($"gradient {i}", gradients[i], twinGradients[i], largest);
        using (torch.no_grad())
        {
            // Without a gradient nothing is kept, and the numbers are the same.
            (Tensor states, Tensor cells) = values[0].Recur(
                new LstmWeights(values[1], values[2], CandidateLast: normed, normed ? new LstmNorms(values[5], values[6], values[7], values[8], 1e-6) : null), values[3], values[4], new LstmSweep(reverse, mask, factors));
            Assert.True(states.ValuesEqual(outputs[0]) && cells.ValuesEqual(outputs[1]));
        }
    }

    [Fact]
    public void A_row_gives_the_same_bits_among_others_and_behind_padding()
    {
        Assert.SkipWhen(KernelSet.Name == KernelSet.None, "libtorch's products depend on the other rows");
        using var scope = torch.NewDisposeScope();
        using var random = new Generator(3);
        foreach (string preset in new[] { "lstm-tiny", "lstm-star-tiny" })
        {
            using Backbone model = Bodies.Load(preset);
            Tensor vectors = torch.empty([5, 9, 128]).normal_(0, 1, random), mask = torch.ones([5, 9], ScalarType.Int64);
            mask[2].narrow(0, 0, 3).zero_();
            mask[2].narrow(0, 7, 2).zero_();
            Tensor positions = (mask.cumsum(1) - 1).clamp_min(0);
            using var noGrad = torch.no_grad();
            Tensor together = model.Forward(new ModelInputs(InputsEmbeds: vectors, AttentionMask: mask, PositionIds: positions)).LastHiddenState;
            Tensor alone = model.Forward(new ModelInputs(InputsEmbeds: vectors.narrow(0, 2, 1).narrow(1, 3, 4).contiguous())).LastHiddenState;
            Assert.True(alone.ValuesEqual(together.narrow(0, 2, 1).narrow(1, 3, 4)), preset);
        }
    }

    [Fact]
    public void Gains_start_as_the_code_draws_them_or_at_one()
    {
        using Backbone published = Bodies.Load("lnlstm"), fair = Bodies.Load("lstm-star-tiny");
        Tensor gain = published.NamedParameters().Single(pair => pair.Name == "params.0.ln_h2h.alpha").Parameter.Value;
        Assert.InRange(Golden.Largest(gain), 0.017, 1 / Math.Sqrt(3072));
        foreach ((string name, Parameter parameter) in fair.NamedParameters().Where(pair => pair.Name.Contains("ln_", StringComparison.Ordinal)))
            Assert.True(parameter.Value.ValuesEqual(torch.full(parameter.Shape, name.EndsWith("alpha", StringComparison.Ordinal) ? 1 : 0)), name);
    }

    [Theory]
    [InlineData("lstm", "\"proj_size\": 4", "proj_size")]
    [InlineData("lstm", "\"hidden_size\": 16, \"input_size\": 8", "input_size is 8")]
    [InlineData("lstm", "\"dropout\": 1", "dropout is 1")]
    [InlineData("lstm", "\"num_layers\": 0", "num_layers")]
    [InlineData("lnlstm", "\"bidirectional\": true", "bidirectional")]
    [InlineData("lnlstm", "\"norm_init\": \"zeros\"", "norm_init is 'zeros'")]
    [InlineData("lnlstm", "\"hidden_size\": 1", "hidden_size")]
    [InlineData("lnlstm", "\"layer_norm_eps\": 0", "layer_norm_eps")]
    [InlineData("attention-only", "\"hidden_size\": 100, \"num_attention_heads\": 3", "not a multiple of num_attention_heads")]
    [InlineData("identity", "\"hidden_size\": 0", "hidden_size")]
    public void Configurations_that_cannot_be_are_refused(string type, string keys, string expected) =>
        Refusal.Of(expected, () => ModelRegistry.CreateWithHead(HfConfig.Parse($$"""{"model_type": "{{type}}", {{keys}}}""", "test")));

    // Of (N, B, H) the one with a number.
    private static Tensor One(Tensor starts, int number) => Segment.Compose(inputs => inputs[0].select(0, number), starts);

    // (B, H) of (B, T, H).
    private static Tensor Step(Tensor states, long step) => Segment.Compose(inputs => inputs[0].select(1, step < 0 ? states.size(1) + step : step), states);

    private static Tensor Stack(IEnumerable<Tensor> parts) => Segment.Compose(inputs => torch.stack(inputs), [.. parts]);
}
