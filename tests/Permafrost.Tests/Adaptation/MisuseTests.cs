using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Tasks;
using Permafrost.Tests.Models;
using Permafrost.Training;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Adaptation;

/// <summary>A model in TorchSharp code of one's own: what works, and the one exception for each thing that does not.</summary>
public sealed class MisuseTests : IDisposable
{
    private static readonly TaskSpec Spec = new(new VectorInput(2, 5), new ClassOutput(3));

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose() => scope.Dispose();

    [Fact]
    public void A_model_that_was_disposed_of_says_so()
    {
        AdaptedModel model = Model();
        Dictionary<string, Tensor> adapter = model.Adapter().ToDictionary(pair => pair.Key, pair => pair.Value.detach().clone());
        model.Dispose();
        model.Dispose();
        Assert.Throws<ObjectDisposedException>(() => model.Forward(Inputs, null));
        Assert.Throws<ObjectDisposedException>(() => model.Read(Inputs, null));
        Assert.Throws<ObjectDisposedException>(() => model.Answer(torch.zeros([1, 1, 128])));
        Assert.Throws<ObjectDisposedException>(() => model.Adapter());
        Assert.Throws<ObjectDisposedException>(() => model.LoadAdapter(adapter, "here", complete: true));
        Assert.Throws<ObjectDisposedException>(() => Evaluator.Evaluate(model, Examples, 4, torch.CPU));
        Assert.Throws<ObjectDisposedException>(() => Trainer.Fit(model, new TrainingData(Examples), Steps(1)));
    }

    [Theory]
    [InlineData("4 5 3")]
    [InlineData("4 10")]
    [InlineData("4 5 2 1")]
    [InlineData("10")]
    public void Inputs_of_another_shape_are_refused(string sizes)
    {
        long[] shape = [.. sizes.Split(' ').Select(long.Parse)];
        using AdaptedModel model = Model();
        string message = Refusal.Of(TensorExtensions.FormatShape(shape), () => model.Forward(torch.zeros(shape), null));
        Assert.Contains("Size = 2", message, StringComparison.Ordinal);
        Refusal.Of(TensorExtensions.FormatShape(shape), () => model.Read(torch.zeros(shape), null));
    }

    [Fact]
    public void A_sequence_longer_than_the_positions_is_refused()
    {
        using AdaptedModel model = Model();
        Refusal.Of("2000", () => model.Forward(torch.zeros([1, 2000, 2]), null));
    }

    [Fact]
    public void A_second_thread_that_trains_the_same_model_is_refused_and_the_first_goes_on()
    {
        using AdaptedModel model = Model(), alone = Model();
        var errors = new List<Exception?>();
        var listener = new Listener(told =>
        {
            if (told is not StepReport { Step: 10 }) return;
            var other = new Thread(() =>
            {
                errors.Add(Record.Exception(() => { Trainer.Fit(model, new TrainingData(Examples), Steps(5)); }));
                errors.Add(Record.Exception(() => { using Tensor _ = model.Forward(Inputs, null); }));
            });
            other.Start();
            other.Join();
        });
        Trainer.Fit(model, new TrainingData(Examples), Steps(20), progress: listener);
        Trainer.Fit(alone, new TrainingData(Examples), Steps(20));
        Assert.Equal(2, errors.Count);
        Assert.All(errors, error => Assert.Contains("another thread is training this model", Assert.IsType<InvalidOperationException>(error).Message, StringComparison.Ordinal));
        Assert.All(alone.Adapter(), pair => Assert.Equal(pair.Value.ToBytes(), model.Adapter()[pair.Key].ToBytes()));
        // It is free again, for any thread.
        var after = new Thread(() => errors.Add(Record.Exception(() => { Trainer.Fit(model, new TrainingData(Examples), Steps(1)); })));
        after.Start();
        after.Join();
        Assert.Null(errors[2]);
    }

