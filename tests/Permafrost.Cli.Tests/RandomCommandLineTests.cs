using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>Command lines thrown together from sound words, wrong values and rubbish: whatever is typed, no exception escapes.</summary>
public class RandomCommandLineTests(TrainedRun run) : IClassFixture<TrainedRun>
{
    private const int Lines = 1000;

    private static readonly string[] Rubbish =
        ["", " ", "-", "--", "---", "--=", "=", "@", "@nothing", "*", "..", "/", "\u0000", "\t\n", "ä漢🧊", "'; rm -rf ~", "%s%n", "$(id)", "{}", "[suggest]", "[diagram]", "-1", "1e999", "NaN", "0x10", "null", "--help=", "--json=maybe",
         "--no-", "--max_steps=", "-h5", "/?", "--version", new('x', 5000), "last:", "mnist@", "@paper", "attn[", "task_options.", "C:\\nul"];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Nothing_that_is_typed_ends_in_an_exception(int seed)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        TensorFile.Write(scratch["data.safetensors"], ("inputs", torch.ones([4, 3, 2])), ("targets", Tensors.From([0L, 1, 0, 1], 4)));
        TensorFile.Write(scratch["ids.safetensors"], ("input_ids", Tensors.From([1L, 2], 1, 2)));
        scratch.Write("run.yaml", "task: bit-xor\nbackbone: gpt2-tiny\ninit: random\n");
        scratch.Write("bad.yaml", "task: [bit-xor\n");
        scratch.Write("file.txt", "0110110001\n");
        var random = new Random(seed);
        var codes = new HashSet<int>();
        for (int i = 0; i < Lines / 4; i++)
        {
            string[] line = Line(random, scratch);
            string typed = string.Join(' ', line.Select(word => $"'{word}'"));
            CliResult result;
            try
            {
                result = InProcess.Run(line);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"seed {seed}, line {i}: permafrost {typed}", error);
            }
            codes.Add(result.ExitCode);
            Assert.True(result.ExitCode is 0 or 1 or 2, $"seed {seed}, line {i}: {result}");
            Assert.False((result.Output + result.Error).Contains("   at ", StringComparison.Ordinal), $"seed {seed}, line {i}: a stack trace: {result}");
            Assert.False((result.Output + result.Error).Contains("Exception", StringComparison.Ordinal), $"seed {seed}, line {i}: an internal name: {result}");
            if (result.ExitCode != 0) Assert.True(result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Count(text => text.StartsWith("permafrost: ", StringComparison.Ordinal)) == 1, $"seed {seed}, line {i}: not one sentence: {result}");
        }
        // Some lines are sound, some are not: a pool that made only one kind would test nothing.
        Assert.Contains(0, codes);
        Assert.Contains(1, codes);
        Assert.Contains(2, codes);
    }

    // Every line starts as one that ends quickly whatever happens to it, and then loses, gains and swaps words that cannot make it long.
    private string[] Line(Random random, Scratch scratch)
    {
        string file = scratch["file.txt"];
        string[][] starts =
        [
            ["finetune", "--task", Any("bit-xor", "mnist", "mnist@paper", "tensors"), "--data", scratch["data.safetensors"], "--backbone", "gpt2-tiny", "--init", "random"],
            ["finetune", "--config", Any(scratch["run.yaml"], scratch["bad.yaml"], file, scratch["none.yaml"])],
            ["finetune", "--task", "bit-xor", "--backbone", Any("gpt2-tiny", "gpt2-mini", run.Folder, file, "nothing"), "--init", Any("random", "pretrained", "statistics", "random-gpt2-2021")],
            ["evaluate", Any(run.Folder, run.Runs, file), "--split", Any("validation", "test", "train")],
            ["predict", run.Folder, "--input", Any(file, "-", run.Folder, scratch["data.safetensors"])],
            ["predict", run.Folder, "--input", file, "--output", Any(scratch["out.jsonl"], Path.Combine(file, "out"), scratch.Path)],
            ["forward", "--backbone", Any(run.Folder, "gpt2-tiny", "nothing"), "--inputs", scratch["ids.safetensors"], "--outputs", scratch["out.safetensors"]],
            ["ls", Any("backbones", "tasks", "policies", "inits", "runs", "all")],
            ["ls", "runs", "--runs-dir", Any(run.Runs, scratch.Path, file)],
            ["show", Any("backbone", "task", "run"), Any("gpt2-tiny", "bit-xor", run.Folder, file, "mnist@paper")],
            ["data", Any("ls", "where", "verify"), "mnist"],
            ["data", "verify", "mnist", "--data", Any(scratch.Path, file)],
            ["env"],
            ["quickstart", "--output-dir", Path.Combine(file, "run")],
            ["bench", "--help", "--rounds", "0", "--backbone", "nothing"],  // whatever is lost of it, it measures nothing
            [],
        ];
        string[] flags =
        [
            "--json", "--help", "--dropout", "0.5", "--max-steps", "2", "--seed", "3", "--policy", "attn[-1]", "--policy", "output", "--readout", "mean", "--set", "task_options.length=3", "--set", "dropout=0", "--threads", "1",
            "--learning_rate", "0.1", "--optim", "sgd", "--no-shuffle", "--shuffle", "--baselines", "--gradients", "all", "--generate", "3", "--num-classes", "2", "--test-fraction", "0.5", "--device", "cpu", "--eval-steps", "0",
        ];
        var words = new List<string>(starts[random.Next(starts.Length)]);
        bool trains = words is ["finetune", ..];
        for (int changes = random.Next(4); changes > 0; changes--)
        {
            int at = random.Next(1, words.Count + 1);
            switch (random.Next(4))
            {
                case 0: words.Insert(Math.Min(at, words.Count), Rubbish[random.Next(Rubbish.Length)]); break;
                case 1: words.Add(flags[random.Next(flags.Length)]); break;
                case 2:
                    int flag = random.Next(flags.Length - 1);
                    words.AddRange(flags[flag].StartsWith("--", StringComparison.Ordinal) ? flags[flag..(flag + 2)] : [flags[flag]]);
                    break;
                default:
                    if (at < words.Count) words[at] = Rubbish[random.Next(Rubbish.Length)];
                    break;
            }
        }
        // Whatever a training has become, it only looks; and a quickstart's folder stays one that cannot be.
        if (trains) words.Insert(1, "--dry-run");
        if (words is ["quickstart", ..] && !words.Contains(Path.Combine(file, "run"))) words.Add("--no-such-option");
        return [.. words];

        string Any(params string[] choices) => choices[random.Next(choices.Length)];
    }
}
