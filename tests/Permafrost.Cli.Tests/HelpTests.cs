using System.CommandLine;
using System.Text;

namespace Permafrost.Cli.Tests;

/// <summary>`--help` of the program and of each verb: complete, and as it was when it was last looked at.</summary>
public class HelpTests
{
    /// <summary>Every verb as it is typed; the program itself is the empty text.</summary>
    public static TheoryData<string> Verbs() => [.. All("", CommandLine.Root()).Select(pair => pair.Verb)];

    [Fact]
    public void The_reference_is_what_the_program_says()
    {
        var text = new StringBuilder("# Command line\n\nWhat `--help` prints, verb by verb. A test writes this file: `PERMAFROST_UPDATE_EXPECTATIONS=1 ./test --filter HelpTests`.\n");
        foreach ((string verb, _) in All("", CommandLine.Root()))
        {
            CliResult result = InProcess.Run([.. verb.Split(' ', StringSplitOptions.RemoveEmptyEntries), "--help"]).Succeeded();
            Assert.Empty(result.Error);
            string help = string.Join('\n', result.Output.Split('\n').Select(line => line.TrimEnd())).Trim();
            text.Append($"\n## {$"permafrost {verb}".TrimEnd()}\n\n```\n{help}\n```\n");
        }
        Expectation.Check("docs/cli.md", text.ToString());
    }

    [Theory]
    [MemberData(nameof(Verbs))]
    public void Everything_is_described(string verb)
    {
        Command command = All("", CommandLine.Root()).Single(pair => pair.Verb == verb).Command;
        foreach (Symbol symbol in new Symbol[] { command }.Concat(command.Options.Where(option => !option.Hidden)).Concat(command.Arguments).Concat(command.Subcommands))
        {
            Assert.False(string.IsNullOrWhiteSpace(symbol.Description), $"permafrost {verb}: {symbol.Name} has no description");
            Assert.True(symbol.Description.Length < 160 && !symbol.Description.Contains('\n', StringComparison.Ordinal), $"permafrost {verb}: {symbol.Name} has more than a line: {symbol.Description}");
        }
    }

    [Fact]
    public void Every_verb_that_prints_a_result_takes_json()
    {
        string[] without = [.. All("", CommandLine.Root()).Where(pair => pair.Command.Subcommands.Count == 0 && pair.Command.Options.All(option => option.Name != "--json")).Select(pair => pair.Verb)];
        // They print a folder's name.
        Assert.Equal(["data where", "data fetch"], without);
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
        foreach (string verb in new[] { "quickstart", "finetune", "evaluate", "predict", "forward", "ls", "show", "data", "env" }) Assert.Contains($"\n  {verb}", help, StringComparison.Ordinal);
    }

    [Fact]
    public void The_version_is_a_line()
    {
        CliResult result = Cli.Run("--version").Succeeded();
        Assert.Matches(@"^\d+\.\d+\.\d+", Assert.Single(result.Lines));
        Assert.Empty(result.Error);
    }

    private static IEnumerable<(string Verb, Command Command)> All(string verb, Command command) =>
        command.Subcommands.SelectMany(inner => All($"{verb} {inner.Name}".Trim(), inner)).Prepend((verb, command));
}
