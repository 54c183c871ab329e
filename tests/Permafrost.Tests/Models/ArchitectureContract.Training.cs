using Permafrost.Adaptation;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Tasks;
using Permafrost.Training;
using Permafrost.Training.Optimizers;

namespace Permafrost.Tests.Models;

/// <summary>What a model family promises when it is trained, shared and saved.</summary>
public abstract partial class ArchitectureContract
{
    private const int InputSize = 3, Classes = 4, Answers = 2;

    private string LastLayer => traits.Layers > 0 ? "output,ff[-1]" : "output";

    [Theory]
    [InlineData(ScalarType.Float32, false)]
    [InlineData(ScalarType.Float32, true)]
    [InlineData(ScalarType.BFloat16, false)]
    public void Everything_that_inputs_reach_gets_a_gradient_when_all_trains(ScalarType type, bool ownTokens)
    {
        if (ownTokens) Assert.SkipWhen(traits.Vocabulary is null, $"{ModelType} has no token table");
        using AdaptedModel model = Adapt("*", type: type, ownTokens: ownTokens);
        Assert.Equal(model.Backbone.UnusedParameters(new BackboneUse(Vectors: !ownTokens)), model.Parameters.Where(parameter => !parameter.Trained).Select(parameter => parameter.Name));
        TrainStep.AddGradients(model, [Examples(0, ownTokens)]);
        Assert.All(model.Trained, parameter =>
        {
            Tensor? gradient = parameter.Parameter.Value.grad;
            Assert.True(gradient is not null, $"{parameter.Name} has no gradient");
            Assert.True(gradient.AllFinite() && Golden.Largest(gradient) > 0, $"{parameter.Name} has a gradient of zeros, or one that is not finite");
        });
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Under_fpt_gradients_reach_norms_positions_and_the_new_layers_only(ScalarType type)
    {
        using AdaptedModel model = Adapt(type: type);
        TrainStep.AddGradients(model, [Examples(0)]);
        foreach (AdaptedParameter parameter in model.Parameters.Where(parameter => !parameter.Unused))
        {
            bool trains = parameter.Group is GroupName.Input or GroupName.Output or GroupName.Ln or GroupName.Pos;
            Tensor stored = parameter.Parameter.Stored;
            Assert.True(trains == parameter.Trained && trains == stored.requires_grad && trains == stored.grad is not null, parameter.Name);
            if (trains) Assert.True(Golden.Largest(stored.grad!) > 0, parameter.Name);
        }
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void With_kernels_a_row_and_its_gradient_have_the_same_bits_whatever_stands_beside_it(ScalarType type)
    {
        Assert.SkipWhen(KernelSet.Name == KernelSet.None, "libtorch's own products make no such promise");
        using FrozenWeights weights = Weights();
        using Backbone model = weights.CreateBackbone(frozenType: type);
        var keys = new DropoutKeys { Seed = 3 };
        model.UseDropoutKeys(keys);
        model.DropoutOverride = 0.2;
        model.train();
        using var random = new Generator(1);
        Tensor x = torch.empty([5, T, traits.Width]).normal_(0, 1, random), weight = torch.empty([1, T, traits.Width]).normal_(0, 1, random);
        byte[][] Rows(Tensor given, long first)
        {
            keys.FirstRow = first;
            Tensor leaf = given.detach().clone().requires_grad_(true);
            Tensor hidden = model.Forward(new ModelInputs(InputsEmbeds: leaf)).LastHiddenState;
            Segment.Backward((hidden * weight).sum());
            return [.. Enumerable.Range(0, (int)given.size(0)).Select(row => (byte[])[.. hidden.detach().narrow(0, row, 1).ToBytes(), .. leaf.grad!.narrow(0, row, 1).ToBytes()])];
        }
        byte[][] expected = Rows(x, 0);
        Assert.Equal(expected, [.. Enumerable.Range(0, 5).Select(row => Rows(x.narrow(0, row, 1), row)[0])]);
        Assert.Equal(expected, [.. Rows(x.narrow(0, 0, 2), 0), .. Rows(x.narrow(0, 2, 3), 2)]);
        Assert.Equal(expected, [.. Rows(torch.cat([x.narrow(0, 1, 3), x]), -3).Skip(3)]);
    }

    [Fact]
    public void Gradients_are_those_of_a_loss_that_is_computed_outside()
    {
        using FrozenWeights weights = Weights();
        using AdaptedModel inside = Adapt(weights, "*"), outside = Adapt(weights, "*");
        Batch batch = Examples(0);
        TrainStep.AddGradients(inside, [batch]);
        torch.nn.functional.cross_entropy(outside.Forward(batch).view(-1, Classes), batch.Targets.view(-1)).backward();
        double largest = outside.Trained.Max(parameter => Golden.Largest(parameter.Parameter.Value.grad!));
        foreach ((AdaptedParameter one, AdaptedParameter other) in inside.Trained.Zip(outside.Trained))
            Golden.Gradient(one.Name, one.Parameter.Value.grad!, other.Parameter.Value.grad!, largest);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Training_leaves_every_frozen_bit_as_it_was(ScalarType type)
    {
        using FrozenWeights weights = Weights();
        using AdaptedModel model = Adapt(weights, type: type, dropout: 0.1), other = Adapt(weights, type: type);
        string frozen = model.FrozenSha256();
        byte[] answers = Answer(other);
        Dictionary<string, byte[]> start = model.Trained.ToDictionary(parameter => parameter.Name, parameter => parameter.Parameter.Value.ToBytes());
        Train(model, 20);
        Assert.Equal(frozen, model.FrozenSha256());
        Assert.All(model.Trained, parameter => Assert.False(start[parameter.Name].AsSpan().SequenceEqual(parameter.Parameter.Value.ToBytes()), parameter.Name));
        Assert.Equal(answers, Answer(other));
        using AdaptedModel later = Adapt(weights, type: type);
        Assert.Equal(answers, Answer(later));
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Models_over_the_same_weights_share_what_is_frozen_and_own_what_they_train(ScalarType type)
    {
        using FrozenWeights weights = Weights();
        // What one trains another may have frozen, before or after it.
        using AdaptedModel first = Adapt(weights, LastLayer, type), second = Adapt(weights, "fpt", type), third = Adapt(weights, "fpt", type);
        AdaptedModel[] models = [first, second, third];
        foreach ((AdaptedModel model, AdaptedModel other) in models.SelectMany((model, i) => models[(i + 1)..].Select(other => (model, other))))
        {
            int shared = 0;
            foreach ((AdaptedParameter one, AdaptedParameter two) in model.Parameters.Zip(other.Parameters))
            {
                Assert.Equal((one.Name, one.Unused), (two.Name, two.Unused));
                if (one.Unused) continue;
                bool frozen = !one.Trained && !two.Trained && one.Group is not (GroupName.Input or GroupName.Output);
                bool same = one.Parameter.Stored.Address() == two.Parameter.Stored.Address();
                Assert.True(frozen == same, $"{one.Name} is {(frozen ? "not shared" : "shared, and one of them trains it")}");
                if (frozen) shared++;
            }
            Assert.Equal(hasWeights, shared > 0);
        }
    }

    [Fact]
    public void What_is_done_to_one_model_leaves_the_others_answers()
    {
        FrozenWeights weights = Weights();
        AdaptedModel one = Adapt(weights, dropout: 0.1);
        using AdaptedModel other = Adapt(weights, seed: 1, dropout: 0.1);
        byte[] expected = Answer(other);
        foreach (Action act in new Action[] { () => one.to(torch.CPU), () => one.train(), () => Train(one, 2), one.Dispose, weights.Dispose })
        {
            act();
            Assert.Equal(expected, Answer(other));
            Assert.False(other.training);
        }
    }

    [Theory]
    [InlineData("fpt", ScalarType.Float32)]
    [InlineData("fpt", ScalarType.BFloat16)]
    [InlineData("*", ScalarType.Float32)]
    public void Layers_that_are_computed_again_give_the_same_bits(string policy, ScalarType type)
    {
        using AdaptedModel kept = Adapt(policy, type: type, dropout: 0.2), again = Adapt(policy, type: type, dropout: 0.2);
        again.Backbone.GradientCheckpointing = true;
        Assert.Equal(Train(kept, 2), Train(again, 2));
    }

    [Fact]
    public void Dropout_follows_from_seed_and_step_and_is_off_in_evaluation()
    {
        using Backbone model = Model();
        Tensor vectors = Vectors(B, T);
        byte[] Computed(long seed, long step, bool training = true, double probability = 0.2)
        {
            model.UseDropoutKeys(new DropoutKeys { Seed = seed, Step = step });
            model.DropoutOverride = probability;
            model.train(training);
            return Hidden(model, vectors).ToBytes();
        }
        byte[] first = Computed(3, 5), still = Computed(3, 5, training: false);
        Assert.Equal(first, Computed(3, 5));
        // Without a body nothing is dropped.
        if (!hasWeights)
        {
            Assert.Equal(first, still);
            return;
        }
        Assert.NotEqual(first, Computed(3, 6));
        Assert.NotEqual(first, Computed(4, 5));
        Assert.NotEqual(first, still);
        Assert.Equal(still, Computed(4, 6, training: false));
        Assert.Equal(still, Computed(3, 5, probability: 0));
    }

    [Fact]
    public void Models_trained_at_once_give_what_each_gives_alone()
    {
        const int Steps = 8;
        string[] policies = ["fpt", "*", LastLayer, "fpt"];
        byte[][] alone = [.. policies.Select((policy, i) =>
        {
            using FrozenWeights own = Weights();
            using AdaptedModel model = Adapt(own, policy, seed: i, dropout: 0.1);
            return Train(model, Steps, first: i);
        })];
        using FrozenWeights weights = Weights();
        var together = new byte[policies.Length][];
        var failures = new Exception?[2];
        using var start = new Barrier(failures.Length);
        // Two threads, each with a model of its own twice.
        Thread[] threads = [.. failures.Select((_, number) => new Thread(() =>
        {
            try
            {
                using DisposeScope own = torch.NewDisposeScope();
                for (int i = number; i < policies.Length; i += failures.Length)
                {
                    start.SignalAndWait(TimeSpan.FromMinutes(1));
                    using AdaptedModel model = Adapt(weights, policies[i], seed: i, dropout: 0.1);
                    together[i] = Train(model, Steps, first: i);
                }
            }
            catch (Exception error)
            {
                failures[number] = error;
            }
        }))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        Assert.All(failures, Assert.Null);
        for (int i = 0; i < policies.Length; i++) Assert.True(alone[i].AsSpan().SequenceEqual(together[i]), $"model {i}, policy {policies[i]}, is another when it is not alone");
        Assert.NotEqual(alone[0], alone[3]);
    }

    [Fact]
    public void A_saved_body_is_the_same_body()
    {
        using FrozenWeights drawn = Weights("random", 3);
        using (Backbone body = drawn.CreateBackbone(frozenType: ScalarType.BFloat16)) BackboneFolder.Save(body, drawn, folder["again"]);
        using FrozenWeights again = Load(folder["again"]);
        Assert.Equal(drawn.Sha256, again.Sha256);
        Assert.Equal(config.ToJson(), again.Config.ToJson());

        // What was trained is saved as trained.
        using AdaptedModel model = Adapt(drawn, "ln,recurrent,output");
        Train(model, 2);
        BackboneFolder.Save(model.Backbone, drawn, folder["trained"]);
        using FrozenWeights trained = Load(folder["trained"]);
        Assert.Equal(hasWeights, drawn.Sha256 != trained.Sha256);
        foreach ((string name, Parameter parameter) in model.Backbone.NamedParameters())
            Assert.True((parameter.IsTrained ? parameter.Value : drawn.Copy([name])[name]).ValuesEqual(trained.Copy([name])[name]), name);
    }

    [Theory]
    [InlineData("random")]
    [InlineData("statistics")]
    [InlineData("shuffled")]
    public void Drawn_bodies_are_known_by_their_seed(string init)
    {
        string Drawn(string how, long seed)
        {
            using FrozenWeights weights = Weights(how, seed);
            using Backbone model = weights.CreateBackbone();
            Assert.Equal(weights.Sha256, WeightHash.Of(model.NamedParameters()));
            return weights.Sha256;
        }
        Assert.Equal(Drawn(init, 3), Drawn(init, 3));
        Assert.Equal(hasWeights, Drawn(init, 3) != Drawn(init, 4));
        Assert.Equal(hasWeights, Drawn("pretrained", 3) != Drawn(init, 3));
        Assert.Equal(Drawn("pretrained", 3), Drawn("pretrained", 4));
        using var without = FrozenWeights.Draw(architecture, config, 3);  // needs no folder
        Assert.Equal(Drawn("random", 3), without.Sha256);
    }

    private AdaptedModel Adapt(string policy = "fpt", ScalarType type = ScalarType.Float32, double dropout = 0, bool ownTokens = false, int length = T)
    {
        using FrozenWeights weights = Weights();
        InputSpec input = ownTokens ? new IdInput(traits.Vocabulary!.Value, length) : new VectorInput(InputSize, length);
        return Bodies.Adapt(weights, Spec(input), policy, ownTokens: ownTokens, dropout: dropout, type: type);
    }

    private static AdaptedModel Adapt(FrozenWeights weights, string policy = "fpt", ScalarType type = ScalarType.Float32, double dropout = 0, long seed = 0) =>
        Bodies.Adapt(weights, Spec(new VectorInput(InputSize, T)), policy, dropout: dropout, seed: seed, type: type);

    private static TaskSpec Spec(InputSpec input) => new(input, new ClassOutput(Classes) { Count = Answers }) { Readout = $"last:{Answers}" };

    private Batch Examples(int number, bool ids = false)
    {
        using var random = new Generator((ulong)number);
        Tensor inputs = ids
            ? Tensors.From([.. Enumerable.Range(0, B * T).Select(i => (number + i * 7L) % traits.Vocabulary!.Value)], B, T)
            : torch.empty([B, T, InputSize]).normal_(0, 1, random);
        return new Batch(inputs, Tensors.From([.. Enumerable.Range(0, B * Answers).Select(i => (number + i * 3L) % Classes)], B, Answers));
    }

    // The bytes of everything that was trained.
    private byte[] Train(AdaptedModel model, int steps, int first = 0)
    {
        using var adam = new Adam([new ParameterGroup([.. model.Trained.Select(parameter => (parameter.Name, parameter.Parameter.Value))])]);
        model.train();
        for (int step = 0; step < steps; step++)
        {
            using DisposeScope own = torch.NewDisposeScope();
            TrainStep.Run(model, adam, [Examples(first + step)], 0.01, 1);
        }
        return [.. model.Trained.SelectMany(parameter => parameter.Parameter.Value.ToBytes())];
    }

    private byte[] Answer(AdaptedModel model) => model.Forward(Examples(99)).ToBytes();
}
