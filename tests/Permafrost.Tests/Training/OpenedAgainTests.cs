using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Training;

namespace Permafrost.Tests.Training;

/// <summary>What a run refuses at its start does not keep a finished one from being opened; and shares and sizes at the edge.</summary>
[Collection(ProcessWide.Name)]
public class OpenedAgainTests : IDisposable
{
    private readonly TinyRun tiny = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        tiny.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Doubles_beyond_float32_are_refused()
    {
        RunOptions options = tiny.On(("inputs", torch.full([2, 1, 1], 1e300, ScalarType.Float64)), ("targets", Tensors.From([0L, 1])));
        Assert.Throws<PermafrostException>(() => new TensorsTask().Load(new TaskOptions(options.Data, ValidationFraction: 0, TestFraction: 0)));
    }

    [Fact]
    public void Share_of_0_145_of_100_is_15()
    {
        RunOptions options = tiny.On(("inputs", torch.zeros([100, 1, 1])), ("targets", torch.zeros([100], ScalarType.Int64)));
        Assert.Equal(15, new TensorsTask().Load(new TaskOptions(options.Data, ValidationFraction: 0.145, TestFraction: 0)).Validation!.Count);
    }

    [Fact]
    public void A_run_on_a_preset_behind_a_folder_opens_again()
    {
        string before = Environment.CurrentDirectory;
        Directory.CreateDirectory(tiny["gpt2-tiny"]);
        Environment.CurrentDirectory = Path.GetDirectoryName(tiny["gpt2-tiny"])!;
        try
        {
            (RunFolder folder, _) = tiny.Train(tiny.Options with { Backbone = "gpt2-tiny", MaxSteps = 1 });
            FinetuneRun.Open(folder.Path, withData: false).Dispose();
        }
        finally
        {
            Environment.CurrentDirectory = before;
        }
    }

    [Fact]
    public void A_run_with_patience_is_opened_on_data_without_validation()
    {
        Tensor inputs = torch.arange(8, ScalarType.Float32).view(8, 1, 1), targets = Tensors.From([0L, 1, 0, 1, 0, 1, 0, 1]);
        RunOptions options = tiny.On(("inputs", inputs), ("targets", targets), ("validation.inputs", inputs), ("validation.targets", targets)) with { EarlyStoppingPatience = 2, EvalSteps = 2 };
        (RunFolder folder, _) = tiny.Train(options);
        SafetensorsWriter.Write(tiny["other.safetensors"], [KeyValuePair.Create("inputs", inputs), KeyValuePair.Create("targets", targets)]);
        FinetuneRun.Open(folder.Path, withData: true, saved => saved with { Data = tiny["other.safetensors"] }).Dispose();
    }

    [Fact]
    public void A_saved_run_with_patience_and_no_eval_steps_still_opens()
    {
        (RunFolder folder, _) = tiny.Train(tiny.Options with { MaxSteps = 1 });
        string text = File.ReadAllText(folder.Config);
        File.WriteAllText(folder.Config, text.Replace("early_stopping_patience: 0", "early_stopping_patience: 3", StringComparison.Ordinal));
        Assert.Contains("early_stopping_patience: 3", File.ReadAllText(folder.Config), StringComparison.Ordinal);
        FinetuneRun.Open(folder.Path, withData: false).Dispose();
    }
}
