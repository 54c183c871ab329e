namespace Permafrost.Tests;

public class SmokeTests
{
    [Fact]
    public void Repository_root_is_found() => Assert.True(File.Exists(Path.Combine(Shared.Repository.Root, "Permafrost.slnx")));
}
