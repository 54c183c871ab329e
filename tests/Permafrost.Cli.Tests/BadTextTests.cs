using System.Text;

namespace Permafrost.Cli.Tests;

/// <summary>Tables and texts that cannot be: each is refused in one sentence that names file and line, and no run is left behind.</summary>
public sealed class BadTextTests : IDisposable
{
    private readonly Scratch scratch = new();

    public void Dispose() => scratch.Dispose();

    private void Refused(string table, string[] mentions, int code = 1, params string[] more) => Refused(Encoding.UTF8.GetBytes(table), mentions, code, more);

    private void Refused(byte[] table, string[] mentions, int code = 1, params string[] more)
    {
        InProcess.Run(TextTables.Finetune(TextTables.Body(scratch), scratch.Write("given.csv", table), scratch["run"], more)).Refused(code, mentions);
        Assert.Empty(Scratch.Left(scratch["run"]));
    }

    [Theory]
    [InlineData("", "given.csv is empty")]
    [InlineData("review,verdict\n", "holds a header and no rows")]
    [InlineData("review,verdict\nfine,good\n,bad\n", "given.csv:3", "'review' is empty")]
    [InlineData("review,verdict\nfine,good\n\"  \",bad\n", "given.csv:3", "'review' is empty")]
    [InlineData("review,verdict\nfine,good\nbad,\n", "given.csv:3", "'verdict' is empty")]
    [InlineData("review,verdict\nfine,good\n\"\u200b\u0001\",bad\n", "given.csv:3", "no token of the backbone's vocabulary")]
    [InlineData("review,verdict\nfine,good\nbad,bad,more\n", "given.csv:3", "3 columns", "2")]
    [InlineData("review,verdict\nfine,good\n\"bad,bad\n", "given.csv:3", "quote")]
    [InlineData("text,verdict\nfine,good\n", "no column 'review'", "text, verdict")]
    [InlineData("review,label\nfine,good\n", "no column 'verdict'", "review, label")]
    [InlineData("review,verdict\nfine,good\nbetter,good\n", "every row has the label 'good'")]
    public void A_table_that_cannot_be_trained_on_is_refused(string table, params string[] mentions) => Refused(table, mentions);

    [Fact]
    public void Bytes_that_are_no_UTF_8_are_refused_with_their_line() =>
        Refused([.. "review,verdict\nfine,good\nb"u8, 0xff, .. "d,bad\n"u8], ["given.csv:3", "UTF-8"]);

    [Theory]
    [InlineData("--validation-data")]
    [InlineData("--test-data")]
    public void A_label_that_no_training_row_has_is_refused(string flag) =>
        Refused("review,verdict\nfine,good\npoor,bad\n", ["other.csv:2", "'ugly'"], 1, flag, scratch.Write("other.csv", "review,verdict\nso so,ugly\n"));

    [Fact]
    public void Columns_and_lengths_that_do_not_fit_are_refused()
    {
        string table = "review,verdict\nfine,good\npoor,bad\n";
        Refused(table, ["--max-length is 65", "64 positions"], 2, "--max-length", "65");
        Refused(table, ["--max-length is 2"], 2, "--max-length", "2");
        Refused(table, ["no-such.csv does not exist"], 1, "--test-data", scratch["no-such.csv"]);
        string[] numbers = [.. TextTables.Finetune(TextTables.Body(scratch), scratch.Write("given.csv", table), scratch["run"]).Where(word => word is not ("--text-column" or "review"))];
        InProcess.Run(numbers).Refused(1, "given.csv:2", "'fine' in the column 'review' is not a number", "texts");
    }

    [Fact]
    public void A_body_without_a_tokenizer_takes_no_texts()
    {
        string table = TextTables.Write(scratch, "train.csv", 20);
        InProcess.Run(TextTables.Finetune("gpt2-tiny", table, scratch["run"])).Refused(2, "--task csv feeds texts", "tokenizer");
        InProcess.Run("finetune", "--task", "word-kinds", "--backbone", "gpt2-tiny", "--init", "random", "--output-dir", scratch["run"]).Refused(2, "--task word-kinds", "tokenizer");
    }

    [Fact]
    public void Labels_with_too_few_rows_leave_nothing_to_score_and_that_is_said()
    {
        CliResult result = InProcess.Run(TextTables.Finetune(TextTables.Body(scratch), scratch.Write("few.csv", "review,verdict\nfine,good\npoor,bad\n"), scratch["run"], "--max-steps", "2")).Succeeded();
        Assert.Contains("no label has rows enough", result.Error, StringComparison.Ordinal);
        Assert.Contains("--test-data", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void What_cannot_be_answered_is_refused_with_its_line()
    {
        InProcess.Run(TextTables.Finetune(TextTables.Body(scratch), TextTables.Write(scratch, "train.csv", 20), scratch["run"], "--max-steps", "2", "--no-baselines")).Succeeded();
        void Answer(string name, byte[] content, params string[] mentions) => InProcess.Run("predict", scratch["run"], "--input", scratch.Write(name, content)).Failed(1, mentions);
        Answer("bytes.txt", [.. "fine\n"u8, 0xff, .. "\n"u8], "bytes.txt:2", "UTF-8");
        Answer("empty.txt", [], "holds no input");
        Answer("blank.txt", "\n  \n"u8.ToArray(), "holds no input");
        Answer("control.txt", "fine\n\u0001\u0002\n"u8.ToArray(), "control.txt:2", "no token");
        Answer("columns.csv", "text\nfine\n"u8.ToArray(), "no column 'review'");
    }
}
