using System.CommandLine;
using Permafrost.Runs;

namespace Permafrost.Cli.Tests;

/// <summary>`--help` of the program and of each verb: complete, and as it was when it was last looked at.</summary>
public class HelpTests
{
    /// <summary>Every verb as it is typed; the program itself is the empty text.</summary>
    public static TheoryData<string> Verbs() => [.. CliReference.Verbs("", CommandLine.Root(new StopRequest())).Select(pair => pair.Verb)];

    [Fact]
    public void The_reference_is_what_the_program_says() => Expectation.Check("docs/cli.md", CliReference.Write());

    [Theory]
    [MemberData(nameof(Verbs))]
    public void Everything_is_described(string verb)
    {
        Command command = CliReference.Verbs("", CommandLine.Root(new StopRequest())).Single(pair => pair.Verb == verb).Command;
        foreach (Symbol symbol in new Symbol[] { command }.Concat(command.Options.Where(option => !option.Hidden)).Concat(command.Arguments).Concat(command.Subcommands))
        {
            Assert.False(string.IsNullOrWhiteSpace(symbol.Description), $"permafrost {verb}: {symbol.Name} has no description");
            Assert.True(symbol.Description.Length < 160 && !symbol.Description.Contains('\n', StringComparison.Ordinal), $"permafrost {verb}: {symbol.Name} has more than a line: {symbol.Description}");
        }
    }

    [Fact]
    public void Every_verb_that_prints_a_result_takes_json()
    {
        string[] without = [.. CliReference.Verbs("", CommandLine.Root(new StopRequest())).Where(pair => pair.Command.Subcommands.Count == 0 && pair.Command.Options.All(option => option.Name != "--json")).Select(pair => pair.Verb)];
        // They print a script, or a folder's name.
        Assert.Equal(["study script", "data where", "data fetch"], without);
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("-h")]
    [InlineData("-?")]
    [InlineData("")]
    public void The_program_explains_itself(string arguments)
    {
        string help = Cli.Run(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Succeeded().Output;
        Assert.Equal(Cli.Run("--help").Output, help);
        foreach (string verb in new[] { "quickstart", "finetune", "evaluate", "predict", "forward", "ls", "show", "tokenizer", "data", "env" }) Assert.Contains($"\n  {verb}", help, StringComparison.Ordinal);
    }

    [Fact]
    public void The_version_is_a_line()
    {
        CliResult result = Cli.Run("--version").Succeeded();
        Assert.Matches(@"^\d+\.\d+\.\d+", Assert.Single(result.Lines));
        Assert.Empty(result.Error);
    }
}
