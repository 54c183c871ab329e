using System.Text.Json.Nodes;
using Permafrost.Cli.Bench.Peer;
using Permafrost.Formats.Safetensors;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Permafrost.Cli.Tests.Bench;

/// <summary>The peer that benchmarks compare with computes what the reference does: it meets the fixtures itself, in float32.</summary>
public sealed class PeerFixtureTests
{
    [Theory]
    [InlineData("gpt2_a", "ids")]
    [InlineData("gpt2_a", "full_length")]
    [InlineData("gpt2_a", "embeds")]
    [InlineData("gpt2_a", "one_token")]
    [InlineData("gpt2_b", "ids")]
    public void Hidden_states_logits_and_gradients_of_the_peer_are_the_references(string fixture, string name)
    {
        string folder = Repository.Fixture(fixture);
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        Dictionary<string, Tensor> values = Golden.Case(expected, name + "/");
        Assert.NotEmpty(values);
        Assert.DoesNotContain("in.attention_mask", values.Keys);  // nobody pads in a benchmark
        using var file = new SafetensorsFile(Repository.Fixture(fixture, "model.safetensors"));
        using Tensor table = file.Read(file.Entries.ContainsKey("wte.weight") ? "wte.weight" : "transformer.wte.weight");
        PeerFpt peer = Peer(folder, inputs: 1, classes: 1, last: 1, everything: true);
        peer.eval();

        Tensor vectors = values.TryGetValue("in.inputs_embeds", out Tensor? given) ? given : table[TensorIndex.Tensor(values["in.input_ids"])];
        vectors.requires_grad_(true);
        var states = new List<Tensor>();
        states.Add(peer.Body.Run(vectors, states: states));
        Tensor logits = states[^1].matmul(table.t());
        for (int i = 0; i < states.Count; i++) Golden.Forward($"{name} hidden_states.{i}", states[i], values[$"out.hidden_states.{i}"]);
        Golden.Forward($"{name} logits", logits, values["out.logits"]);
        if (!values.TryGetValue("in.labels", out Tensor? labels)) return;

        (long T, long V) = (logits.size(1), logits.size(2));
        Tensor loss = nn.functional.cross_entropy(logits.narrow(1, 0, T - 1).reshape(-1, V), labels.narrow(1, 1, T - 1).reshape(-1));
        loss.backward();
        Golden.Loss(name, loss.item<float>(), values["out.loss"].item<float>());
        double largest = values.Where(pair => pair.Key.StartsWith("grad.", StringComparison.Ordinal)).Max(pair => Golden.Largest(pair.Value));
        int compared = 0;
        foreach ((string parameter, Parameter weight) in peer.Body.named_parameters())
        {
            if (!values.TryGetValue($"grad.transformer.{parameter}", out Tensor? gradient)) continue;
            bool matrix = parameter.Contains(".c_", StringComparison.Ordinal) && gradient.dim() == 2;
            Golden.Gradient($"{name} {parameter}", matrix ? weight.grad!.t().contiguous() : weight.grad!, gradient, largest);
            compared++;
        }
        Assert.True(compared >= 2 * 5 + 1, $"only {compared} gradients were compared");
        Golden.Gradient($"{name} inputs", vectors.grad!, values["grad.in.inputs_embeds"], largest);
    }

    [Theory]
    [InlineData("clip")]
    [InlineData("noclip")]
    public void Twenty_steps_of_the_peer_are_the_references(string run)
    {
        string folder = Repository.Fixture("fpt_image");
        using var expected = new SafetensorsFile(Repository.Fixture("fpt_image", "expected.safetensors"));
        using var initial = new SafetensorsFile(Repository.Fixture("fpt_image", "initial.safetensors"));
        PeerFpt peer = Peer(folder, inputs: 16, classes: 10, last: 1, everything: false);
        peer.SetLayers(name => initial.Read(name.Replace("input_layer", "in_net.0", StringComparison.Ordinal).Replace("output_layer", "out_net.0", StringComparison.Ordinal)));
        peer.train();
        IReadOnlyList<Parameter> trained = peer.Trained;
        optim.Optimizer adam = optim.Adam(trained, lr: 1e-3);
        Dictionary<string, Tensor> frozen = peer.named_parameters().Where(pair => !pair.parameter.requires_grad).ToDictionary(pair => pair.name, pair => pair.parameter.clone());
        float[] losses = expected.Read($"{run}/loss").data<float>().ToArray(), norms = expected.Read($"{run}/grad_norm").data<float>().ToArray();
        Assert.Equal(20, losses.Length);

        for (int step = 0; step < losses.Length; step++)
        {
            // Patches of 4 x 4 of a 12 x 12 image, in rows.
            Tensor x = expected.Read($"batch.{step}/x").view(-1, 3, 4, 3, 4).permute(0, 1, 3, 2, 4).reshape(-1, 9, 16);
            (double loss, double norm) = peer.Step(adam, trained, x, expected.Read($"batch.{step}/y"), run == "clip" ? 1 : double.PositiveInfinity);
            double tolerance = step == 0 ? 1e-5 : 1e-4;
            Assert.InRange(loss / losses[step], 1 - tolerance, 1 + tolerance);
            Assert.InRange(norm / norms[step], 1 - tolerance, 1 + tolerance);
            if (step == 0) Compare("after1", 5e-6);
        }
        Compare("final", 2e-5);
        foreach ((string name, Parameter parameter) in peer.named_parameters())
            if (frozen.TryGetValue(name, out Tensor? before)) Assert.True(parameter.allclose(before, 0, 0), $"{name} has changed");

        void Compare(string moment, double tolerance)
        {
            foreach ((string name, Parameter parameter) in peer.named_parameters())
            {
                string stored = name.Replace("in_net.", "in_net.0.", StringComparison.Ordinal).Replace("out_net.", "out_net.0.", StringComparison.Ordinal);
                if (parameter.requires_grad) Golden.Close($"{moment} {name}", parameter, expected.Read($"{run}/{moment}.{stored}"), tolerance);
            }
        }
    }

    private static PeerFpt Peer(string folder, int inputs, int classes, int last, bool everything)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!.AsObject();
        var peer = new PeerFpt(PeerShape.Parse(config, dropout: 0, ScalarType.Float32), inputs, classes, last, everything);
        peer.Load(folder);
        return peer;
    }
}
