using System.CommandLine;
using Permafrost.Cli.Terminal;
using Permafrost.Models;
using Permafrost.Tokenizers;

namespace Permafrost.Cli.Commands;

internal static class TokenizerCommand
{
    public static Command Create()
    {
        var command = new Command("tokenizer", "a model's tokenizer by itself: texts to tokens, and back");
        command.Add(TokenizerTrainCommand.Create());
        command.Add(Encode());
        command.Add(Decode());
        return command;
    }

    private static Command Encode()
    {
        Option<string> tokenizer = Tokenizer(), input = Input("one text a line; - for standard input");
        var jsonLines = new Option<bool>("--json-lines") { Description = "each line of the input is a JSON string, or an object with \"text\": for texts that hold line ends" };
        var plain = new Option<bool>("--no-special-tokens") { Description = "leave out the special tokens that the model was trained with, such as [CLS] and [SEP]" };
        var split = new Option<bool>("--split-special-tokens") { Description = "treat special tokens that stand in a text, such as a written [SEP], as any other characters" };
        var longest = new Option<int?>("--max-length") { Description = "cut texts to this many tokens, special tokens included" };
        Option<bool> json = Json("ids, tokens, offsets (from, to, counted in code points), and dropped, the tokens cut off");
        var command = new Command("encode", "print the tokens of texts: their ids, a line a text");
        foreach (Option option in new Option[] { tokenizer, input, jsonLines, plain, split, longest, json }) command.Add(option);
        command.SetAction((parsed, cancellation) =>
        {
            Tokenizer loaded = Load(parsed.GetRequiredValue(tokenizer));
            bool special = !parsed.GetValue(plain), splits = parsed.GetValue(split), asJson = parsed.GetValue(json), inJson = parsed.GetValue(jsonLines);
            int? most = Checked(parsed.GetValue(longest), special ? loaded.SpecialTokens : 0);
            (long texts, long cut, long dropped) = (0, 0, 0);
            InputLines.Answer(parsed.GetRequiredValue(input), (where, line, output) =>
            {
                string text = inJson ? TokenLines.FromJson(line, where) : line;
                TokenizedText tokens = TokenLines.Encode(text, where, loaded, special, most, splits);
                output.WriteLine(asJson ? TokenLines.ToJson(tokens, text, loaded) : string.Join(' ', tokens.Ids));
                (texts, cut, dropped) = (texts + 1, cut + (tokens.Dropped > 0 ? 1 : 0), dropped + tokens.Dropped);
            }, cancellation);
            if (cut > 0) Output.Note($"{cut} of {texts} text(s) had more than {most} tokens, and were cut: {dropped} token(s) in all");
            return Task.FromResult(0);
        });
        return command;
    }

    private static Command Decode()
    {
        Option<string> tokenizer = Tokenizer(), input = Input("ids separated by spaces, or what `encode --json` prints, a line a text; - for standard input");
        var skip = new Option<bool>("--skip-special-tokens") { Description = "leave special tokens such as [CLS] and [SEP] out" };
        Option<bool> json = Json("the text, as \"text\"");
        var command = new Command("decode", "print the texts of tokens' ids");
        foreach (Option option in new Option[] { tokenizer, input, skip, json }) command.Add(option);
        command.SetAction((parsed, cancellation) =>
        {
            Tokenizer loaded = Load(parsed.GetRequiredValue(tokenizer));
            bool skips = parsed.GetValue(skip), asJson = parsed.GetValue(json);
            InputLines.Answer(parsed.GetRequiredValue(input), (where, line, output) =>
            {
                string text = TokenLines.Decode(TokenLines.Ids(line, where), loaded, skips, where);
                if (!asJson && text.Contains('\n', StringComparison.Ordinal)) throw new PermafrostException($"{where}: the tokens' text holds a line end; print it with --json");
                output.WriteLine(asJson ? TokenLines.ToJson(text) : text);
            }, cancellation);
            return Task.FromResult(0);
        });
        return command;
    }

    private static Option<string> Tokenizer() => new("--tokenizer")
    {
        Description = "a folder with tokenizer.json, vocab.txt, vocab.json and merges.txt, or a SentencePiece .model; one of these files; or a backbone (REF)",
        Required = true,
        HelpName = "DIR",
    };

    private static Option<string> Input(string what) => new("--input") { Description = what, Required = true, HelpName = "FILE|-" };

    private static Option<bool> Json(string what) => new("--json") { Description = $"print one JSON object a line: {what}" };

    private static Tokenizer Load(string reference)
    {
        if (File.Exists(reference) || Directory.Exists(reference)) return TokenizerFiles.Load(reference);
        const string Kinds = "a folder with tokenizer.json, vocab.txt, vocab.json and merges.txt or a SentencePiece model, one of these files, or a backbone that has them";
        BackboneSource source;
        try
        {
            source = BackboneSource.Resolve(reference);
        }
        catch (PermafrostException error)
        {
            throw new PermafrostException($"--tokenizer: {error.Message}; a tokenizer is {Kinds}");
        }
        return TokenizerFiles.Load(
            source.Folder ?? throw new PermafrostException($"--tokenizer: {reference} is a preset, and has no tokenizer; a tokenizer is {Kinds}{source.FetchHint}"));
    }

    private static int? Checked(int? longest, int special)
    {
        int least = Math.Max(special, 1);
        return longest is null || longest >= least ? longest
            : throw new UsageException($"--max-length {longest} is too short: it must be at least {least} ({special} are special tokens)");
    }
}
