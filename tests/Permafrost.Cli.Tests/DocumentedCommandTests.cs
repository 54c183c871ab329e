using System.Text.RegularExpressions;
using Permafrost.Formats.Idx;
using Permafrost.Kernels;
using Permafrost.Models;

namespace Permafrost.Cli.Tests;

/// <summary>Every command that README.md and docs/ show is run as bash would run it, in a short form; cli.md is the program's own and has none.</summary>
public partial class DocumentedCommandTests
{
    // What is run elsewhere, and where.
    private static readonly Dictionary<string, string> Elsewhere = new()
    {
        ["./test"] = "this very run",
        ["./permafrost quickstart"] = nameof(QuickstartTests.A_body_is_compared_with_its_controls_and_names_words_and_one_that_was_stopped_goes_on_to_the_same_end),
        ["permafrost data fetch gpt2"] = nameof(BackboneFetchTests.A_fetched_backbone_is_where_every_verb_looks),
        ["permafrost data verify gpt2"] = nameof(BackboneFetchTests.A_fetched_backbone_is_where_every_verb_looks),
        ["permafrost export RUN --format peft"] = nameof(ExportTests.A_peft_adapter_has_PEFTs_names_and_comes_back_as_it_was),
        ["permafrost export RUN --format onnx"] = "`./permafrost export runs/topics --format onnx`, of docs/export.md",
        ["./permafrost data fetch mnist"] = nameof(DataTests.Fetch_keeps_what_a_good_server_sends),
    };

    // How a command becomes a short one, and what its placeholders stand for.
    private static readonly (string Pattern, string Replacement)[] Shorter =
    [
        (@"--max-steps \d+", "--max-steps 4"),
        (@"^(.*permafrost finetune(?!.*(--max-steps|--resume-from-checkpoint|--dry-run)).*)$", "$1 --max-steps 4"),
        (@"^(.*permafrost baselines listops.*)$", "$1 --set task_options.max_length=50"),
        (@"^(.*--resume-from-checkpoint runs/mine)$", "$1 --max-steps 100 --max-time 1h"),
        (@"^(.*permafrost bench)$", "$1 fpt-step --backbone gpt2-tiny --batch 1 --tokens 4 --rounds 1"),
        (@"^(.*permafrost bench) \[CASE\.\.\.\]$", "$1 door --rounds 1"),
        (@"^(.*permafrost bench) fpt-step B16 .*$", "$1 door --rounds 1"),
        (@"^(.*permafrost bench) (embed|bpe) .*$", "$1 door --rounds 1"),  // the peers' program is built by hand
        (@"^(.*--objective bit-memory) --preset gpt2-mini(.*)$", "$1 --preset gpt2-tiny --batch-size 2$2"),
        (@"^(.*permafrost study run .*)$", "$1 --dry-run"),
        (@"^permafrost study (script|report) NAME(.*)$", "permafrost study $1 lu-statistics --scale smoke$2"),
        (@"^permafrost study collect .*$", "permafrost study collect --help"),
        (@"^(.*permafrost quickstart) --sweep.*$", "$1 --help"),  // an hour
        (@"\b(TASK|mytask)\b", "bit-xor"),
        (@"\bANOTHER\b", "runs/another"),
        (@"^(.*permafrost pretrain --architecture.*)$", "$1 --preset gpt2-tiny --context 64 --batch-size 4"),
        (@"^(.*permafrost serve) .*$", "$1 --help"),  // until it is stopped; ServeTests do that
        // A verb that cannot go without arguments is mentioned, not shown.
        (@"^permafrost (forward|predict|report|generate|serve|pretrain|tokenizer encode|tokenizer train)$", "$0 --help"),
    ];

    [Fact]
    public void Every_command_works()
    {
        string[] commands = [.. Documents().SelectMany(Commands).Distinct()];
        Assert.True(commands.Length > 15, $"only {commands.Length} commands were found: {string.Join('\n', commands)}");
        Assert.All(Elsewhere.Keys, command => Assert.Contains(command, commands));
        Work(commands.Where(command => !NeedsBody(command)));
    }

    [Fact]
    public void Every_command_on_the_body_in_the_box_works()
    {
        string[] commands = [.. Documents().SelectMany(Commands).Distinct().Where(NeedsBody)];
        Assert.True(commands.Length > 3, $"only {commands.Length} commands were found: {string.Join('\n', commands)}");
        BodyInTheBox.Require();
        Work(commands);
    }

    // The body by its name, or the run that the README trains on it.
    private static bool NeedsBody(string command) => BodyNames.Any(name => command.Contains(name, StringComparison.Ordinal));

    // How a command names the body in the box, or what was made with it.
    private static string[] BodyNames => ["all-MiniLM-L6-v2", "runs/topics", "configs/word-kinds.yaml"];