    [Fact]
    public void An_adapter_for_another_body_or_task_is_refused()
    {
        using AdaptedModel model = Model(), wider = Bodies.Adapt("gpt2-mini", Spec), classes = Bodies.Adapt("gpt2-tiny", Spec with { Output = new ClassOutput(4) });
        string before = model.FrozenSha256();
        Refusal.Of("wider", () => model.LoadAdapter(wider.Adapter(), "wider", complete: true));
        Refusal.Of("'output_layer.weight' has the shape [4, 128], this run's is [3, 128]", () => model.LoadAdapter(classes.Adapter(), "classes", complete: true));
        Assert.Equal(before, model.FrozenSha256());
        // What is refused has set nothing, also where its first tensors fit.
        float[] answers = Answers(model);
        using AdaptedModel moved = Bodies.Adapt("gpt2-tiny", Spec);
        var partly = moved.Adapter().ToDictionary(pair => pair.Key, pair => pair.Value.add(1));
        partly["output_layer.weight"] = classes.Adapter()["output_layer.weight"];
        Refusal.Of("'output_layer.weight'", () => model.LoadAdapter(partly, "partly", complete: true));
        var lacking = moved.Adapter().Where(pair => pair.Key != "output_layer.bias").ToDictionary(pair => pair.Key, pair => pair.Value.add(1));
        Refusal.Of("1 trained tensor(s) are missing", () => model.LoadAdapter(lacking, "lacking", complete: true));
        Assert.Equal(answers, Answers(model));
    }

