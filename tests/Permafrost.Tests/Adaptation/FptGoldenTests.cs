using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Models;
using Permafrost.Training.Optimizers;

namespace Permafrost.Tests.Adaptation;

/// <summary>Twenty training steps of the reference implementation (kzl/universal-computation): every loss, gradient norm and parameter.</summary>
public class FptGoldenTests
{
    [Theory]
    [InlineData("fpt_bitxor", "clip")]
    [InlineData("fpt_bitxor", "noclip")]
    [InlineData("fpt_image", "clip")]
    [InlineData("fpt_image", "noclip")]
    [InlineData("fpt_tokens", "clip")]
    [InlineData("fpt_tokens", "noclip")]
    public void Trajectory_is_that_of_the_reference_implementation(string fixture, string run)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        using var initial = new SafetensorsFile(Repository.Fixture(fixture, "initial.safetensors"));
        JsonNode facts = JsonNode.Parse(File.ReadAllText(Repository.Fixture(fixture, "expected.json")))!;
        using AdaptedModel model = FptFixture.Model(fixture, expected);
        model.LoadAdapter(FptFixture.StartValues(initial), fixture, complete: false);
        string frozen = model.FrozenSha256();

        float[] losses = expected.Read($"{run}/loss").ToArray<float>();
        float[] norms = expected.Read($"{run}/grad_norm").ToArray<float>();
        using var adam = new Adam([new ParameterGroup([.. model.Trained.Select(p => (p.Name, p.Parameter.Value))])]);
        model.train();
        for (int step = 0; step < losses.Length; step++)
        {
            using var stepScope = torch.NewDisposeScope();
            Tensor logits = model.Forward(FptFixture.Inputs(fixture, expected.Read($"batch.{step}/x")), null);
            if (step == 0) Golden.Forward("initial_out", logits.detach().reshape(expected.Read("initial_out").shape), expected.Read("initial_out"));
            Tensor loss = model.Head.Loss(logits, FptFixture.Targets(expected.Read($"batch.{step}/y")));
            Golden.Close($"loss {step}", loss.detach(), Tensors.Scalar(losses[step]), losses[step] * (step == 0 ? 1e-5 : 1e-4));
            loss.backward();
            if (step == 0 && run == "noclip") CheckGradients(model, expected);
            double norm = GradientClipping.ClipNorm(model.Trained.Select(p => p.Parameter.Value), run == "clip" ? 1 : double.PositiveInfinity);
            Assert.True(Math.Abs(norm - norms[step]) <= 1e-4 * norms[step], $"gradient norm {step}: {norm}, expected {norms[step]}");
            adam.Step(1e-3);
            adam.ZeroGrad();
            if (step == 0) CheckParameters(model, expected, $"{run}/after1.", 5e-6);
        }
        CheckParameters(model, expected, $"{run}/final.", 2e-5);
        Assert.Equal(frozen, model.FrozenSha256());

        model.eval();
        using var noGrad = torch.no_grad();
        Tensor test = model.Forward(FptFixture.Inputs(fixture, expected.Read("test/x")), null);
        Tensor reference = expected.Read($"{run}/test_out");
        Golden.Close("test_out", test.reshape(reference.shape), reference, 1e-4 * Golden.Largest(reference));
        Golden.Close("test_loss", model.Head.Loss(test, FptFixture.Targets(expected.Read("test/y"))), expected.Read($"{run}/test_loss"), 1e-4);

        // What trains is what the reference trains.
        string[] trained = [.. facts["trainable"]!.AsArray().Select(name => FptFixture.OurName((string)name!)).Order(StringComparer.Ordinal)];
        Assert.Equal(trained, model.Trained.Select(p => p.Name).Order(StringComparer.Ordinal));
    }

    private static void CheckGradients(AdaptedModel model, SafetensorsFile expected)
    {
        Dictionary<string, Tensor> gradients = Golden.Case(expected, "noclip/grad0.");
        double largest = gradients.Values.Max(Golden.Largest);
        foreach ((string name, Tensor reference) in gradients) Golden.Gradient($"grad0.{name}", Find(model, name).grad!, reference, largest);
    }

    private static void CheckParameters(AdaptedModel model, SafetensorsFile expected, string prefix, double tolerance)
    {
        Dictionary<string, Tensor> references = Golden.Case(expected, prefix);
        Assert.Equal(model.Trained.Count(), references.Count);
        foreach ((string name, Tensor reference) in references) Golden.Close(prefix + name, Find(model, name), reference, tolerance);
    }

    private static Tensor Find(AdaptedModel model, string reference) => model.Parameters.Single(p => p.Name == FptFixture.OurName(reference)).Parameter.Value;
}

/// <summary>The fpt_* fixtures in our terms.</summary>
internal static class FptFixture
{
    public static string OurName(string name) => name
        .Replace("sequence_model.", "", StringComparison.Ordinal).Replace("in_net.0.", "input_layer.", StringComparison.Ordinal).Replace("in_net.", "input_layer.", StringComparison.Ordinal)
        .Replace("out_net.0.", "output_layer.", StringComparison.Ordinal);

    public static Dictionary<string, Tensor> StartValues(SafetensorsFile initial) => initial.Entries.Keys.ToDictionary(OurName, initial.Read);

    public static AdaptedModel Model(string fixture, SafetensorsFile expected)
    {
        Tensor inputs = Inputs(fixture, expected.Read("batch.0/x"));
        Tensor targets = Targets(expected.Read("batch.0/y"));
        InputSpec input = inputs.Dimensions == 3 ? new VectorInput((int)inputs.size(2), (int)inputs.size(1)) : new IdInput(15, (int)inputs.size(1));
        var spec = new TaskSpec(input, new ClassOutput(fixture == "fpt_bitxor" ? 2 : 10) { Count = (int)targets.size(1) });
        return Bodies.Adapt(Repository.Fixture(fixture), spec, init: "pretrained", readout: ReadoutOf(fixture));
    }

    public static string ReadoutOf(string fixture) => fixture == "fpt_bitxor" ? "last:4" : "last";

    public static Tensor Inputs(string fixture, Tensor x) => fixture switch
    {
        // (B, 2 patterns, 8 bits) in patches of 2 bits: 8 tokens.
        "fpt_bitxor" => x.reshape(x.size(0), 8, 2),
        // (B, 1, 12, 12) in patches of 4x4, row by row: 9 tokens of 16.
        "fpt_image" => x.reshape(x.size(0), 3, 4, 3, 4).permute(0, 1, 3, 2, 4).reshape(x.size(0), 9, 16),
        _ => x,
    };

    public static Tensor Targets(Tensor y) => y.Dimensions == 1 ? y.unsqueeze(1) : y;
}
