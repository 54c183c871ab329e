using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Torch;
using Permafrost.Torch.Optimizers;
using Permafrost.Training;
using Permafrost.Tuning;

namespace Permafrost.Cli.Bench;

/// <summary>
/// Our side of a benchmark as a process of its own, speaking the same JSON lines as bench/peer/peer.py, so that both are measured alike, memory
/// included, and can take turns.
/// </summary>
internal sealed class BenchWorker : IDisposable
{
    private TunedModel? model;
    private Adam? adam;
    private Batch? batch;
    private bool training;

    public static void Serve()
    {
        using var worker = new BenchWorker();
        while (Console.In.ReadLine() is { } line)
        {
            if (line.Length == 0) continue;
            JsonObject answer;
            bool quit = false;
            try
            {
                JsonObject command = JsonNode.Parse(line)!.AsObject();
                quit = (string?)command["cmd"] == "quit";
                answer = worker.Answer(command);
            }
            catch (Exception error) when (error is PermafrostException or TorchException or JsonException or InvalidOperationException)
            {
                answer = new JsonObject { ["error"] = error.Message };
            }
            Console.Out.WriteLine(answer.ToJsonString());
            Console.Out.Flush();
            if (quit) return;
        }
    }

    public void Dispose()
    {
        adam?.Dispose();
        model?.Dispose();
    }

    private JsonObject Answer(JsonObject command)
    {
        int Int(string key, int fallback) => (int?)command[key] ?? fallback;
        switch ((string?)command["cmd"])
        {
            case "setup":
                Engine.Threads = Int("threads", Environment.ProcessorCount);
                return Setup((string?)command["case"] ?? "fpt-step", Int("batch", 16), Int("tokens", 64), Int("input_dim", 48), Int("classes", 10), (double?)command["dropout"] ?? 0.1, Int("seed", 0), (string?)command["frozen_dtype"] ?? "auto");
            case "run":
                var seconds = new JsonArray();
                double loss = 0;
                for (int i = 0; i < Int("steps", 1); i++)
                {
                    long start = Stopwatch.GetTimestamp();
                    loss = Step();
                    seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
                }
                return new JsonObject { ["seconds"] = seconds, ["loss"] = loss };
            case "memory":
                return new JsonObject { ["peak_bytes"] = EnvironmentInfo.PeakMemoryBytes, ["current_bytes"] = EnvironmentInfo.ResidentMemoryBytes };
            case "door":
                return new JsonObject { ["nanoseconds"] = DoorNanoseconds() };
            case "quit":
                return new JsonObject { ["ok"] = true };
            default:
                return new JsonObject { ["error"] = $"unknown command {command["cmd"]}" };
        }
    }

    // GPT-2 base under policy fpt, on random vectors: the shape of one training step, whatever the weights.
    private JsonObject Setup(string name, int size, int tokens, int inputs, int classes, double dropout, int seed, string frozenType)
    {
        Dispose();
        training = name != "forward";
        var shape = new TaskShape { VectorSize = inputs, SequenceLength = tokens, Classes = classes };
        DType frozen = frozenType == "float32" || !Kernels.MultiplyBFloat16 ? DType.Float32 : DType.BFloat16;
        var policy = Policy.Parse(name == "full-step" ? "*" : "fpt");
        Backbone backbone = BackboneSource.Resolve("gpt2").Load("random", seed, (body, parameter, value) => TunedModel.Settle(body, parameter, value, policy, ownTokens: false, frozen, Device.Cpu));
        model = new TunedModel(backbone, shape, new Readout(ReadoutKind.Last), policy, ownTokens: false, dropout, seed, Device.Cpu, frozen);
        model.Train(training);
        adam = new Adam([new ParameterGroup([.. model.Trained.Select(p => (p.Name, p.Parameter.Value))])]);
        using var random = new RandomState((ulong)seed);
        batch = new Batch(
            TensorScope.Detach(Tensor.Empty([size, tokens, inputs]).NormalInPlace(0, 1, random)), TensorScope.Detach(Tensor.Empty([size, 1], DType.Int64).RandomInPlace(0, classes, random)));
        RandomState.Seed((ulong)seed);
        (long total, long trained, _) = model.Counts;
        return new JsonObject { ["ok"] = true, ["torch"] = Engine.Version, ["blas"] = Engine.Blas, ["threads"] = Engine.Threads, ["parameters"] = total, ["trained"] = trained };
    }

    private double Step()
    {
        if (model is null || adam is null || batch is null) throw new InvalidOperationException("run before setup");
        if (training) return TrainStep.Run(model, adam, [batch], 1e-3, 1).Loss;
        using var noGrad = new NoGrad();
        using var scope = new TensorScope();
        return model.Loss(model.Forward(batch.Inputs, null), batch.Targets).ToDouble();
    }

    // One add of two numbers through the door: what a call costs when there is next to nothing to compute. Median of many short rounds.
    private static double DoorNanoseconds()
    {
        const int Calls = 2000;
        using var noGrad = new NoGrad();
        using var outer = new TensorScope();
        Tensor a = Tensor.Scalar(1f);
        Tensor b = Tensor.Scalar(2f);
        var rounds = new List<double>();
        for (int round = 0; round < 60; round++)
        {
            using var scope = new TensorScope();
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < Calls; i++) _ = a + b;
            rounds.Add(Stopwatch.GetElapsedTime(start).TotalNanoseconds / Calls);
        }
        return rounds.Order().ElementAt(rounds.Count / 2);
    }
}
