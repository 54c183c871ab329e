using System.Globalization;
using System.Text.Json.Nodes;

namespace Permafrost.Cli.Tests;

/// <summary>A table of texts from end to end: trained, scored again, answered, stopped and gone on with. What is refused is in <see cref="BadTextTests"/>.</summary>
public sealed class TextRunTests(TextRunTests.Trained run) : IClassFixture<TextRunTests.Trained>
{
    /// <summary>A run on three tables, which most tests only read.</summary>
    public sealed class Trained : IDisposable
    {
        internal Scratch Scratch { get; } = new();

        internal string Folder => Scratch["run"];

        internal JsonObject Results { get; }

        internal string Said { get; }

        public Trained()
        {
            string[] tables = [.. new[] { ("train.csv", 120), ("validation.csv", 30), ("test.csv", 40) }.Select(table => TextTables.Write(Scratch, table.Item1, table.Item2))];
            CliResult result = Cli.Run(TextTables.Finetune(
                TextTables.Body(Scratch), tables[0], Folder, "--validation-data", tables[1], "--test-data", tables[2], "--max-steps", "60", "--max-length", "30", "--json")).Succeeded();
            (Results, Said) = (result.Json, result.Error);
        }

        public void Dispose() => Scratch.Dispose();
    }

    [Fact]
    public void It_is_scored_on_the_tables_that_were_named_beside_its_baselines()
    {
        Assert.Equal(("csv", 30, 40), ((string?)run.Results["task"], (int)run.Results["metrics"]!["validation"]!["count"]!, (int)run.Results["metrics"]!["test"]!["count"]!));
        Assert.Equal(0.5, (double)run.Results["baselines"]!["trivial"]!["majority"]!);
        JsonObject strong = run.Results["baselines"]!["strong"]!.AsObject();
        Assert.Equal(["linear-probe", "ngram-linear"], strong.Select(baseline => baseline.Key).Order(StringComparer.Ordinal));
        // One word tells: n-grams find it, and a linear classifier on the mean over letters does.
        Assert.Equal(1, (double)strong["ngram-linear"]!);
        Assert.InRange((double)strong["linear-probe"]!, 0.8, 1);
    }

    [Fact]
    public void Cut_texts_are_counted_and_said()
    {
        // Letters, and [CLS] and [SEP].
        int Longer(string table) => File.ReadLines(run.Scratch[table]).Skip(1).Count(line => line.Split('"')[1].Count(c => c != ' ') + 2 > 30);
        Assert.InRange(Longer("train.csv"), 1, 119);
        Assert.Contains($"{Longer("train.csv")} of 120 training text(s) have more than 30 tokens and were cut (--max-length)", run.Said, StringComparison.Ordinal);
    }

    [Fact]
    public void It_is_scored_again_on_its_own_split_and_on_another_table()
    {
        JsonObject again = Cli.Run("evaluate", run.Folder, "--json").Succeeded().Json;
        Assert.Equal(run.Results["metrics"]!["test"]!.ToJsonString(), again["metrics"]!.ToJsonString());
        string other = TextTables.Write(run.Scratch, "other.csv", 24);
        Assert.Equal(24, (int)Cli.Run("evaluate", run.Folder, "--test-data", other, "--json").Succeeded().Json["metrics"]!["count"]!);
        // The run's own test table would be scored in its place.
        Cli.Run("evaluate", run.Folder, "--data", other).Refused(2, "--data", "test.csv", "--test-data");
    }

