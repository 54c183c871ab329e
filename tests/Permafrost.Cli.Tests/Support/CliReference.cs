using System.CommandLine;
using System.Text;
using Permafrost.Runs;
using Permafrost.Training.Options;

namespace Permafrost.Cli.Tests;

/// <summary>docs/cli.md, from the program itself: what holds for every verb, the options of a run as config.yaml has them, and each verb's `--help`.</summary>
internal static class CliReference
{
    private const string Head = """
        # Command line

        This file is generated from the program's own help, so change the help text and not this file. After a change, a test writes it anew:
        `PERMAFROST_UPDATE=1 ./test --all --filter HelpTests`. Without the variable the same test fails where this file is out of date.

        ## Exit codes

        | code | meaning |
        | --- | --- |
        | 0 | done |
        | 1 | failed; one sentence on standard error says why and what to do |
        | 2 | wrong usage or configuration |
        | 3 | diverged: the loss or the gradient norm is not finite |
        | 75 | stopped with a checkpoint by `--max-time`, SIGTERM or SIGUSR1; `finetune --resume-from-checkpoint` goes on |
        | 130 | stopped by Ctrl-C; a training writes a checkpoint first |
        | 143 | a verb that has nothing to save was stopped by SIGTERM or SIGUSR1 |

        ## Which value wins

        An option of a run starts at its default. Each `--config` file goes over that, in the order given, then each `--set`, then the flags. With `--resume-from-checkpoint`
        the run's own `config.yaml` takes the place of the defaults. A flag may be written with underscores (`--learning_rate`). A switch takes `--no-` in front.

        ## Options of a run

        `config.yaml` holds the options in groups. A key's flag is the key with dashes, without its group (`--learning-rate`); a map such as `task_options` has no flag, and is set
        with `--set task_options.length=8`. `--set` takes a key with or without its group, and a file without groups is read too. The last column says what happens when a run
        goes on from a checkpoint with another value. `--allow-changes` accepts a change of the result, or of the length, by the option's key.

        """;

    /// <summary>The whole file.</summary>
    public static string Write()
    {
        var text = new StringBuilder(Head);
        text.Append("\n| group | key | default | another value when resuming |\n| --- | --- | --- | --- |\n");
        foreach (OptionField field in OptionTable.All.OrderBy(field => field.Group.Length > 0))
            text.Append($"| {field.Group} | `{field.Key}{(field.IsMap ? ".NAME" : "")}` | {Code(field.DefaultText)} | {(field.Key == "output_dir" ? "refused: a run goes on in its own folder" : OnResume(field.Affects))} |\n");
        foreach ((string verb, _) in Verbs("", CommandLine.Root(new StopRequest())))
        {
            CliResult result = InProcess.Run([.. verb.Split(' ', StringSplitOptions.RemoveEmptyEntries), "--help"]).Succeeded();
            Assert.Empty(result.Error);
            string help = string.Join('\n', result.Output.Split('\n').Select(line => line.TrimEnd())).Trim();
            text.Append($"\n## {$"permafrost {verb}".TrimEnd()}\n\n```\n{help}\n```\n");
        }
        return text.ToString();
    }

    /// <summary>Every verb as it is typed; the program itself is the empty text.</summary>
    public static IEnumerable<(string Verb, Command Command)> Verbs(string verb, Command command) =>
        command.Subcommands.SelectMany(inner => Verbs($"{verb} {inner.Name}".Trim(), inner)).Prepend((verb, command));

    private static string Code(string text) => text.Length == 0 ? "" : $"`{text}`";

    private static string OnResume(Affects affects) => affects switch
    {
        Affects.Result => "refused: the result would change",
        Affects.Length => "accepted while the learning rate does not depend on the length",
        Affects.Place => "accepted; backbone and data must have the same content",
        Affects.Nothing => "accepted",
        _ => throw new ArgumentOutOfRangeException(nameof(affects)),
    };
}
