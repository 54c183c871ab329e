using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Pretraining;

namespace Permafrost.Cli.Commands;

internal static class TokenizerTrainCommand
{
    public static Command Create()
    {
        var data = new Option<string[]>("--data")
        {
            Description = "text files or folders with them: .txt or .jsonl, packed by gzip or not",
            AllowMultipleArgumentsPerToken = true,
            Required = true,
            HelpName = "PATH",
        };
        var output = new Option<string>("--output-dir")
        {
            Description = "the folder to write tokenizer.json, vocab.json, merges.txt and tokenizer_config.json to",
            Required = true,
            HelpName = "DIR",
        };
        var size = new Option<int>("--vocabulary-size") { Description = "tokens, special ones included", DefaultValueFactory = _ => 8192 };
        var style = new Option<string>("--style")
        {
            Description = "the models it is for, which decides the special tokens: gpt2, bert, or t5 with its 100 sentinels",
            DefaultValueFactory = _ => "gpt2",
        };
        var least = new Option<int>("--min-frequency") { Description = "pairs that are rarer are not merged", DefaultValueFactory = _ => 2 };
        var heldOut = new Option<string[]>("--held-out")
        {
            Description = "files or documents that are not read, as for pretrain: names with * and ?, or NAME:5%",
            AllowMultipleArgumentsPerToken = true,
            HelpName = "NAME",
        };
        var command = new Command("train", "learn a byte-level BPE vocabulary from text, and write it as Hugging Face does");
        Option<bool> json = CommonOptions.Json();
        foreach (Option option in new Option[] { data, output, size, style, least, heldOut, json }) command.Add(option);
        command.SetAction((parsed, cancellation) =>
        {
            var corpus = new TokenizerCorpus(parsed.GetRequiredValue(data), parsed.GetValue(heldOut) ?? []);
            int tokens = corpus.Train(parsed.GetValue(size), parsed.GetValue(style)!, parsed.GetRequiredValue(output), parsed.GetValue(least), Output.Note, cancellation);
            if (corpus.Replaced > 0) Output.Note($"{corpus.Replaced} byte sequence(s) were not UTF-8, and were read as U+FFFD");
            if (tokens < parsed.GetValue(size)) Output.Note($"the text has no more pairs: {tokens} tokens, not {parsed.GetValue(size)}");
            if (parsed.GetValue(json)) Output.Json(new JsonObject { ["tokens"] = tokens, ["replaced"] = corpus.Replaced, ["folder"] = parsed.GetRequiredValue(output) });
            else Output.Line($"{tokens} tokens in {parsed.GetRequiredValue(output)}");
            return Task.FromResult(0);
        });
        return command;
    }
}
