using System.Text.Json;
using Permafrost.Server;

namespace Permafrost.Cli.Tests;

/// <summary>Tables as users have them, from training to predictions, also those of a server.</summary>
public sealed class OwnTableTests : IDisposable
{
    private readonly Scratch scratch = new();

    public void Dispose() => scratch.Dispose();

    [Theory]
    [InlineData("2", "1", "quotes=none", "header=false")]
    [InlineData("text", "label", "quotes=none", "delimiter=tab")]
    [InlineData("text", "label", "delimiter=tab", "header=true")]
    public async Task A_server_writes_texts_as_the_runs_settings_read_them(string text, string label, params string[] settings)
    {
        string rows = string.Concat(Enumerable.Range(0, 24).Select(i => $"{(i % 2 == 0 ? "bad" : "good")}\t{(i % 2 == 0 ? "the film zzz" : "a story qqq")}, {i}\n"));
        string table = scratch.Write("own.tsv", (text == "text" ? "label\ttext\n" : "") + rows);
        string[] set = [.. settings.SelectMany(setting => new[] { "--set", $"task_options.{setting}" })];
        InProcess.Run(["finetune", "--task", "csv", "--backbone", TextTables.Body(scratch), "--init", "random", "--data", table, "--text-column", text, "--label-column", label,
            "--max-steps", "4", "--no-baselines", "--output-dir", scratch["run"], .. set]).Succeeded();
        string[] texts = ["the film, it was zzz", "a \"story", "qqq"];
        string[] predicted = [.. InProcess.Run("predict", scratch["run"], "--input", scratch.Write("texts.txt", string.Join('\n', texts)), "--json").Succeeded().Lines.Select(ServedRuns.Normal)];
        await using ServerUnderTest server = await ServerUnderTest.Start(new ServerOptions { Runs = [scratch["run"]] });
        Assert.Equal(predicted, (await server.Post("/v1/adapters/run/predict", JsonSerializer.Serialize(new { texts }))).Predictions);
    }

    [Fact]
    public void Several_labels_of_an_example_are_printed_by_name()
    {
        string table = scratch.Write("own.csv", "a,b,tags\n" + string.Concat(Enumerable.Range(0, 24).Select(i => $"{i % 2},{i % 3},{(i % 3 == 0 ? "" : i % 2 == 0 ? "x" : "x;y")}\n")));
        InProcess.Run("finetune", "--data", table, "--label-column", "tags", "--set", "task_options.answer=labels", "--backbone", "gpt2-tiny", "--init", "random", "--max-steps", "4",
            "--no-baselines", "--output-dir", scratch["run"]).Succeeded();
        IReadOnlyList<string> lines = InProcess.Run("predict", scratch["run"], "--input", table).Succeeded().Lines;
        Assert.Equal(24, lines.Count);
        Assert.Matches(@"^0\t(x|y|x, y)?\tx=0\.\d{4} y=0\.\d{4}$", lines[0]);
    }

    [Fact]
    public void Baselines_take_their_task_as_other_verbs_do()
    {
        string table = scratch.Write("own.txt", "a,label\n" + string.Concat(Enumerable.Range(0, 24).Select(i => $"{i % 2},{"xy"[i % 2]}\n")));
        Assert.Contains("baselines of csv", InProcess.Run("baselines", "--task", "csv", "--data", table).Succeeded().Output, StringComparison.Ordinal);
        InProcess.Run("baselines", "jsonl", "--task", "csv", "--data", table).Refused(2, "--task csv");
    }
}
