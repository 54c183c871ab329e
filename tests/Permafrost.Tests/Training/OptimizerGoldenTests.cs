using System.Text.Json.Nodes;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Training.Optimizers;

namespace Permafrost.Tests.Training;

/// <summary>Ten steps of each optimiser against torch.optim 1.13: the value after every step, and the state at the end.</summary>
public class OptimizerGoldenTests
{
    private static readonly (string Fixture, string[] Cases)[] All =
    [
        ("optim", ["adam", "adam_l2", "adam_amsgrad", "adamw", "adamw_b", "sgd", "sgd_momentum", "sgd_nesterov",
                   "adafactor_relative", "adafactor_relative_warmup", "adafactor_fixed_lr", "adafactor_fixed_lr_scaled", "adafactor_beta1_decay"]),
        ("optim_3d", ["adam", "adamw", "adafactor_relative", "adafactor_fixed_lr"]),
    ];

    public static TheoryData<string, string> Cases()
    {
        var data = new TheoryData<string, string>();
        foreach ((string fixture, string[] cases) in All) foreach (string name in cases) data.Add(fixture, name);
        return data;
    }

    public static TheoryData<string, string> Clippings()
    {
        var data = new TheoryData<string, string>();
        foreach ((string fixture, _) in All) foreach (string name in new[] { "l2_1", "l2_big", "linf_half", "value_0.7" }) data.Add(fixture, name);
        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Values_after_every_step_and_the_final_state_are_those_of_PyTorch(string fixture, string name)
    {
        using var scope = torch.NewDisposeScope();
        using var run = new Run(fixture, name);
        for (int step = 0; step < run.Steps; step++)
        {
            run.Step(step);
            foreach ((string parameter, Tensor value) in run.Parameters) run.CheckValue(step, parameter, value);
        }

        (IReadOnlyDictionary<string, Tensor> state, IReadOnlyDictionary<string, long> steps) = run.Optimizer.State();
        Dictionary<string, Tensor> expected = Golden.Case(run.Expected, $"{name}/state.");
        Assert.Equal(expected.Keys.Order(StringComparer.Ordinal), state.Keys.Order(StringComparer.Ordinal));
        // expected.json: states within 1e-4 of the largest entry.
        foreach ((string key, Tensor reference) in expected) Golden.Close($"{fixture}/{name}/state.{key}", state[key], reference, 1e-4 * Golden.Largest(reference));
        Assert.All(run.Parameters, parameter => Assert.Equal(run.Steps, steps[parameter.Name]));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_restored_optimiser_goes_on_bit_for_bit(string fixture, string name)
    {
        using var scope = torch.NewDisposeScope();
        using var whole = new Run(fixture, name);
        using var first = new Run(fixture, name);
        for (int step = 0; step < whole.Steps; step++) whole.Step(step);
        for (int step = 0; step < 4; step++) first.Step(step);

        using var second = new Run(fixture, name);
        foreach ((string parameter, Tensor value) in second.Parameters) using (torch.no_grad()) value.copy_(first.Parameters.Single(p => p.Name == parameter).Value);
        (IReadOnlyDictionary<string, Tensor> state, IReadOnlyDictionary<string, long> steps) = first.Optimizer.State();
        second.Optimizer.Restore(state, steps);
        first.Optimizer.Dispose();  // the restored one has copies of its own
        for (int step = 4; step < whole.Steps; step++) second.Step(step);

        foreach ((string parameter, Tensor value) in whole.Parameters)
            Assert.Equal(value.ToBytes(), second.Parameters.Single(p => p.Name == parameter).Value.ToBytes());
        (IReadOnlyDictionary<string, Tensor> expected, _) = whole.Optimizer.State();
        (IReadOnlyDictionary<string, Tensor> actual, _) = second.Optimizer.State();
        foreach ((string key, Tensor value) in expected) Assert.Equal(value.ToBytes(), actual[key].ToBytes());
    }

    [Theory]
    [MemberData(nameof(Clippings))]
    public void Clipped_gradients_are_those_of_PyTorch(string fixture, string name)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        var parameters = new Dictionary<string, Tensor>();
        foreach ((string parameter, Tensor gradient) in Golden.Case(expected, "clip/in."))
        {
            Tensor value = torch.zeros(gradient.shape);
            value.requires_grad = true;
            value.grad = gradient;
            parameters[parameter] = value;
        }

        double norm = 0;
        if (name == "value_0.7") GradientClipping.ClipValue(parameters.Values, 0.7);
        else
        {
            JsonNode facts = JsonNode.Parse(File.ReadAllText(Repository.Fixture(fixture, "expected.json")))!["clip"]![$"clip/{name}"]!;
            double p = facts["norm_type"]!.GetValueKind() == System.Text.Json.JsonValueKind.String ? double.PositiveInfinity : (double)facts["norm_type"]!;
            norm = GradientClipping.ClipNorm(parameters.Values, (double)facts["max_norm"]!, p);
        }

        foreach ((string key, Tensor reference) in Golden.Case(expected, $"clip/{name}/"))
        {
            if (key == "total_norm") Assert.Equal(reference.Number(), norm, 1e-5 * reference.Number());
            else Golden.Close($"{fixture}/clip/{name}/{key}", parameters[key].grad!, reference, 1e-6 * Golden.Largest(reference));
        }
    }

    // One optimiser of one case with its start values.
    private sealed class Run : IDisposable
    {
        private readonly string label;
        private readonly double rate;

        public Run(string fixture, string name)
        {
            label = name;
            Expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
            JsonNode facts = JsonNode.Parse(File.ReadAllText(Repository.Fixture(fixture, "expected.json")))!;
            Steps = (int)facts["steps"]!;
            JsonNode arguments = facts["cases"]![name]!["arguments"]!;
            Parameters = [.. facts["shapes"]!.AsObject().Select(pair => (pair.Key, Expected.Read($"start.{pair.Key}")))];
            foreach ((_, Tensor value) in Parameters) value.requires_grad = true;
            ParameterGroup[] groups = [new(Parameters)];
            rate = (double?)arguments["lr"] ?? double.NaN;  // NaN where the optimiser has a rate of its own
            double Number(string key, double fallback) => (double?)arguments[key] ?? fallback;
            bool Flag(string key) => (bool?)arguments[key] ?? false;
            string kind = (string)facts["cases"]![name]!["optimizer"]!;
            Optimizer = kind == "transformers.optimization.Adafactor"
                ? new Adafactor(groups, new AdafactorSettings
                {
                    RelativeStep = Flag("relative_step"),
                    ScaleParameter = Flag("scale_parameter"),
                    WarmupInit = Flag("warmup_init"),
                    Beta1 = (double?)arguments["beta1"],
                    WeightDecay = Number("weight_decay", 0),
                })
                : kind == "torch.optim.SGD"
                ? new Sgd(groups, Number("momentum", 0), Flag("nesterov"), Number("weight_decay", 0))
                : new Adam(groups, (double?)arguments["betas"]?[0] ?? 0.9, (double?)arguments["betas"]?[1] ?? 0.999, Number("eps", 1e-8), Number("weight_decay", 0),
                    decoupled: name.StartsWith("adamw", StringComparison.Ordinal), Flag("amsgrad"));
        }

        public SafetensorsFile Expected { get; }

        public int Steps { get; }

        public IReadOnlyList<(string Name, Tensor Value)> Parameters { get; }

        public Optimizer Optimizer { get; }

        public void Step(int step)
        {
            foreach ((string parameter, Tensor value) in Parameters) value.grad = Expected.Read($"grad.{step}.{parameter}");
            Optimizer.Step(rate);
            Optimizer.ZeroGrad();
        }

        public void CheckValue(int step, string parameter, Tensor value)
        {
            Tensor reference = Expected.Read($"{label}/{step}.{parameter}");
            Golden.Close($"{label}/{step}.{parameter}", value, reference, 1e-5 * Golden.Largest(reference) + 1e-6);
        }

        public void Dispose()
        {
            Optimizer.Dispose();
            Expected.Dispose();
        }
    }
}
