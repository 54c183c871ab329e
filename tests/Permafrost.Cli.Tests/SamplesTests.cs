namespace Permafrost.Cli.Tests;

/// <summary>The programs in samples/: small, and doing what they say.</summary>
public class SamplesTests
{
    private const int MostLines = 60;

    private static string Folder => Path.Combine(Repository.Root, "samples");

    public static TheoryData<string, string, double> Samples() => new()
    {
        { "ClassifyTexts", "test accuracy ", 60 },
        { "TrainOnCsv", "test accuracy ", 80 },
        { "TorchSharpLoop", "accuracy ", 60 },
        { "ManyOnOneBody", "rises: test accuracy ", 70 },
        { "OwnTask", "accuracy ", 50 },
        { "OwnBackbone", "accuracy ", 65 },
    };

    [Fact]
    public void Every_sample_is_run_and_none_is_long()
    {
        string[] samples = [.. Directory.EnumerateDirectories(Folder).Select(path => Path.GetFileName(path)).Order()];
        Assert.Equal(samples, Samples().Select(row => row.Data.Item1).Order());
        Assert.All(samples, sample => Assert.InRange(File.ReadLines(Path.Combine(Folder, sample, "Program.cs")).Count(), 10, MostLines - 1));
    }

    [Theory]
    [MemberData(nameof(Samples))]
    public void It_reaches_what_it_shows(string sample, string before, double least)
    {
        CliSettings settings = sample == "ClassifyTexts" ? BodyInTheBox.Settings() : new CliSettings();
        CliResult result = Cli.Shell(settings, $"dotnet '{Path.Combine(Repository.Root, "artifacts", "bin", sample, "release", sample + ".dll")}'").Succeeded();
        string line = result.Output.Split('\n').First(text => text.StartsWith(before, StringComparison.Ordinal));
        double percent = double.Parse(line[before.Length..].Split('%')[0].Trim(), System.Globalization.CultureInfo.InvariantCulture);
        Assert.InRange(percent, least, 100);
    }
}
