using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Permafrost.Cli.Tests;

/// <summary>What a program left when it ended.</summary>
internal sealed partial record CliResult(string[] Arguments, int ExitCode, string Output, string Error)
{
    /// <summary>Standard output as one JSON object.</summary>
    public JsonObject Json => JsonNode.Parse(Output) as JsonObject ?? throw new InvalidOperationException($"no JSON object: {this}");

    /// <summary>Standard output's lines.</summary>
    public string[] Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>It ended well.</summary>
    public CliResult Succeeded()
    {
        Assert.True(ExitCode == 0, ToString());
        Assert.DoesNotContain("   at ", Error, StringComparison.Ordinal);
        return this;
    }

    /// <summary>It refused, before doing anything: the exit code, no output, and on standard error one sentence that names what is wrong (DESIGN section 7).</summary>
    public void Refused(int exitCode, params string[] mentions)
    {
        Failed(exitCode, mentions);
        Assert.True(Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length == 1, $"more than one line: {this}");
        Assert.True(Output.Length == 0, $"output in spite of an error: {this}");
    }

    /// <summary>It failed, maybe after remarks about its progress: the exit code, and as last line the sentence that says why.</summary>
    public void Failed(int exitCode, params string[] mentions)
    {
        Assert.True(ExitCode == exitCode, $"exit code {exitCode} was expected: {this}");
        Assert.DoesNotContain("   at ", Error + Output, StringComparison.Ordinal);
        string[] lines = Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(lines.Length > 0 && lines[^1].StartsWith("permafrost: ", StringComparison.Ordinal) && lines.Count(line => line.StartsWith("permafrost: ", StringComparison.Ordinal)) == 1, $"no single 'permafrost: ...' at the end: {this}");
        string sentence = lines[^1]["permafrost: ".Length..];
        Assert.False(SentenceEnd().IsMatch(sentence) || sentence.EndsWith('.'), $"not one sentence: {sentence}");
        Assert.False(sentence.Contains("Exception", StringComparison.Ordinal), $"an internal name: {sentence}");
        foreach (string mention in mentions) Assert.True(sentence.Contains(mention, StringComparison.Ordinal), $"'{mention}' is not named: {sentence}");
    }

    public override string ToString() => Writable($"permafrost {string.Join(' ', Arguments)}\nexit code {ExitCode}\n--- output\n{Output}\n--- error\n{Error}");

    // A terminal's commands would make the file of results one that no reader of XML takes.
    private static string Writable(string text) => string.Concat(text.Select(c => c < ' ' && c is not '\n' and not '\t' ? (char)(0x2400 + c) : c));

    [GeneratedRegex(@"\. [A-Z]")]
    private static partial Regex SentenceEnd();
}
