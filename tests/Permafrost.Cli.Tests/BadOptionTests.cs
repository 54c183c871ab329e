using Permafrost.Cli.Terminal;
using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>Wrong, missing and impossible options, as flags, as --set and in YAML: exit code 2, one sentence, nothing begun.</summary>
public class BadOptionTests
{
    private static readonly string[] Sound = ["finetune", "--task", "bit-xor", "--backbone", "gpt2-tiny", "--init", "random", "--max-steps", "2"];

    [Theory]
    [InlineData("--lerning-rate 1", "--lerning-rate", "did you mean --learning-rate?")]
    [InlineData("--lerning_rate 1", "--lerning-rate", "did you mean --learning-rate?")]
    [InlineData("--learning-rate=", "--learning-rate")]
    [InlineData("--learning-rate", "--learning-rate")]
    [InlineData("--quantum", "--quantum", "--help")]
    [InlineData("surplus", "surplus", "--help")]
    [InlineData("--max-steps many", "--max-steps", "many", "whole number")]
    [InlineData("--max-steps 1.5", "--max-steps", "1.5", "whole number")]
    [InlineData("--max-steps 1 --max-steps 2", "--max-steps")]
    [InlineData("--max-steps 0", "--max-steps")]
    [InlineData("--max-steps 99999999999999999999", "--max-steps")]
    [InlineData("--num-train-epochs 0", "--num-train-epochs")]
    [InlineData("--dropout yes", "--dropout", "yes", "number")]
    [InlineData("--dropout 1", "--dropout")]
    [InlineData("--dropout 0,1", "--dropout", "0,1")]
    [InlineData("--learning-rate nan", "--learning-rate", "nan")]
    [InlineData("--learning-rate inf", "--learning-rate", "inf")]
    [InlineData("--learning-rate -1", "--learning-rate")]
    [InlineData("--shuffle=maybe", "--shuffle", "maybe")]
    [InlineData("--seed one", "--seed", "one")]
    [InlineData("--per-device-train-batch-size 0", "--per-device-train-batch-size")]
    [InlineData("--per-device-train-batch-size 99999999", "--per-device-train-batch-size")]
    [InlineData("--logging-steps 0", "--logging-steps")]
    [InlineData("--threads -1", "--threads")]
    [InlineData("--threads 4096", "--threads", "4096")]
    [InlineData("--gradient-accumulation-steps 1048576 --per-device-train-batch-size 1048576", "--gradient-accumulation-steps", "--per-device-train-batch-size")]
    [InlineData("--warmup-steps 5", "--warmup-steps", "constant_with_warmup")]
    [InlineData("--warmup-ratio 0.1 --lr-scheduler-type constant", "--warmup-ratio", "constant_with_warmup")]
    [InlineData("--set learning_rates.ff=0.1", "learning_rates.ff", "--policy fpt trains nothing of that group")]
    [InlineData("--max-grad-norm -1", "--max-grad-norm", "at least 0")]
    [InlineData("--seed 9223372036854775808", "--seed", "too large")]
    [InlineData("--max-steps -3000000000", "--max-steps", "too small")]
    [InlineData("--seed 1e10", "--seed", "not a whole number")]
    [InlineData("--max-time 1:30", "--max-time", "1:30:00")]
    [InlineData("--optim lion", "--optim", "lion", "adamw")]
    [InlineData("--lr-scheduler-type polynomial", "--lr-scheduler-type", "polynomial", "cosine")]
    [InlineData("--frozen-dtype int4", "--frozen-dtype", "int4", "float32")]
    [InlineData("--input-layer old", "--input-layer", "old", "pretrained-embedding")]
    [InlineData("--input-layer pretrained-embedding", "--input-layer")]
    [InlineData("--init best", "--init", "best", "shuffled")]
    [InlineData("--init pretrained", "--init", "gpt2-tiny")]
    [InlineData("--device tpu", "--device", "tpu")]
    [InlineData("--device cuda:99", "cuda")]
    [InlineData("--readout middle", "--readout", "middle", "last:K")]
    [InlineData("--readout last:0", "--readout", "last:0")]
    [InlineData("--readout last:3", "--readout", "last:3", "5 answers")]
    [InlineData("--policy nothing", "--policy", "nothing", "attn")]
    [InlineData("--policy attn[2]", "--policy", "attn[2]", "2 layers")]
    [InlineData("--policy attn[1..0]", "--policy", "[1..0]")]
    [InlineData("--policy attn[99999999999]", "--policy", "attn[99999999999]")]
    [InlineData("--policy cross", "--policy", "cross", "trains nothing")]
    [InlineData("--policy embed", "--policy", "embed", "trains nothing")]
    [InlineData("--policy=", "--policy")]
    [InlineData("--num-classes 3", "--num-classes", "bit-xor")]
    [InlineData("--num-classes 1", "--num-classes")]
    [InlineData("--set learning_rate", "--set", "key=value")]
    [InlineData("--set lerning_rate=1", "--set", "lerning_rate", "did you mean learning_rate?")]
    [InlineData("--set learning_rate=fast", "--set", "fast", "number")]
    [InlineData("--set task_options=1", "--set", "task_options.NAME")]
    [InlineData("--set task_options.size=1", "task_options.size", "length, patterns")]
    [InlineData("--set task_options.length=0", "task_options.length", "0")]
    [InlineData("--set task_options.length=x", "task_options.length", "x")]
    [InlineData("--set learning_rate.x=1", "--set", "learning_rate")]
    [InlineData("--set =1", "--set")]
    public void A_wrong_option_is_refused(string options, params string[] mentions)
    {
        using var scratch = new Scratch();
        string[] added = options.Split(' ');
        // An option may be given once: the wrong value takes the sound one's place.
        IEnumerable<string> sound = Sound.Where((word, i) => !(added.Contains(word) || (i > 0 && word != "finetune" && added.Contains(Sound[i - 1]))));
        InProcess.Run([.. sound, "--output-dir", scratch["run"], .. added]).Refused(2, mentions);
        Assert.Empty(Scratch.Left(scratch.Path));
    }