    [Fact]
    public void A_table_of_which_rows_are_held_out_says_how_many_are_scored()
    {
        using var scratch = new Scratch();
        string data = TextTables.Write(scratch, "all.csv", 100), moved = scratch["moved.csv"];
        JsonObject results = Cli.Run(TextTables.Finetune(TextTables.Body(scratch), data, scratch["run"], "--max-steps", "20", "--json")).Succeeded().Json;
        File.Move(data, moved);
        CliResult again = Cli.Run("evaluate", scratch["run"], "--data", moved, "--json").Succeeded();
        Assert.Equal(results["metrics"]!["test"]!.ToJsonString(), again.Json["metrics"]!.ToJsonString());
        Assert.Contains($"of the 100 rows of {moved}, 10 validate and 10 test, held out as in training", again.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void It_answers_a_table_a_file_of_lines_and_standard_input_alike()
    {
        string[] texts = [.. File.ReadLines(run.Scratch["test.csv"]).Skip(1).Select(line => line.Split('"')[1])];
        string lines = run.Scratch.Write("lines.txt", string.Join('\n', texts));
        string[] answers = Cli.Run("predict", run.Folder, "--input", run.Scratch["test.csv"]).Succeeded().Lines;
        Assert.Equal(40, answers.Length);
        Assert.Equal(answers, Cli.Run("predict", run.Folder, "--input", lines).Succeeded().Lines);
        Assert.Equal(answers, Cli.Shell(new CliSettings(), $"permafrost predict '{run.Folder}' --input - < '{lines}'").Succeeded().Lines);
        // The answers are those that the test split was scored by.
        int right = answers.Where((answer, row) => answer.Split('\t')[1] == (row % 2 == 0 ? "bad" : "good")).Count();
        Assert.Equal((double)run.Results["metrics"]!["test"]!["accuracy"]!, right / 40.0, 12);
    }

    [Fact]
    public async Task The_first_text_is_answered_before_the_second_is_written()
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(CliSettings.Patience);
        using CliProcess process = Cli.Start(new CliSettings { Interactive = true }, "predict", run.Folder, "--input", "-");
        foreach ((string text, int number) in new[] { ("a zzz film", 0), ("qqq", 1) })
        {
            await process.WriteLine(text);
            Assert.StartsWith($"{number}\t", await process.ReadLine(patience.Token), StringComparison.Ordinal);
        }
        process.CloseInput();
        Assert.Null(await process.ReadLine(patience.Token));
        process.WaitForExit(CliSettings.Patience).Succeeded();
    }

    [Fact]
    public void What_is_cut_or_unknown_in_what_it_answers_is_said()
    {
        string text = run.Scratch.Write("odd.txt", string.Concat(Enumerable.Repeat("ab ", 700_000)) + "\n\u65e5\u672c\nzzz\n");
        CliResult result = Cli.Run("predict", run.Folder, "--input", text).Succeeded();
        Assert.Equal(3, result.Lines.Length);
        Assert.Contains("1 of 3 input text(s) have more than 30 tokens and were cut", result.Error, StringComparison.Ordinal);
        Assert.Contains("1 of 3 input text(s) hold nothing but characters that the backbone's vocabulary does not know", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_that_goes_on_ends_as_one_that_never_stopped()
    {
        using var scratch = new Scratch();
        (string body, string data) = (TextTables.Body(scratch), TextTables.Write(scratch, "train.csv", 60));
        JsonObject whole = Cli.Run(TextTables.Finetune(body, data, scratch["whole"], "--max-steps", "40", "--json")).Succeeded().Json;
        Cli.Run(TextTables.Finetune(body, data, scratch["parts"], "--max-steps", "20")).Succeeded();
        JsonObject parts = Cli.Run("finetune", "--resume-from-checkpoint", scratch["parts"], "--max-steps", "40", "--json").Succeeded().Json;
        foreach (string key in new[] { "metrics", "baselines", "steps", "scored_step" }) Assert.True(JsonNode.DeepEquals(whole[key], parts[key]), key);
        Assert.Equal(File.ReadAllBytes(scratch["whole", "adapter", "adapter_model.safetensors"]), File.ReadAllBytes(scratch["parts", "adapter", "adapter_model.safetensors"]));
    }

    [Fact]
    public void The_same_seed_gives_the_same_baselines_and_the_table_shows_them()
    {
        using var scratch = new Scratch();
        (string body, string data) = (TextTables.Body(scratch), TextTables.Write(scratch, "train.csv", 60));
        CliResult shown = Cli.Run(TextTables.Finetune(body, data, scratch["one"], "--max-steps", "10")).Succeeded();
        Assert.Contains("linear on n-grams of words and characters", shown.Output, StringComparison.Ordinal);
        Assert.Contains("linear probe", shown.Output, StringComparison.Ordinal);
        JsonObject again = Cli.Run(TextTables.Finetune(body, data, scratch["two"], "--max-steps", "10", "--json")).Succeeded().Json;
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(File.ReadAllText(scratch["one", "results.json"]))!["baselines"], again["baselines"]));
    }

    [Fact]
    public void A_table_of_numbers_has_boosted_trees_beside_it()
    {
        using var scratch = new Scratch();
        string Row(int i) => string.Create(CultureInfo.InvariantCulture, $"{Math.Sin(i * 1.7):F3},{Math.Cos(i * 2.3):F3},{(Math.Sin(i * 1.7) * Math.Cos(i * 2.3) > 0 ? "same" : "other")}");
        string data = scratch.Write("numbers.csv", "a,b,signs\n" + string.Join('\n', Enumerable.Range(0, 600).Select(Row)) + "\n");
        JsonObject baselines = Cli.Run(
            "finetune", "--task", "csv", "--backbone", "gpt2-tiny", "--init", "random", "--data", data, "--label-column", "signs", "--max-steps", "5", "--output-dir", scratch["run"], "--json")
            .Succeeded().Json["baselines"]!.AsObject();
        Assert.InRange((double)baselines["strong"]!["boosted-trees"]!, 0.9, 1);
        Assert.InRange((double)baselines["trivial"]!["linear"]!, 0.3, 0.7);
        JsonObject alone = Cli.Run("baselines", "--data", data, "--label-column", "signs", "--strong", "--json").Succeeded().Json["baselines"]!.AsObject();
        Assert.Equal(baselines["strong"]!["boosted-trees"]!.ToJsonString(), alone["strong"]!["boosted-trees"]!.ToJsonString());
    }
}