    private static void Work(IEnumerable<string> commands)
    {
        using var scratch = new Scratch();
        Furnish(scratch);
        string home = scratch.Path;
        var settings = new CliSettings { WorkingDirectory = home, Environment = new Dictionary<string, string?> { ["HOME"] = home, ["PERMAFROST_HOME"] = scratch["cache"] } };
        var failures = new List<string>();
        foreach (string command in commands.Where(command => !Elsewhere.ContainsKey(command)))
        {
            string line = Shorter.Aggregate(command, (text, rule) => Regex.Replace(text, rule.Pattern, rule.Replacement));
            CliResult result = Cli.Shell(settings, line);
            if (result.ExitCode != 0) failures.Add($"{command}\nas {line}: {result}");
        }
        Assert.True(failures.Count == 0, string.Join("\n\n", failures));
    }

    private static IEnumerable<string> Documents() =>
        Directory.GetFiles(Path.Combine(Repository.Root, "docs"), "*.md").Where(path => Path.GetFileName(path) != "cli.md").Order(StringComparer.Ordinal).Prepend(Path.Combine(Repository.Root, "README.md"));

    // The lines of ```sh blocks without their remarks, and `permafrost ...` in the text.
    private static IEnumerable<string> Commands(string document)
    {
        string text = File.ReadAllText(document);
        IEnumerable<string> shown = ShellBlock().Matches(text).SelectMany(block => block.Groups[1].Value.Split('\n'));
        IEnumerable<string> inline = Inline().Matches(Block().Replace(text, "")).Select(match => match.Groups[1].Value);
        return shown.Concat(inline).Select(line => Remark().Replace(line, "").Trim()).Where(line => line.Length > 0);
    }

    // What the commands find: a small model, small data, images in the cache, and a run that was stopped.
    private static void Furnish(Scratch scratch)
    {
        using var tensors = torch.NewDisposeScope();
        string model = Directory.CreateDirectory(scratch["models", "gpt2"]).FullName;
        File.WriteAllText(Path.Combine(model, "config.json"), """{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 32, "vocab_size": 40}""");
        using (var weights = FrozenWeights.Load(model, "random"))
        using (Backbone backbone = weights.CreateBackbone()) BackboneFolder.Save(backbone, weights, model);
        Tensor ids = Tensors.From([.. Enumerable.Range(0, 12).Select(i => (long)i)], 2, 6);
        TensorFile.Write(scratch["in.safetensors"], ("input_ids", ids), ("labels", ids));
        TensorFile.Write(scratch["mine.safetensors"], ("inputs", torch.ones([40, 3, 2])), ("targets", Tensors.From([.. Enumerable.Range(0, 40).Select(i => i % 2L)], 40)));
        if (BodyInTheBox.Folder is { } body)
        {
            Directory.CreateDirectory(scratch["cache", "backbones"]);
            Directory.CreateSymbolicLink(scratch["cache", "backbones", "all-MiniLM-L6-v2"], body);
        }
        Directory.CreateDirectory(scratch["texts"]);
        scratch.Write("texts/train.txt", string.Concat(Enumerable.Range(0, 2000).Select(i => $"The people of village {i % 97} sang about the old bridge over the river {i % 13}.\n")));
        scratch.Write("texts/test.txt", "The people sang about the river.\n");
        Directory.CreateSymbolicLink(scratch["configs"], Path.Combine(Repository.Root, "configs"));
        Directory.CreateDirectory(scratch["samples", "ClassifyTexts"]);
        File.Copy(Path.Combine(Repository.Root, "samples", "ClassifyTexts", "messages.csv"), scratch["samples", "ClassifyTexts", "messages.csv"]);
        string mnist = Directory.CreateDirectory(scratch["cache", "data", "mnist"]).FullName;
        var random = new Random(1);
        foreach ((string images, string labels, int count) in new[] { (MnistFiles.TrainImages, MnistFiles.TrainLabels, 200), (MnistFiles.TestImages, MnistFiles.TestLabels, 50) })
        {
            var pixels = new byte[count * 28 * 28];
            random.NextBytes(pixels);
            MnistFiles.Write(Path.Combine(mnist, images), new IdxFile([count, 28, 28], pixels), count);
            MnistFiles.Write(Path.Combine(mnist, labels), new IdxFile([count], [.. Enumerable.Range(0, count).Select(i => (byte)(i % 10))]), count);
        }
        Cli.Run("finetune", "--task", "bit-xor", "--backbone", model, "--max-steps", "1000000", "--max-time", "0.001s", "--no-baselines", "--output-dir", scratch["runs", "mine"]).Failed(75);
        string config = File.ReadAllText(scratch["runs", "mine", "config.yaml"]);
        scratch.Write("config.yaml", Regex.Replace(config, "^( *)max_time: .*$", "$1max_time: null", RegexOptions.Multiline));
    }

    [GeneratedRegex("```sh\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex ShellBlock();

    [GeneratedRegex("```.*?```", RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex(@"`((?:\./)?permafrost [^`]+|\./test[^`]*)`")]
    private static partial Regex Inline();

    [GeneratedRegex(@"(^|\s+)#\s.*$")]
    private static partial Regex Remark();
}