    [Theory]
    [InlineData("", "--help")]
    [InlineData("fintune", "fintune", "did you mean finetune?")]
    [InlineData("train", "train", "--help")]
    [InlineData("--verbose", "--verbose")]
    [InlineData("finetune", "--task", "bit-xor", "mnist")]
    [InlineData("finetune --task bit-xor", "--backbone", "gpt2-mini")]
    [InlineData("finetune --backbone gpt2-tiny --init random", "--task")]
    [InlineData("finetune --task bit-xro --backbone gpt2-tiny --init random", "--task", "bit-xro", "bit-xor")]
    [InlineData("finetune --task bit-xor@paper --backbone gpt2-tiny --init random", "--task", "paper", "bit-xor")]
    [InlineData("finetune --task tensors --backbone gpt2-tiny --init random", "--data")]
    [InlineData("finetune --task listops --backbone gpt2-tiny --init random --group-by-length --no-shuffle", "--group-by-length", "--no-shuffle")]
    [InlineData("forward", "--backbone")]
    [InlineData("forward --backbone x --inputs y", "--outputs")]
    [InlineData("forward --backbone gpt2-tiny --inputs y --outputs z", "--backbone", "gpt2-tiny", "preset")]
    [InlineData("forward --backbone gpt2 --inputs y --outputs z", "--backbone", "preset", "; `permafrost data fetch gpt2` fetches it")]
    [InlineData("forward --backbone x --inputs y --outputs z --gradients some", "--gradients", "some")]
    [InlineData("forward --backbone x --inputs y --outputs z --generate -1", "--generate", "-1")]
    [InlineData("forward --backbone x --inputs y --outputs z --generate many", "--generate: 'many' is no whole number; see")]
    [InlineData("tokenizer encode --tokenizer x --input y --max-length 1.5", "--max-length: '1.5' is no whole number; see")]
    [InlineData("tokenizer encode --tokenizer x --input y --max-length 99999999999", "--max-length: '99999999999' is too large a number; see")]
    [InlineData("generate --backbone x --prompt y --top-p half", "--top-p: 'half' is no number; see")]
    [InlineData("generate --backbone x --prompt y --seed one", "--seed: 'one' is no whole number; see")]
    [InlineData("evaluate", "RUN")]
    [InlineData("evaluate x --split train", "--split", "train", "validation")]
    [InlineData("evaluate x --per-device-eval-batch-size 0", "--per-device-eval-batch-size")]
    [InlineData("predict x", "--input")]
    [InlineData("predict --input x", "RUN")]
    [InlineData("predict x --input y --per-device-eval-batch-size -5", "--per-device-eval-batch-size")]
    [InlineData("ls", "WHAT")]
    [InlineData("ls models", "models", "backbones")]
    [InlineData("show", "backbone")]
    [InlineData("show task bit-xro", "bit-xro", "bit-xor")]
    [InlineData("data", "fetch")]
    [InlineData("data fetch", "NAME")]
    [InlineData("quickstart --seed one", "--seed", "one")]
    [InlineData("@no-such-file", "no-such-file")]
    public void A_command_line_that_says_too_little_or_too_much_is_refused(string line, params string[] mentions)
    {
        CliResult result = InProcess.Run(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        if (line.Length == 0) Assert.Contains("--help", result.Succeeded().Output, StringComparison.Ordinal);
        else result.Refused(2, mentions);
    }

    [Theory]
    [InlineData("lerning_rate: 1\n", 1, "lerning_rate", "did you mean learning_rate?")]
    [InlineData("task: bit-xor\n\n# a remark\nmax_stepz: 3\n", 4, "max_stepz", "did you mean max_steps?")]
    [InlineData("task: bit-xor\nmax_steps: many\n", 2, "many", "whole number")]
    [InlineData("dropout: [0.1, 0.2]\n", 1, "single value")]
    [InlineData("shuffle: maybe\n", 1, "maybe", "true or false")]
    [InlineData("task: bit-xor\n  policy: fpt\n", 2, "YAML")]
    [InlineData("task: \"bit-xor\n", 1, "YAML")]
    [InlineData("policy: [x\ninput_layer: new\n", 1, "YAML", "closing bracket")]
    [InlineData("seed: 1\ntask_options: {length: 5\npolicy: fpt\n", 2, "YAML", "closing bracket")]
    [InlineData("seed: 1\ntask: [[[[[[[[[[[[[[[[[[[[[[[[", 2, "deeper")]
    [InlineData("task: bit-xor\ntask: mnist\n", 2, "YAML")]
    [InlineData("- task\n- bit-xor\n", 0, "key: value")]
    [InlineData("task: bit-xor\n---\ntask: mnist\n", 0, "2 YAML documents")]
    [InlineData("task_options:\n  length: 5\n  sizes: [1]\n", 3, "single value")]
    [InlineData("task_options: 5\n", 1, "task_options.NAME")]
    [InlineData("learning_rate:\n  value: 5\n", 2, "learning_rate")]
    [InlineData("a: &a [*a]\n", 0)]
    [InlineData("\u0001\n", 0)]
    [InlineData("data: \"a\\0b\"\n", 1, "data", "null character")]
    public void A_wrong_YAML_file_is_refused_with_its_line(string yaml, int line, params string[] mentions)
    {
        using var scratch = new Scratch();
        string path = scratch.Write("run.yaml", yaml);
        InProcess.Run([.. Sound, "--output-dir", scratch["run"], "--config", path]).Refused(2, [line > 0 ? $"{path}:{line}:" : path, .. mentions]);
        Assert.Single(Scratch.Left(scratch.Path));
    }

    [Fact]
    public void Epochs_of_endless_data_are_refused()
    {
        using var scratch = new Scratch();
        InProcess.Run([.. Sound.Where(word => word is not ("--max-steps" or "2")), "--output-dir", scratch["run"], "--num-train-epochs", "1"]).Failed(2, "--num-train-epochs", "--max-steps");
        Assert.Empty(Scratch.Left(scratch.Path));
    }

    [Fact]
    public void A_YAML_file_that_cannot_be_read_is_named()
    {
        using var scratch = new Scratch();
        InProcess.Run([.. Sound, "--config", scratch["none.yaml"]]).Refused(1, scratch["none.yaml"], "does not exist");
        InProcess.Run([.. Sound, "--config", scratch.Path]).Refused(1, scratch.Path, "is a folder");
    }

    [Fact]
    public void Shares_that_leave_nothing_to_train_on_are_refused()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        string data = TensorFile.Write(scratch["data.safetensors"], ("inputs", torch.ones([4, 3, 2])), ("targets", Tensors.From([0L, 1, 0, 1], 4)));
        string[] line = ["finetune", "--task", "tensors", "--data", data, "--backbone", "gpt2-tiny", "--init", "random", "--output-dir", scratch["run"]];
        InProcess.Run([.. line, "--validation-fraction", "0.5", "--test-fraction", "0.5"]).Refused(2, "--validation-fraction", "--test-fraction");
        InProcess.Run([.. line, "--validation-fraction", "1"]).Refused(2, "--validation-fraction");
        Assert.Single(Scratch.Left(scratch.Path));
    }

