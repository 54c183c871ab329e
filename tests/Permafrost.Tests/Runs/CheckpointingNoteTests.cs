using Permafrost.Formats;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Runs;

namespace Permafrost.Tests.Runs;

/// <summary>A backbone that computes no layer again says so where it is asked to.</summary>
public sealed class CheckpointingNoteTests : IDisposable
{
    private readonly TinyRun tiny = new();

    public void Dispose() => tiny.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_backbone_that_ignores_gradient_checkpointing_is_told_in_one_sentence(bool asked)
    {
        RunOptions options = tiny.Options with { Model = tiny.Options.Model with { GradientCheckpointing = asked } };
        var architecture = new Architecture { ModelType = "plain", Backbone = config => new Plain(config) };
        using var weights = FrozenWeights.Draw(architecture, HfConfig.Parse("""{"model_type": "plain"}""", "a test"));
        using var run = Finetuning.Prepare(options, weights: weights);
        string[] notes = [.. run.Notes.Where(note => note.Contains("gradient_checkpointing", StringComparison.Ordinal))];
        if (asked) Assert.Contains("a plain backbone", Assert.Single(notes), StringComparison.Ordinal);
        else Assert.Empty(notes);
        using var heeds = Finetuning.Prepare(options);
        Assert.DoesNotContain(heeds.Notes, note => note.Contains("gradient_checkpointing", StringComparison.Ordinal));
    }

    private sealed class Plain : Backbone
    {
        private readonly Linear map;

        public Plain(HfConfig config)
        {
            Config = config;
            map = Declare("map", new Linear(8, 8));
        }

        public override HfConfig Config { get; }

        public override BackboneTraits Traits { get; } = new(8, 1);

        public override IReadOnlyList<GroupRule> Groups { get; } = [new("map.*", GroupName.Ff)];

        public override ModelOutputs Forward(ModelInputs input) => new(map.Forward(input.InputsEmbeds!), [], []);
    }
}