    [Theory]
    [InlineData(3)]
    [InlineData(-1)]
    public void A_target_that_is_no_class_is_refused(long target)
    {
        using AdaptedModel model = Model();
        var data = new Signs { Target = target };
        Assert.Contains($"a target is {target}", Assert.Throws<ArgumentException>(() => Trainer.Fit(model, new TrainingData(data, null), Steps(2))).Message, StringComparison.Ordinal);
        Assert.Contains($"a target is {target}", Assert.Throws<ArgumentException>(() => Evaluator.Evaluate(model, data, 4, torch.CPU)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_row_of_NaN_gets_no_label()
    {
        using AdaptedModel model = Model();
        Refusal.Of("the output for example 6", () => Evaluator.Predict(model, new Signs { Bad = 6 }, 4, torch.CPU).ToList());
        Assert.Equal(24, Evaluator.Predict(model, new Signs(), 4, torch.CPU).Count());
    }

    [Fact]
    public void Weights_that_the_options_do_not_name_are_refused()
    {
        using FrozenWeights weights = FrozenWeights.Load("gpt2-mini", "random");
        var options = new RunOptions { Data = new DataOptions { Task = "bit-xor" }, Model = new ModelOptions { Backbone = "gpt2-tiny", Init = "random" } };
        Assert.Contains("gpt2-mini", Assert.Throws<ArgumentException>(() => Finetuning.Prepare(options, weights: weights)).Message, StringComparison.Ordinal);
        RunOptions right = options with { Model = options.Model with { Backbone = "gpt2-mini" } };
        Finetuning.Prepare(right, weights: weights).Dispose();
        Assert.Throws<ArgumentException>(() => Finetuning.Prepare(right with { Model = right.Model with { InitSeed = 1 } }, weights: weights));
    }

    [Fact]
    public void Weights_that_were_disposed_of_make_no_model_and_models_live_on()
    {
        var weights = FrozenWeights.Load("gpt2-tiny", "random");
        using AdaptedModel model = Bodies.Adapt(weights, Spec);
        float[] before = Answers(model);
        weights.Dispose();
        weights.Dispose();
        Assert.Throws<ObjectDisposedException>(() => weights.CreateBackbone());
        Assert.Throws<ObjectDisposedException>(() => Bodies.Adapt(weights, Spec));
        Assert.Throws<ObjectDisposedException>(() => weights.Copy(["wte.weight"]));
        Assert.Throws<ObjectDisposedException>(() => SequenceClassifier.TrainAsync(weights, Dataset.FromRows([[1], [2]], ["a", "b"]), cancellation: TestContext.Current.CancellationToken).GetAwaiter().GetResult());
        Assert.Equal(before, Answers(model));
    }

    [Fact]
    public void An_optimiser_of_TorchSharp_trains_it()
    {
        using AdaptedModel model = Model();
        string frozen = model.FrozenSha256();
        using var optimizer = torch.optim.Adam(model.parameters(), lr: 1e-2);
        Batch batch = Examples.Get([0, 1, 2, 3, 4, 5, 6, 7]);
        var losses = new List<double>();
        model.train();
        for (int step = 0; step < 30; step++)
        {
            using DisposeScope inner = torch.NewDisposeScope();
            optimizer.zero_grad();
            Tensor loss = torch.nn.functional.cross_entropy(model.Forward(batch).squeeze(1), batch.Targets.squeeze(1));
            loss.backward();
            optimizer.step();
            losses.Add(loss.Number());
        }
        Assert.True(losses[^1] < 0.3 * losses[0], $"from {losses[0]} to {losses[^1]}");
        Assert.Equal(frozen, model.FrozenSha256());
    }

    [Fact]
    public void Its_state_are_the_trained_parameters()
    {
        using AdaptedModel model = Model();
        Dictionary<string, Tensor> state = model.state_dict();
        Assert.Equal(model.Trained.Select(parameter => parameter.Name), state.Keys);
        Assert.All(model.Trained, parameter => Assert.Same(parameter.Parameter.Value, state[parameter.Name]));
        Assert.Equal(state.Keys, model.named_parameters().Select(pair => pair.name));
        Assert.Equal(model.Counts.Trained, model.parameters().Sum(parameter => parameter.NumberOfElements));
        Assert.All(model.parameters(), parameter => Assert.True(parameter.requires_grad));
    }

    [Fact]
    public void It_moves_to_a_device_and_not_to_another_type()
    {
        using AdaptedModel model = Model();
        float[] before = Answers(model);
        Assert.Same(model, model.to(torch.CPU));
        Assert.Same(model, model.to(ScalarType.Float32));
        foreach (ScalarType type in new[] { ScalarType.Float16, ScalarType.BFloat16, ScalarType.Float64 })
        {
            Refusal.Of($"{type}", () => model.to(type));
            Refusal.Of($"{type}", () => model.to(torch.CPU, type));
        }
        Refusal.Of("Float16", () => model.half());
        Assert.Equal(before, Answers(model));
    }

    private static AdaptedModel Model() => Bodies.Adapt("gpt2-tiny", Spec);

    private static Tensor Inputs => torch.ones([4, 5, 2]);

    private static IDataset Examples { get; } = new Signs();

    private static TrainerOptions Steps(int steps) => new() { Schedule = new ScheduleOptions { MaxSteps = steps, PerDeviceTrainBatchSize = 4 } };

    private static float[] Answers(AdaptedModel model)
    {
        using DisposeScope own = torch.NewDisposeScope();
        using var noGrad = torch.no_grad();
        return model.Forward(Examples.Get([0, 1, 2]).Inputs, null).ToArray<float>();
    }

    private sealed class Listener(Action<TrainingEvent> told) : IProgress<TrainingEvent>
    {
        public void Report(TrainingEvent value) => told(value);
    }

    private sealed class Signs : IDataset
    {
        /// <summary>In every example's place.</summary>
        public long? Target { get; init; }

        /// <summary>The example whose first number is NaN.</summary>
        public long Bad { get; init; } = -1;

        public long? Count => 24;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            (var inputs, var targets) = (new float[indices.Length * 10], new long[indices.Length]);
            for (int row = 0; row < indices.Length; row++)
            {
                targets[row] = indices[row] % 3;
                for (int i = 0; i < 10; i++) inputs[row * 10 + i] = (targets[row] - 1) * (i + 1) * 0.2f;
            }
            for (int row = 0; row < indices.Length; row++)
            {
                if (indices[row] == Bad) inputs[row * 10] = float.NaN;
                if (Target is { } other) targets[row] = other;
            }
            return new Batch(Tensors.From(inputs, indices.Length, 5, 2), Tensors.From(targets, indices.Length, 1));
        }
    }
}
