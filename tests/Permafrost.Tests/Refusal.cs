namespace Permafrost.Tests;

/// <summary>What DESIGN section 7 asks of an error: one clear sentence, on one line, that names the file, line or option.</summary>
public static class Refusal
{
    /// <summary>The message of the <see cref="PermafrostException"/> that <paramref name="action"/> must end in, checked to be one line that names <paramref name="what"/>.</summary>
    public static string Of(string what, Action action) => Check(what, Assert.ThrowsAny<PermafrostException>(action));

    /// <summary>The same for a wrong option or configuration, exit code 2.</summary>
    public static string OfUsage(string what, Action action)
    {
        UsageException error = Assert.Throws<UsageException>(action);
        Assert.Equal(2, error.ExitCode);
        return Check(what, error);
    }

    private static string Check(string what, PermafrostException error)
    {
        Assert.Contains(what, error.Message, StringComparison.Ordinal);
        Assert.True(!error.Message.Any(char.IsControl), $"control characters in: {error.Message}");
        return error.Message;
    }
}
