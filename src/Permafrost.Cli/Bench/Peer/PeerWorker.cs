using System.Diagnostics;
using System.Text.Json.Nodes;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using TorchSharp.Modules;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>The peer as a process of its own, under the same commands as <see cref="BenchWorker"/>: the same model in plain TorchSharp.</summary>
internal sealed class PeerWorker
{
    private const double Dropout = 0.1;

    private PeerModel? model;
    private IReadOnlyList<Parameter> trained = [];
    private torch.optim.Optimizer? optimizer;
    private Device device = torch.CPU;
    private Func<double>? step;

    public static void Serve()
    {
        WaitPolicy.Restore();
        var worker = new PeerWorker();
        WorkerLoop.Serve(worker.Answer);
    }

    internal JsonObject Answer(JsonObject command) => (string?)command["cmd"] switch
    {
        "setup" => Setup(command),
        "run" => Run((int?)command["steps"] ?? 1),
        "memory" => new JsonObject { ["peak_bytes"] = ProcessMemory.Peak, ["current_bytes"] = ProcessMemory.Resident },
        "agree" => Agree((string)command["file"]!),
        "hello" => new JsonObject { ["torch"] = torch.__version__ },
        _ => new JsonObject { ["error"] = $"unknown command {command["cmd"]}" },
    };

    private JsonObject Setup(JsonObject command)
    {
        int Int(string key, int fallback) => (int?)command[key] ?? fallback;
        (model, optimizer, trained) = (null, null, []);
        torch.set_num_threads(Int("threads", Environment.ProcessorCount));
        device = torch.device((string?)command["device"] ?? "cpu");
        string name = (string?)command["case"] ?? "fpt-step";
        (int size, int tokens, int inputs, long seed) = (Int("batch", 16), Int("tokens", 64), Int("input_dim", 48), Int("seed", 0));
        // Bodies that read ids have as many classes as a text task.
        bool ids = (string?)command["family"] == "bert";
        int classes = ids ? 12 : 10;
        ScalarType type = (string?)command["dtype"] switch
        {
            "bfloat16" => ScalarType.BFloat16,
            "float32" => ScalarType.Float32,
            var other => throw new FormatException($"dtype is '{other}', not float32 or bfloat16"),
        };
        var facts = new JsonObject { ["ok"] = true, ["torch"] = torch.__version__, ["threads"] = torch.get_num_threads() };
        if (name == "products")
        {
            ProductShape products = ProductShape.Parse(command);
            var work = new PeerProducts(products, type, device);
            step = work.Step;
            facts["flops"] = products.Flops;
            return facts;
        }
        string? folder = (string?)command["folder"];
        torch.random.manual_seed(seed);

        void Make()
        {
            var made = PeerModel.Make(PeerShape.Parse(command, Dropout, type), inputs, classes, everything: name == "full-step");
            if (folder is null) made.Draw();
            else made.Load(folder);
            made.to(device);
            bool training = !IsForward(name) && name != "predict";
            made.train(training);
            (model, trained) = (made, made.Trained);
            optimizer = training ? torch.optim.Adam(trained, lr: 1e-3) : null;
        }

        if (name == "load")
        {
            step = () =>
            {
                Make();
                return 0;
            };
            return facts;
        }
        Make();
        float[] numbers = [.. Enumerable.Range(0, size * tokens * inputs).Select(_ => (float)Random.Shared.NextDouble())];
        Tensor x = (ids ? torch.randint(0, (int)command["vocab"]!, [size, tokens]) : torch.randn([size, tokens, inputs])).to(device);
        Tensor y = torch.randint(0, classes, [size, 1]).to(device);
        step = name switch
        {
            _ when name == "full-step" || name.StartsWith("fpt-step", StringComparison.Ordinal) => () => model!.Step(optimizer!, trained, x, y, 1).Loss,
            _ when IsForward(name) => () => Loss(x, y),
            "predict" => () => Predict(numbers, [size, tokens, inputs]),
            _ => throw new FormatException($"case is '{name}', which does not exist"),
        };
        (facts["parameters"], facts["trained"]) = (model!.Elements, model.TrainedElements);
        return facts;
    }

    private static bool IsForward(string name) => name.StartsWith("forward", StringComparison.Ordinal);

    private JsonObject Run(int steps)
    {
        if (step is null) throw new InvalidOperationException("run before setup");
        var seconds = new JsonArray();
        double loss = 0;
        for (int i = 0; i < steps; i++)
        {
            Synchronize();
            long start = Stopwatch.GetTimestamp();
            loss = step();
            Synchronize();
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return new JsonObject { ["seconds"] = seconds, ["loss"] = loss };
    }

    private void Synchronize()
    {
        if (device.type == DeviceType.CUDA) torch.cuda.synchronize(device);
    }

    private double Loss(Tensor x, Tensor y)
    {
        using IDisposable noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        return model!.Loss(x, y).item<float>();
    }

    // From numbers in memory to probabilities in memory.
    private double Predict(float[] numbers, long[] shape)
    {
        using IDisposable noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        Tensor logits = model!.Logits(torch.tensor(numbers, shape).to(device));
        return logits.softmax(-1).cpu().data<float>().ToArray()[0];
    }

    // Runs the other side's new layers and input with this side's body, and compares the logits: the root mean square of the difference over that of the other's.
    private JsonObject Agree(string path)
    {
        if (model is null) throw new InvalidOperationException("agree before setup");
        using IDisposable noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        using var file = new SafetensorsFile(path);
        model.SetLayers(file.Read);
        bool training = model.training;
        model.eval();
        Tensor theirs = file.Read("logits"), mine = model.Logits(file.Read("inputs").to(device)).to(ScalarType.Float32, torch.CPU);
        model.train(training);
        double difference = (mine - theirs).square().mean().sqrt().item<float>() / theirs.square().mean().sqrt().item<float>();
        return new JsonObject { ["difference"] = difference };
    }
}
