using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>What `--dry-run` says of the data: examples, tokens of each, classes and how often each occurs.</summary>
public sealed class DryRunTests
{
    [Fact]
    public void What_was_understood_of_a_users_own_data_is_printed()
    {
        using var scratch = new Scratch();
        string rows = string.Concat(Enumerable.Range(0, 40).Select(i => $"{i},{i * i},{(i % 4 == 0 ? "rare" : "common")}\n"));
        File.WriteAllText(scratch["own.csv"], "x,y,label\n" + rows);
        string[] run = ["finetune", "--data", scratch["own.csv"], "--backbone", "gpt2-tiny", "--init", "random", "--max-steps", "4", "--dry-run"];
        string output = InProcess.Run(run).Succeeded().Output;
        Assert.Contains("examples: training 32, validation 4, test 4\n", output, StringComparison.Ordinal);
        Assert.Contains("tokens an example: 2 to 2, on the average 2.0 (training examples)\n", output, StringComparison.Ordinal);
        Assert.Contains("classes: 2, of the training examples: common 24, rare 8\n", output, StringComparison.Ordinal);
        JsonNode data = InProcess.Run([.. run, "--json"]).Succeeded().Json["data"]!;
        Assert.Equal((32, 4, 8), ((int)data["examples"]!["train"]!, (int)data["examples"]!["test"]!, (int)data["classes"]![1]!["examples"]!));
        InProcess.Run([.. run, "--label-column", "y"]).Refused(1, "own.csv:2", "'rare' in the column 'label' is not a number");
    }

    [Fact]
    public void Series_of_several_lengths_and_numbers_as_answers_are_told_too()
    {
        using var scratch = new Scratch();
        File.WriteAllText(scratch["own.ts"], "@data\n" + string.Concat(Enumerable.Range(0, 21).Select(i => $"{string.Join(',', Enumerable.Range(i, 2 + i % 3))}:{i}\n")));
        string output = InProcess.Run("finetune", "--data", scratch["own.ts"], "--backbone", "gpt2-tiny", "--init", "random", "--max-steps", "4", "--dry-run",
            "--set", "task_options.answer=number", "--validation-fraction", "0", "--test-fraction", "0").Succeeded().Output;
        Assert.Contains("tokens an example: 2 to 4, on the average 3.0 (training examples)\n", output, StringComparison.Ordinal);
        Assert.Contains("answers: 0 to 20, on the average 10 ", output, StringComparison.Ordinal);
    }
}
