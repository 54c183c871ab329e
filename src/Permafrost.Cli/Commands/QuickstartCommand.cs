using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Training;

namespace Permafrost.Cli.Commands;

internal static class QuickstartCommand
{
    public static Command Create()
    {
        var command = new Command("quickstart", "a first run in a few minutes, no data needed: a frozen random GPT-2 learns Bit XOR");
        var output = new Option<string?>("--output-dir") { Description = "the run's folder; default runs/quickstart-<time>" };
        var seed = new Option<long>("--seed") { Description = "seed of the run" };
        Option<bool> json = CommonOptions.Json();
        foreach (Option option in new Option[] { output, seed, json }) command.Add(option);
        command.SetAction(parsed => Run(parsed.GetValue(output), parsed.GetValue(seed), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string? output, long seed, bool json)
    {
        string path = output ?? Path.Combine("runs", FormattableString.Invariant($"quickstart-{DateTime.Now:yyyyMMdd-HHmmss}"));
        var options = new RunOptions { Task = "bit-xor", Backbone = "gpt2-mini", Init = "random", MaxSteps = 1000, PerDeviceTrainBatchSize = 32, Dropout = 0, Seed = seed, OutputDir = path };
        RunFolder folder = RunFolder.Create(path);
        using var held = new RunLock(path);
        Output.Note("A GPT-2 of 4 layers and 256 numbers, with random weights that stay frozen, learns the exclusive or of two bit strings:");
        Output.Note("only its input and output layer, norms and positions train.");
        using FinetuneRun run = FinetuneRun.Prepare(options);
        Output.Note(run.Model.CountsLine);
        JsonObject results = TrainingProgress.Train(run, folder, $"permafrost quickstart --seed {seed}");
        if (json)
        {
            Output.Json(results);
            return 0;
        }
        ResultTable.Print(results, path);
        Output.Line();
        Output.Line("next:");
        Output.Line($"  printf '0110110001\\n' | ./permafrost predict {path} --input -     (01101 xor 10001 = 11100)");
        Output.Line("  ./permafrost finetune --task mnist --backbone gpt2-mini --init random     (needs `permafrost data fetch mnist`)");
        return 0;
    }
}