    [Fact]
    public void A_refused_command_leaves_no_empty_folder()
    {
        using var scratch = new Scratch();
        InProcess.Run([.. Sound, "--output-dir", scratch["runs", "first"], "--policy", "nothing"]).Refused(2, "--policy");
        Assert.Empty(Directory.EnumerateFileSystemEntries(scratch.Path));
    }

    [Theory]
    [InlineData("finetune --config", "--config")]
    [InlineData("finetune --resume-from-checkpoint", "--resume-from-checkpoint")]
    [InlineData("finetune --task bit-xor --backbone gpt2-tiny --init", "--init")]
    [InlineData("quickstart --output-dir", "--output-dir")]
    [InlineData("predict nowhere --input", "--input")]
    [InlineData("report nowhere --output", "--output")]
    [InlineData("show run", "")]
    [InlineData("evaluate", "RUN")]
    [InlineData("compare nowhere", "OTHER")]
    [InlineData("baselines", "TASK")]
    public void An_empty_value_is_refused(string line, string mention) => InProcess.Run([.. line.Split(' '), ""]).Refused(2, mention, "is empty");

    [Theory]
    [InlineData("`load_best_model_at_end` off", "--no-load-best-model-at-end")]
    [InlineData("with `shuffle` off rows are in order", "with --no-shuffle rows are in order")]
    [InlineData("`max_steps` or `task`", "--max-steps or --task")]
    [InlineData("`max_steps` off", "--max-steps off")]
    [InlineData("row 3 of `inputs`", "row 3 of `inputs`")]
    public void Options_in_the_librarys_words_become_flags(string sentence, string flags) => Assert.Equal(flags, OptionWords.AsFlags(sentence));

    [Fact]
    public void What_a_terminal_would_obey_is_not_passed_on()
    {
        CliResult result = InProcess.Run("\u001b[31mred");
        result.Failed(2, "[31mred");
        Assert.DoesNotContain('\u001b', result.Error);
    }
}
