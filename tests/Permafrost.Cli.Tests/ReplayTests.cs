using System.Text.Json.Nodes;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>Twenty training steps of the paper's own code (kzl/universal-computation), replayed through files and flags alone.</summary>
public class ReplayTests
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
        using var replay = new Replay(fixture, run);
        CliResult result = Cli.Run(["finetune", .. replay.Flags(), "--json"]).Succeeded();
        replay.Check();
        Assert.True((bool)result.Json["frozen_unchanged"]!);
        Assert.True(JsonNode.DeepEquals(result.Json, RunFiles.Json(replay.Folder, "results.json")), "--json prints what results.json holds");
    }

    [Fact]
    public void Flags_may_be_written_with_underscores()
    {
        using var replay = new Replay("fpt_bitxor", "clip");
        string[] flags = [.. replay.Flags().Select(flag => flag.StartsWith("--", StringComparison.Ordinal) ? "--" + flag[2..].Replace('-', '_') : flag)];
        Assert.Contains("--learning_rate", flags);
        Cli.Run(["finetune", .. flags]).Succeeded();
        replay.Check();
    }

    [Fact]
    public void Flags_may_be_written_with_an_equals_sign()
    {
        using var replay = new Replay("fpt_tokens", "noclip");
        string[] flags = replay.Flags();
        var joined = new List<string>();
        for (int i = 0; i < flags.Length; i++)
        {
            if (i + 1 < flags.Length && !flags[i + 1].StartsWith("--", StringComparison.Ordinal)) joined.Add($"{flags[i].Replace('-', '_').Replace("__", "--", StringComparison.Ordinal)}={flags[++i]}");
            else joined.Add(flags[i]);
        }
        Cli.Run(["finetune", .. joined]).Succeeded();
        replay.Check();
    }

    [Fact]
    public void A_YAML_file_says_the_same_as_flags()
    {
        using var replay = new Replay("fpt_image", "clip");
        var yaml = new List<string> { "# as flags" };
        string[] flags = replay.Flags();
        for (int i = 0; i < flags.Length; i++)
        {
            if (flags[i] == "--no-shuffle") yaml.Add("shuffle: false");
            else yaml.Add($"{flags[i][2..].Replace('-', '_')}: {flags[++i]}");
        }
        Cli.Run("finetune", "--config", replay.Scratch.Write("run.yaml", string.Join('\n', yaml))).Succeeded();
        replay.Check();
    }

    [Fact]
    public void Flags_win_over_set_and_set_wins_over_the_file()
    {
        using var replay = new Replay("fpt_bitxor", "noclip");
        string file = replay.Scratch.Write("run.yaml", "learning_rate: 7\nmax_grad_norm: 1e-3\nlogging_steps: 5\n");
        string later = replay.Scratch.Write("later.yaml", "max_grad_norm: 0.5\n");
        string[] flags = [.. replay.Flags().Where(flag => flag is not ("--max-grad-norm" or "0"))];
        Assert.Contains("--dropout", flags);
        flags[Array.IndexOf(flags, "--dropout")] = "--dropout=0";
        Cli.Run(["finetune", "--config", file, "--config", later, "--set", "max_grad_norm=0", "--set", "learning_rate=9", .. flags]).Succeeded();
        replay.Check();
    }

    [Fact]
    public void Rows_of_the_test_split_are_scored_after_the_last_step()
    {
        using var replay = new Replay("fpt_bitxor", "clip");
        Cli.Run(["finetune", .. replay.Flags()]).Succeeded();
        using var tensors = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture("fpt_bitxor", "expected.safetensors"));
        JsonNode test = RunFiles.Json(replay.Folder, "results.json")["metrics"]!["test"]!;
        Assert.Equal(8, (long)test["count"]!);
        Assert.Equal(expected.Read("clip/test_loss").Number(), (double)test["loss"]!, 1e-4);
        float[] reference = expected.Read("clip/test_out").reshape(8, 8, 2).softmax(-1).ToArray<float>();
        JsonObject[] lines = RunFiles.JsonLines(Path.Combine(replay.Folder, "predictions.jsonl"));
        float[] written = [.. lines.SelectMany(line => line["probabilities"]!.AsArray().SelectMany(answer => answer!.AsArray().Select(p => (float)p!)))];
        Assert.Equal(reference.Length, written.Length);
        for (int i = 0; i < written.Length; i++) Assert.Equal(reference[i], written[i], 1e-4f);
        long[] targets = [.. lines.SelectMany(line => line["target"]!.AsArray().Select(target => (long)target!))];
        Assert.Equal(expected.Read("test/y").ToArray<long>(), targets);
    }

    /// <summary>A fixture as files and flags of ours.</summary>
    private sealed class Replay : IDisposable
    {
        private const int Steps = 20;
        private readonly string fixture;
        private readonly string run;
        private readonly long batchSize;

        public Replay(string fixture, string run)
        {
            (this.fixture, this.run) = (fixture, run);
            using var tensors = torch.NewDisposeScope();
            using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
            using var initial = new SafetensorsFile(Repository.Fixture(fixture, "initial.safetensors"));
            Tensor[] inputs = [.. Enumerable.Range(0, Steps).Select(step => Inputs(expected.Read($"batch.{step}/x")))];
            Tensor[] targets = [.. Enumerable.Range(0, Steps).Select(step => expected.Read($"batch.{step}/y"))];
            batchSize = inputs[0].size(0);
            TensorFile.Write(Scratch["data.safetensors"],
                ("inputs", torch.cat(inputs, 0)), ("targets", torch.cat(targets, 0)), ("test.inputs", Inputs(expected.Read("test/x"))), ("test.targets", expected.Read("test/y")));
            TensorFile.Write(Scratch["start.safetensors"], initial.Entries.Keys.Select(name => (OurName(name), initial.Read(name))));
        }

        public Scratch Scratch { get; } = new();

        public string Folder => Scratch["run"];

        public string[] Flags() =>
        [
            "--task", "tensors", "--data", Scratch["data.safetensors"], "--backbone", Repository.Fixture(fixture), "--init-adapter", Scratch["start.safetensors"],
            "--no-shuffle", "--per-device-train-batch-size", batchSize.ToString(), "--max-steps", Steps.ToString(),
            "--readout", fixture == "fpt_bitxor" ? "last:4" : "last", "--num-classes", fixture == "fpt_bitxor" ? "2" : "10",
            "--logging-steps", "1", "--frozen-dtype", "float32", "--dropout", "0", "--max-grad-norm", run == "clip" ? "1" : "0", "--learning-rate", "1e-3", "--output-dir", Folder,
        ];

        /// <summary>Every loss, every gradient norm, every parameter at the end.</summary>
        public void Check()
        {
            using var tensors = torch.NewDisposeScope();
            using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
            CheckCurve("train/loss", expected.Read($"{run}/loss").ToArray<float>(), step => step == 0 ? 1e-5 : 1e-4);
            CheckCurve("train/grad_norm", expected.Read($"{run}/grad_norm").ToArray<float>(), _ => 1e-4);
            Dictionary<string, Tensor> references = Golden.Case(expected, $"{run}/final.").ToDictionary(pair => OurName(pair.Key), pair => pair.Value);
            Dictionary<string, Tensor> adapter = TensorFile.Read(Path.Combine(Folder, "adapter", "adapter_model.safetensors"));
            Assert.Equal(references.Keys.Order(StringComparer.Ordinal), adapter.Keys.Order(StringComparer.Ordinal));
            foreach ((string name, Tensor reference) in references) Golden.Close($"final {name}", adapter[name], reference, 2e-5);
            Assert.True((bool)RunFiles.Json(Folder, "results.json")["frozen_unchanged"]!);
        }

        public void Dispose() => Scratch.Dispose();

        private void CheckCurve(string key, float[] reference, Func<int, double> relative)
        {
            double[] written = RunFiles.Metric(Folder, key);
            Assert.Equal(reference.Length, written.Length);
            for (int step = 0; step < reference.Length; step++)
                Assert.True(Math.Abs(written[step] - reference[step]) <= relative(step) * reference[step], $"{key} of step {step}: {written[step]:G9}, expected {reference[step]:G9}");
        }

        private Tensor Inputs(Tensor x) => fixture switch
        {
            // (B, 2 patterns, 8 bits) in patches of 2 bits: 8 tokens.
            "fpt_bitxor" => x.reshape(x.size(0), 8, 2),
            // (B, 1, 12, 12) in patches of 4x4, row by row: 9 tokens of 16.
            "fpt_image" => x.reshape(x.size(0), 3, 4, 3, 4).permute(0, 1, 3, 2, 4).reshape(x.size(0), 9, 16),
            _ => x,
        };

        private static string OurName(string name) => name
            .Replace("sequence_model.", "", StringComparison.Ordinal).Replace("in_net.0.", "input_layer.", StringComparison.Ordinal).Replace("in_net.", "input_layer.", StringComparison.Ordinal)
            .Replace("out_net.0.", "output_layer.", StringComparison.Ordinal);
    }
}
