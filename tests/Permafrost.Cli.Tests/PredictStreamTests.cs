using System.Diagnostics;

namespace Permafrost.Cli.Tests;

/// <summary>`predict` as part of a pipe: an answer for each line as it comes, and no more memory for many lines than for few.</summary>
public class PredictStreamTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    [Fact]
    public async Task The_first_line_is_answered_before_the_second_is_written()
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(CliSettings.Patience);
        using CliProcess process = Cli.Start(new CliSettings { Interactive = true }, "predict", run.Folder, "--input", "-");
        foreach ((string line, int number) in new[] { ("0110110001", 0), ("1111100000", 1), ("0000011111", 2) })
        {
            await process.WriteLine(line);
            string? answer = await process.ReadLine(patience.Token);
            Assert.StartsWith($"{number}\t", answer, StringComparison.Ordinal);
        }
        process.CloseInput();
        Assert.Null(await process.ReadLine(patience.Token));
        process.WaitForExit(CliSettings.Patience).Succeeded();
    }

    [Fact]
    public void Memory_does_not_grow_with_the_number_of_lines()
    {
        using var scratch = new Scratch();
        long few = Peak(scratch, 2_000), many = Peak(scratch, 200_000);
        Assert.True(many - few < 100L << 20, $"{many >> 20} MB for 200,000 lines, {few >> 20} MB for 2,000");
    }

    // The largest resident memory of the process, in bytes, as Linux keeps it until the process is gone.
    private long Peak(Scratch scratch, int lines)
    {
        string input = scratch[$"{lines}.txt"], output = scratch[$"{lines}.jsonl"];
        File.WriteAllLines(input, Enumerable.Range(0, lines).Select(i => Convert.ToString(i * 13 % 1024, 2).PadLeft(10, '0')));
        using CliProcess process = Cli.Start(new CliSettings(), "predict", run.Folder, "--input", input, "--output", output, "--per-device-eval-batch-size", "1000");
        long peak = 0;
        var clock = Stopwatch.StartNew();
        while (!process.HasExited && clock.Elapsed < CliSettings.Patience)
        {
            peak = Math.Max(peak, process.PeakMemory);
            Thread.Sleep(10);
        }
        process.WaitForExit(CliSettings.Patience).Succeeded();
        Assert.Equal(lines, File.ReadLines(output).Count());
        Assert.True(peak > 0);
        return peak;
    }
}
