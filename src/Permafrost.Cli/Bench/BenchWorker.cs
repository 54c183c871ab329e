using System.Diagnostics;
using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Training;
using Permafrost.Training.Optimizers;

namespace Permafrost.Cli.Bench;

/// <summary>
/// Our side of a benchmark as a process of its own, under the same commands as the peer (<see cref="Peer.PeerWorker"/>), so that both are measured alike, memory
/// included, and can take turns.
/// </summary>
internal sealed class BenchWorker : IDisposable
{
    private const int Classes = 10, TextClasses = 12;
    private const double Dropout = 0.1;

    private AdaptedModel? model;
    private Adam? adam;
    private Batch? batch;
    private Device device = null!;  // set by the first setup: naming one loads libtorch, and where that fails Engine has the sentence for it
    private Func<double>? step;
    private EmbedWork? embed;

    public static void Serve()
    {
        using var worker = new BenchWorker();
        WorkerLoop.Serve(worker.Answer);
    }

    public void Dispose()
    {
        adam?.Dispose();
        model?.Dispose();
        embed?.Dispose();
        (model, adam, embed) = (null, null, null);
    }

    internal JsonObject Answer(JsonObject command)
    {
        switch ((string?)command["cmd"])
        {
            case "setup":
                return Setup(command);
            case "run":
                return Run((int?)command["steps"] ?? 1);
            case "memory":
                return new JsonObject { ["peak_bytes"] = ProcessMemory.Peak, ["current_bytes"] = ProcessMemory.Resident };
            case "save":
                using (var weights = FrozenWeights.Load((string)command["backbone"]!, "random"))
                using (Backbone drawn = weights.CreateBackbone()) BackboneFolder.Save(drawn, weights, (string)command["folder"]!);
                return new JsonObject { ["ok"] = true };
            case "open":
                return Open((string)command["folder"]!, (string?)command["frozen_dtype"]);
            case "answer":
                return WriteAnswer((string)command["file"]!);
            case "embeddings":
                return (embed ?? throw new InvalidOperationException("embeddings before setup")).Write((string)command["file"]!);
            case "door":
                return new JsonObject { ["nanoseconds"] = AddNanoseconds(), ["segment_nanoseconds"] = SegmentNanoseconds() };
            case "hello":
                return new JsonObject { ["torch"] = Engine.Version };
            default:
                return new JsonObject { ["error"] = $"unknown command {command["cmd"]}" };
        }
    }

    // A backbone on random vectors: the shape of the work, whatever the weights.
    private JsonObject Setup(JsonObject command)
    {
        int Int(string key, int fallback) => (int?)command[key] ?? fallback;
        Dispose();
        Engine.Threads = Int("threads", Environment.ProcessorCount);
        device = Devices.Parse((string?)command["device"] ?? "cpu");
        string name = (string?)command["case"] ?? "fpt-step";
        (int size, int tokens, int inputs, int seed) = (Int("batch", 16), Int("tokens", 64), Int("input_dim", 48), Int("seed", 0));
        string frozen = (string?)command["frozen_dtype"] ?? "auto";
        if (frozen is not ("auto" or "float32" or "bfloat16")) throw new PermafrostException($"frozen_dtype is '{frozen}', not auto, float32 or bfloat16");
        ScalarType frozenType = frozen switch { "float32" => ScalarType.Float32, "bfloat16" => ScalarType.BFloat16, _ => AdaptationOptions.BestFrozenType(device) };
        if (name == "products")
        {
            ProductShape products = ProductShape.Parse(command);
            var work = new KernelProducts(products, frozenType);
            step = work.Step;
            return new JsonObject { ["ok"] = true, ["torch"] = Engine.Version, ["kernels"] = KernelSet.Name, ["threads"] = Engine.Threads, ["flops"] = products.Flops };
        }
        if (name == "embed")
        {
            embed = new EmbedWork(command, frozenType);
            step = embed.Step;
            return new JsonObject { ["ok"] = true, ["torch"] = Engine.Version, ["kernels"] = KernelSet.Name, ["threads"] = Engine.Threads };
        }
        var policy = Policy.Parse(name == "full-step" ? "*" : "fpt");
        BackboneSource source = BackboneSource.Resolve((string?)command["folder"] ?? (string?)command["backbone"] ?? "gpt2");
        JsonObject sizes = BenchBody.Sizes(source.Config);
        bool ids = BenchBody.TakesIds(source.Config.ModelType);
        int vocabulary = ids ? (int)sizes["vocab"]! : 0;
        TaskSpec shape = ids
            ? new TaskSpec(new TextInput(vocabulary, tokens), new ClassOutput(TextClasses))
            : new TaskSpec(new VectorInput(inputs, tokens), new ClassOutput(Classes));

        void Make(string init)
        {
            Dispose();
            using var weights = FrozenWeights.Load(source, init, seed);
            model = new AdaptedModel(weights, shape, new AdaptationOptions
            {
                Policy = policy,
                Dropout = Dropout,
                Seed = seed,
                Device = device,
                FrozenType = frozenType,
                PretrainedEmbedding = ids,
                Readout = Readout.Parse(BenchBody.IsCausal(source.Config.ModelType) ? "last" : "mean"),
            });
            bool training = !IsForward(name) && name != "predict";
            model.train(training);
            if (training) adam = new Adam([new ParameterGroup([.. model.Trained.Select(p => (p.Name, p.Parameter.Value))])]);
        }

        step = name switch
        {
            _ when IsStep(name) || name == "full-step" => () => TrainStep.Run(model!, adam!, [batch!], 1e-3, 1).Loss,
            _ when IsForward(name) => Loss,
            "predict" => Predict(size, tokens, inputs),
            "load" => () =>
            {
                Make("pretrained");
                return 0;
            }
            ,
            _ => throw new PermafrostException($"case is '{name}', which does not exist"),
        };
        if (name != "load")
        {
            Make(command["folder"] is null ? "random" : "pretrained");
            using var random = new Generator((ulong)seed);
            Tensor x = ids ? torch.empty([size, tokens], ScalarType.Int64).random_(0, vocabulary, random) : torch.empty([size, tokens, inputs]).normal_(0, 1, random);
            Tensor y = torch.empty([size, 1], ScalarType.Int64).random_(0, ids ? TextClasses : Classes, random);
            batch = new Batch(x.to(device).DetachFromDisposeScope(), y.to(device).DetachFromDisposeScope());
            torch.manual_seed(seed);
        }
        return new JsonObject
        {
            ["ok"] = true,
            ["torch"] = Engine.Version,
            ["kernels"] = KernelSet.Name,
            ["threads"] = Engine.Threads,
            ["frozen_dtype"] = frozenType.ToString().ToLowerInvariant(),
            ["parameters"] = model?.Counts.Total,
            ["trained"] = model?.Counts.Trained,
            // The peer builds the same model from these.
            ["model"] = sizes,
        };
    }

