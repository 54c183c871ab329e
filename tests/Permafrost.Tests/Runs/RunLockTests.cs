using Permafrost.Formats;
using Permafrost.Runs;

namespace Permafrost.Tests.Runs;

/// <summary>A run's folder is held by one process at a time.</summary>
public sealed class RunLockTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_folder_that_is_held_is_named_as_such_and_free_afterwards()
    {
        using (var held = new RunLock(folder.Path))
        {
            Assert.Null(RunLock.TryTake(folder.Path));
            Assert.Contains("in use by another process", Refusal.Of(folder.Path, () => new RunLock(folder.Path).Dispose()), StringComparison.Ordinal);
        }
        using RunLock? free = RunLock.TryTake(folder.Path);
        Assert.NotNull(free);
    }

    [Fact]
    public void A_folder_that_is_not_there_is_not_taken_for_one_that_is_held()
    {
        Assert.Contains("cannot be written", Refusal.Of(folder["gone"], () => RunLock.TryTake(folder["gone"])), StringComparison.Ordinal);
        Assert.Contains("cannot be written", Refusal.Of(folder["gone"], () => new RunLock(folder["gone"]).Dispose()), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(11, true)]
    [InlineData(35, true)]
    [InlineData(unchecked((int)0x80070020), true)]
    [InlineData(2, false)]
    [InlineData(28, false)]
    public void Every_system_says_it_in_its_own_number(int number, bool isHeld) => Assert.Equal(isHeld, FileLock.IsHeld(new IOException("refused", number)));
}
