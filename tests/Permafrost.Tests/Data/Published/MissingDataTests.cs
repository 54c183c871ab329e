using Permafrost.Data.Published;
using Permafrost.Tasks;

namespace Permafrost.Tests.Data.Published;

/// <summary>A task whose data is not here says which command fetches it, and reads what that command brings.</summary>
[Collection(ProcessWide.Name)]
public sealed class MissingDataTests : IDisposable
{
    private static readonly string[] Variables = ["PERMAFROST_DATA", "PERMAFROST_HOME"];

    private readonly TemporaryFolder folder = new();
    private readonly string?[] before = [.. Variables.Select(Environment.GetEnvironmentVariable)];

    public MissingDataTests()
    {
        Environment.SetEnvironmentVariable("PERMAFROST_DATA", null);
        Environment.SetEnvironmentVariable("PERMAFROST_HOME", folder["home"]);
    }

    public void Dispose()
    {
        for (int i = 0; i < Variables.Length; i++) Environment.SetEnvironmentVariable(Variables[i], before[i]);
        folder.Dispose();
    }

    public static TheoryData<string> Published() => [.. PublishedDataSets.All.SelectMany(set => set.Tasks)];

    [Theory]
    [MemberData(nameof(Published))]
    public void The_command_is_named(string task)
    {
        string name = PublishedDataSets.Find(task)!.Name;
        PermafrostException refused = Assert.Throws<PermafrostException>(() => TaskRegistry.Find(task).Task.Load(new TaskOptions()));
        Assert.Contains($"permafrost data fetch {name}`", refused.Message, StringComparison.Ordinal);
        Assert.Contains(folder["home", "data", name], refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_fetched_is_read_from_the_cache()
    {
        using var server = new RangeServer();
        server.Files["train_5500.label"] = "NUM:date When did it begin ?\nLOC:city Which town is the largest ?\nNUM:date What year was it ?\nHUM:ind Who was he ?\n"u8.ToArray();
        server.Files["TREC_10.label"] = "NUM:dist How far is it ?\n"u8.ToArray();
        await PublishedDataSets.Find("trec")!.FetchAsync(folder["home", "data", "trec"], server.Address, cancellation: TestContext.Current.CancellationToken);
        using TaskData data = TaskRegistry.Find("trec").Task.Load(new TaskOptions { Tokenizer = () => Tokenizers.SmallTokenizer.Instance });
        Assert.Equal((3, 1, 1), (data.Train.Count, data.Validation!.Count, data.Test!.Count));
    }
}