    // A checkpoint as it is opened: what it is known by, and, where a type is given, a body that reads every weight.
    private static JsonObject Open(string folder, string? frozenType)
    {
        long start = Stopwatch.GetTimestamp();
        using var weights = FrozenWeights.Load(folder);
        using Backbone? body = frozenType is null ? null : weights.CreateBackbone(frozenType: frozenType == "bfloat16" ? ScalarType.BFloat16 : ScalarType.Float32);
        string sha256 = weights.Sha256;
        return new JsonObject { ["sha256"] = sha256, ["seconds"] = Stopwatch.GetElapsedTime(start).TotalSeconds, ["peak_bytes"] = ProcessMemory.Peak };
    }

    private static bool IsStep(string name) => name.StartsWith("fpt-step", StringComparison.Ordinal);

    private static bool IsForward(string name) => name.StartsWith("forward", StringComparison.Ordinal);

    private JsonObject Run(int steps)
    {
        if (step is null) throw new InvalidOperationException("run before setup");
        var seconds = new JsonArray();
        double loss = 0;
        for (int i = 0; i < steps; i++)
        {
            Engine.Synchronize(device);
            long start = Stopwatch.GetTimestamp();
            loss = step();
            Engine.Synchronize(device);
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return new JsonObject { ["seconds"] = seconds, ["loss"] = loss };
    }

    private double Loss()
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        return model!.Head.Loss(model.Forward(batch!.Inputs, null), batch.Targets).Number();
    }

    // From numbers in memory to probabilities in memory, as `permafrost predict` does it.
    private Func<double> Predict(int size, int tokens, int inputs)
    {
        var random = new Random(0);
        float[] numbers = [.. Enumerable.Range(0, size * tokens * inputs).Select(_ => (float)random.NextDouble())];
        var examples = new HostExamples(numbers, [size, tokens, inputs]);
        return () => Evaluator.Predict(model!, examples, size, device).OfType<ClassPrediction>().Last().Probabilities[0][0];
    }

    private sealed record HostExamples(float[] Numbers, long[] Shape) : IDataset
    {
        public long? Count => Shape[0];

        public Batch Get(ReadOnlySpan<long> indices) => new(Tensors.From(Numbers, Shape), torch.zeros([Shape[0], 1], ScalarType.Int64));
    }

    // The weights and inputs that a peer needs to compute the same, and our logits without dropout.
    private JsonObject WriteAnswer(string path)
    {
        if (model is null || batch is null) throw new InvalidOperationException("answer before setup");
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        bool training = model.training;
        model.eval();
        Dictionary<string, Tensor> tensors = model.Adapter().Where(pair => pair.Key.Contains("_layer.", StringComparison.Ordinal)).ToDictionary();
        (tensors["inputs"], tensors["logits"]) = (batch.Inputs, model.Forward(batch.Inputs, null));
        model.train(training);
        SafetensorsWriter.Write(path, tensors.Select(pair => KeyValuePair.Create(pair.Key, pair.Value.detach().cpu().contiguous())));
        return new JsonObject { ["ok"] = true };
    }

    // The time of one addition of two numbers, which is the cost of calling an operator: the median of many short rounds.
    private static double AddNanoseconds()
    {
        using var noGrad = torch.no_grad();
        using var outer = torch.NewDisposeScope();
        Tensor a = Tensors.Scalar(1f);
        Tensor b = Tensors.Scalar(2f);
        return Nanoseconds(2000, () => _ = a + b);
    }

    // The time of a segment, forward and backward, that holds only a product with a frozen 2 x 2 weight: the cost of the one managed function that a whole body is.
    private static double SegmentNanoseconds()
    {
        using var outer = torch.NewDisposeScope();
        Tensor x = torch.ones([1, 2], requires_grad: true), weight = torch.ones([2, 2]);
        return Nanoseconds(100, () => Segment.Backward(Segment.Run(given => given.FusedLinear(weight, null, 2, FusedActivation.None, ScalarType.Float32), x).sum()));
    }

    private static double Nanoseconds(int calls, Action call)
    {
        var rounds = new List<double>();
        for (int round = 0; round < 60; round++)
        {
            using var scope = torch.NewDisposeScope();
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < calls; i++) call();
            rounds.Add(Stopwatch.GetElapsedTime(start).TotalNanoseconds / calls);
        }
        return rounds.Order().ElementAt(rounds.Count / 2);
    }
}
