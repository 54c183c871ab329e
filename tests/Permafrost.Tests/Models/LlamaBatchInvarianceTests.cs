using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Tests.Kernels;

namespace Permafrost.Tests.Models;

/// <summary>Decoders of Llama's kind whose attention has kernels: a row's hidden states and gradients depend on nothing but the row.</summary>
[Collection(ProcessWide.Name)]
public sealed class LlamaBatchInvarianceTests : IDisposable
{
    private const long B = 16, T = 9, C = 24;

    private readonly DisposeScope scope = torch.NewDisposeScope();
    private readonly int threads = Engine.Threads;

    public static TheoryData<string, ScalarType, string> Cases
    {
        get
        {
            var cases = new TheoryData<string, ScalarType, string>();
            foreach (string set in KernelSets.WithKernels)
                foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
                    foreach (string keys in new[] { """ "model_type": "llama", "hidden_act": "relu" """, """ "model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 10, "hidden_act": "silu" """ })
                        cases.Add(set, type, keys);
            return cases;
        }
    }

    public void Dispose()
    {
        Engine.Threads = threads;
        scope.Dispose();
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_rows_hidden_states_and_gradients_depend_on_nothing_but_the_row(string set, ScalarType frozen, string config)
    {
        using IDisposable _ = KernelSets.UseKernels(set);
        HfConfig parsed = HfConfig.Parse(
            $$"""{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37, "max_position_embeddings": 16, "vocab_size": 11, {{config}}}""", "test");
        using FrozenWeights weights = FrozenWeights.Draw(ModelRegistry.Find(parsed), parsed);
        using Backbone model = weights.CreateBackbone(frozenType: frozen);
        var keys = new DropoutKeys { Seed = 3 };
        model.UseDropoutKeys(keys);
        model.DropoutOverride = 0.2;
        model.train();
        Tensor x = KernelSets.Normal(1, ScalarType.Float32, 0, 1, B, T, C);
        byte[][] Rows(Tensor given, long first)
        {
            keys.FirstRow = first;
            Tensor leaf = given.detach().clone().requires_grad_(true);
            Tensor hidden = model.Forward(new ModelInputs(InputsEmbeds: leaf)).LastHiddenState.narrow(1, 0, T);
            Segment.Backward((hidden * KernelSets.Normal(2, ScalarType.Float32, 0, 1, 1, T, C)).sum());
            return [.. Enumerable.Range(0, (int)given.size(0)).Select(row => (byte[])[.. hidden.detach().narrow(0, row, 1).ToBytes(), .. leaf.grad!.narrow(0, row, 1).narrow(1, 0, T).ToBytes()])];
        }
        Engine.Threads = 1;
        byte[][] expected = Rows(x, 0);
        foreach (int count in new[] { 1, 2 })
        {
            Engine.Threads = count;
            Same("threads", Rows(x, 0));
            Same("padding behind", Rows(torch.cat([x, torch.zeros([B, 5, C])], 1), 0));
            Same("two halves", [.. Rows(x.narrow(0, 0, 8), 0), .. Rows(x.narrow(0, 8, 8), 8)]);
            Same("one by one", [.. Enumerable.Range(0, (int)B).Select(row => Rows(x.narrow(0, row, 1), row)[0])]);
        }

        void Same(string how, byte[][] actual)
        {
            for (int row = 0; row < B; row++) Assert.True(expected[row].AsSpan().SequenceEqual(actual[row]), $"{set} {frozen}: row {row}, {how}, {Engine.Threads} threads");
        }
    }
}
