using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tests.Kernels;

namespace Permafrost.Tests.Models;

/// <summary>A whole GPT-2, frozen in either type: a row's hidden states depend on nothing but the row, with dropout too.</summary>
[Collection(ProcessWide.Name)]
public class Gpt2BatchInvarianceTests : IDisposable
{
    private const long B = 16, T = 9, C = 24;

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly int threads = Engine.Threads;

    public static TheoryData<string, ScalarType> Cases
    {
        get
        {
            var cases = new TheoryData<string, ScalarType>();
            // libtorch's own products make no such promise.
            foreach (string set in KernelSets.WithKernels)
                foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 }) cases.Add(set, type);
            return cases;
        }
    }

    public void Dispose()
    {
        Engine.Threads = threads;
        scope.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_rows_hidden_states_and_gradients_depend_on_nothing_but_the_row(string set, ScalarType frozen)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        (Backbone model, DropoutKeys keys) = Model(frozen);
        using Backbone owned = model;
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, B, T, C);
        byte[][] Rows(Tensor given, long first)
        {
            keys.FirstRow = first;
            Tensor leaf = given.detach().clone().requires_grad_(true);
            Tensor hidden = model.Forward(new ModelInputs(InputsEmbeds: leaf)).LastHiddenState.narrow(1, 0, T);
            Segment.Backward((hidden * KernelSets.Normal(2, ScalarType.Float32, 0, 1, 1, T, C)).sum());
            return [.. Enumerable.Range(0, (int)given.size(0)).Select(row => (byte[])[.. hidden.detach().narrow(0, row, 1).ToBytes(), .. leaf.grad!.narrow(0, row, 1).narrow(1, 0, T).ToBytes()])];
        }
        foreach (bool training in new[] { false, true })
        {
            model.train(training);
            Engine.Threads = 1;
            byte[][] expected = Rows(x, 0);
            Assert.Equal(training, !expected[3].AsSpan().SequenceEqual(Rows(x.narrow(0, 3, 1), 0)[0]));  // the row counts where there is dropout, and there only
            foreach (int count in new[] { 1, 2, 3 })
            {
                Engine.Threads = count;
                Same("threads", Rows(x, 0));
                Same("padding behind", Rows(torch.cat([x, torch.zeros([B, 5, C])], 1), 0));
                Same("two accumulated halves", [.. Rows(x.narrow(0, 0, 8), 0), .. Rows(x.narrow(0, 8, 8), 8)]);
                Same("one by one", [.. Enumerable.Range(0, (int)B).Select(row => Rows(x.narrow(0, row, 1), row)[0])]);
                Same("behind others", [.. Rows(torch.cat([x.narrow(0, 5, 3), x], 0), -3).Skip(3)]);
            }

            void Same(string how, byte[][] actual)
            {
                for (int row = 0; row < B; row++) Assert.True(expected[row].AsSpan().SequenceEqual(actual[row]), $"{set} {frozen} {(training ? "training" : "evaluating")}: row {row}, {how}, {Engine.Threads} threads");
            }
        }
    }

    private (Backbone Model, DropoutKeys Keys) Model(ScalarType frozen)
    {
        Backbone model = Bodies.Load(TinyGpt2.Configure(folder, TinyGpt2.Json(layers: 2, width: (int)C)), type: frozen);
        var keys = new DropoutKeys { Seed = 3 };
        model.UseDropoutKeys(keys);
        model.DropoutOverride = 0.2;
        return (model, keys);
    }
}
