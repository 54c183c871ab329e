using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Models;

namespace Permafrost.Cli.Commands;

internal static class GenerateCommand
{
    private static readonly Option<string> Backbone = new("--backbone")
    {
        Description = "a model folder or a model in the Hugging Face cache, with a language-model head and a tokenizer",
        Required = true,
        HelpName = "REF",
    };

    private static readonly Option<string?> Prompt = new("--prompt") { Description = "a text to go on with, or for an encoder-decoder to answer", HelpName = "TEXT" };
    private static readonly Option<string?> Input = new("--input") { Description = "prompts, one a line; - for standard input", HelpName = "FILE|-" };
    private static readonly Option<bool> JsonLines = new("--json-lines")
    {
        Description = "each line of the input is a JSON string, or an object with \"text\": for prompts that hold line ends",
    };

    private static readonly Option<int> MaxNewTokens = new("--max-new-tokens") { Description = "the most new tokens", DefaultValueFactory = _ => 50, HelpName = "N" };
    private static readonly Option<double?> Temperature = new("--temperature")
    {
        Description = "draw tokens by their probabilities, of logits divided by this; the most probable one is taken otherwise",
    };

    private static readonly Option<int?> TopK = new("--top-k") { Description = "draw among the K most probable tokens", HelpName = "K" };
    private static readonly Option<double?> TopP = new("--top-p")
    {
        Description = "draw among the fewest most probable tokens that have this much probability together",
        HelpName = "P",
    };

    private static readonly Option<int> Beams = new("--num-beams")
    {
        Description = "sequences that are followed at once, of which the most probable is given",
        DefaultValueFactory = _ => 1,
        HelpName = "N",
    };

    private static readonly Option<long> Seed = new("--seed") { Description = "the seed of what is drawn; a prompt's draws follow from it and from the prompt's number" };
    private static readonly Option<string?> Skip = new("--skip-weights")
    {
        Description = "tensors of the checkpoint to leave out, such as another head's: patterns with commas",
        HelpName = "TEXT",
    };

    private static readonly Option<bool> Json = new("--json")
    {
        Description = "print one JSON object a prompt: prompt, text, ids, and ended, whether the model ended the text itself",
    };

    public static Command Create()
    {
        var command = new Command("generate", "let a language model write: what follows each prompt, a line a prompt");
        foreach (Option option in new Option[] { Backbone, Prompt, Input, JsonLines, MaxNewTokens, Temperature, TopK, TopP, Beams, Seed, Skip, Json }) command.Add(option);
        command.SetAction((parsed, cancellation) => Task.FromResult(Run(parsed, cancellation)));
        return command;
    }

    private static int Run(ParseResult parsed, CancellationToken cancellation)
    {
        (string? prompt, string? input) = (parsed.GetValue(Prompt), parsed.GetValue(Input));
        if (prompt is null == input is null) throw new UsageException("give either --prompt or --input");
        BackboneSource source = BackboneSource.Resolve(parsed.GetRequiredValue(Backbone));
        if (source.Note is { } note) Output.Note(note);
        using var generator = TextGenerator.Load(source, parsed.GetValue(Skip));
        GenerationOptions options = Options(parsed, generator);
        bool json = parsed.GetValue(Json), inJson = parsed.GetValue(JsonLines);
        if (inJson && prompt is not null) throw new UsageException("--json-lines says how --input is read; leave it out beside --prompt");
        if (prompt is not null)
        {
            Output.Line(Line(prompt, generator.Generate(prompt, options), json));
            return 0;
        }
        long number = 0;
        InputLines.Answer(input!, (where, line, output) =>
        {
            string text = inJson ? TokenLines.FromJson(line, where) : line;
            output.WriteLine(Line(text, Generated(where, text, generator, options with { Seed = options.Seed + number++ }), json));
        }, cancellation);
        return 0;
    }

    private static GenerationOptions Options(ParseResult parsed, TextGenerator generator)
    {
        (double? temperature, int? topK, double? topP) = (parsed.GetValue(Temperature), parsed.GetValue(TopK), parsed.GetValue(TopP));
        int most = parsed.GetValue(MaxNewTokens), beams = parsed.GetValue(Beams);
        if (most < 1) throw new UsageException($"--max-new-tokens is {most}; it must be at least 1");
        bool samples = temperature is not null || topK is not null || topP is not null;
        if (samples && beams > 1) throw new UsageException("--num-beams follows the most probable sequences, and --temperature, --top-k and --top-p draw one; leave out either");
        if (beams is < 1 or > 1000) throw new UsageException($"--num-beams is {beams}; it must be between 1 and 1,000");
        GenerationOptions options = generator.Greedy(most) with { Beams = beams, Sample = samples, Seed = parsed.GetValue(Seed) };
        return options with { Temperature = temperature ?? 1, TopK = topK ?? 0, TopP = topP ?? 1 };
    }

    private static GeneratedText Generated(string where, string prompt, TextGenerator generator, GenerationOptions options)
    {
        try
        {
            return generator.Generate(prompt, options);
        }
        catch (PermafrostException error) when (error is not UsageException)
        {
            throw new PermafrostException($"{where}: {error.Message}");
        }
    }

    private static string Line(string prompt, GeneratedText made, bool json)
    {
        // A text's own line ends would make several lines of it.
        if (!json) return made.Text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\r", "\\r", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
        var ids = new JsonArray([.. made.Ids.Select(id => (JsonNode)id)]);
        return new JsonObject { ["prompt"] = prompt, ["text"] = made.Text, ["ids"] = ids, ["ended"] = made.Ended }.ToJsonString();
    }
}
