using System.CommandLine;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Pretraining;
using Permafrost.Runs;

namespace Permafrost.Cli.Commands;

internal static class PretrainCommand
{
    // Options of which several values make one, with commas between them.
    private static readonly string[] Lists = ["data", "held_out"];

    public static Command Create(StopRequest stop)
    {
        var command = new Command("pretrain", "train a language model from random weights on text, and write it as a Hugging Face folder");
        var config = new Option<string?>("--config") { Description = "a YAML file with options; flags win over it", HelpName = "FILE" };
        var resume = new Option<string?>("--resume-from-checkpoint") { Description = "go on where the pretraining in this folder stopped, with its own options", HelpName = "DIR" };
        Option<bool> json = CommonOptions.Json();
        List<(PretrainingOptionField Field, Option Option)> flags = [.. PretrainingOptionTable.All.Select(field => (field, Flag(field)))];
        foreach ((_, Option option) in flags) command.Add(option);
        foreach (Option option in new Option[] { config, resume, json }) command.Add(option);
        command.SetAction(parsed =>
        {
            string line = "permafrost " + string.Join(' ', parsed.Tokens.Select(token => ShellWord.Quoted(token.Value)));
            PretrainingOptions Given(PretrainingOptions options)
            {
                if (parsed.GetValue(config) is { } path) options = PretrainingOptionTable.Load(path, options);
                foreach ((PretrainingOptionField field, Option option) in flags)
                    if (parsed.GetResult(option) is { Implicit: false }) options = PretrainingOptionTable.With(options, field.Key, Text(parsed, option), $"--{field.Dashed}");
                return options;
            }
            ProcessGroup group = Processes.Join();
            string? begun = parsed.GetValue(resume);
            if (begun is not null ? BitMemoryPretraining.IsIn(begun) : Given(new PretrainingOptions()).ObjectiveName == PretrainingOptions.BitMemory)
            {
                if (group.Size > 1) throw new UsageException($"--objective {PretrainingOptions.BitMemory} trains in one process; start it without mpirun or srun");
                if (begun is not null && flags.FirstOrDefault(flag => parsed.GetResult(flag.Option) is { Implicit: false }).Option is { } changed)
                    throw new UsageException($"{changed.Name}: a pretraining with --objective {PretrainingOptions.BitMemory} goes on with its own options; leave it out");
                BitMemoryPretraining run = begun is null ? BitMemoryPretraining.Begin(Given(new PretrainingOptions())) : BitMemoryPretraining.Resume(begun, Output.Note);
                return WithoutText(run, line, parsed.GetValue(json), stop);
            }
            return PretrainingProgress.Show(group.IsFirst, progress =>
            {
                using PretrainingRun run = begun is not null
                    ? PretrainingRun.Resume(begun, Given, line, progress, group, stop.Token)
                    : PretrainingRun.Begin(Given(new PretrainingOptions()), line, progress, group, stop.Token);
                PretrainingResult result = run.Train(stop);
                if (!group.IsFirst) return 0;
                if (parsed.GetValue(json)) Output.Json(result.ToJson());
                else Output.Line($"the model is in {run.ModelPath}; its README.md says what it came to");
                return 0;
            });
        });
        return command;
    }

    private static int WithoutText(BitMemoryPretraining begun, string line, bool json, StopRequest stop)
    {
        using BitMemoryPretraining run = begun;
        RunResult result = TrainingProgress.Show(progress => run.Train(line, progress, stop));
        if (json) Output.Json(result.ToJson());
        else Output.Line($"the body is in {run.ModelPath}; its README.md says what it came to");
        return 0;
    }

    private static Option Flag(PretrainingOptionField field)
    {
        string help = OptionWords.AsFlags(field.Help), fallback = field.Format(new PretrainingOptions());
        if (field.IsSwitch)
        {
            string state = fallback == "true" ? $"on; --{field.Dashed} false turns it off" : "off";
            return new Option<bool?>($"--{field.Dashed}") { Description = $"{help} [default: {state}]", Arity = ArgumentArity.ZeroOrOne };
        }
        string description = fallback.Length > 0 ? $"{help} [default: {fallback}]" : help;
        return Lists.Contains(field.Key)
            ? new Option<string[]>($"--{field.Dashed}") { Description = description, AllowMultipleArgumentsPerToken = true, HelpName = field.Key == "data" ? "PATH" : "NAME" }
            : new Option<string>($"--{field.Dashed}") { Description = description, HelpName = field.Key is "tokenizer" or "output_dir" ? "DIR" : "VALUE" };
    }

    private static string Text(ParseResult parsed, Option option) => option switch
    {
        Option<bool?> on => parsed.GetValue(on) is false ? "false" : "true",
        // A path that is there is one, whatever its name holds.
        Option<string[]> list => string.Join(",", (parsed.GetValue(list) ?? []).Select(one => Path.Exists(one) ? PretrainingOptions.Entry(one) : one)),
        Option<string> value => parsed.GetValue(value) ?? "",
        _ => throw new InvalidOperationException(option.Name),
    };
}
