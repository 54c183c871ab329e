using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>.safetensors files that no sound writer makes, and sound ones that do not fit, wherever the command line takes one.</summary>
public class BadTensorFileTests
{
    /// <summary>What is wrong, and what the sentence must say about it.</summary>
    public static TheoryData<string, string> Malformed() => new()
    {
        { "truncated", "truncated" },
        { "oversized header", "header" },
        { "header beyond the end", "truncated" },
        { "overlapping", "overlap" },
        { "hole", "hole" },
        { "trailing bytes", "follow" },
        { "offsets and shape disagree", "targets" },
        { "negative size", "inputs" },
        { "overflowing shape", "inputs" },
        { "too many dimensions", "inputs" },
        { "unknown dtype", "F4" },
        { "no JSON", "JSON" },
        { "deep JSON", "JSON" },
        { "listed twice", "twice" },
        { "no header at all", "few" },
        { "a folder", "" },
        { "no file", "does not exist" },
    };

    [Theory]
    [MemberData(nameof(Malformed))]
    public void Malformed_data_is_refused(string damage, string mention)
    {
        using var scratch = new Scratch();
        string path = Make(scratch["bad.safetensors"], damage);
        Finetune(scratch, path).Refused(1, path, mention);
        Assert.Empty(Scratch.Left(scratch["run"]));
    }

    [Theory]
    [InlineData("truncated", "truncated")]
    [InlineData("oversized header", "header")]
    [InlineData("overlapping", "overlap")]
    [InlineData("unknown dtype", "F4")]
    [InlineData("no file", "model.safetensors")]
    public void Malformed_weights_are_refused(string damage, string mention)
    {
        using var scratch = new Scratch();
        string folder = Backbone(scratch);
        File.Delete(Path.Combine(folder, "model.safetensors"));
        Make(Path.Combine(folder, "model.safetensors"), damage);
        Finetune(scratch, Data(scratch), "--backbone", folder).Refused(1, folder, mention);
        Assert.Empty(Scratch.Left(scratch["run"]));
        TensorFile.Write(scratch["in.safetensors"], ("input_ids", Tensors.From([1L, 2], 1, 2)));
        InProcess.Run("forward", "--backbone", folder, "--inputs", scratch["in.safetensors"], "--outputs", scratch["out.safetensors"]).Refused(1, folder, mention);
        Assert.False(File.Exists(scratch["out.safetensors"]));
    }

    [Theory]
    [InlineData("missing", "h.1.ln_2.bias")]
    [InlineData("extra", "h.7.ln_1.weight")]
    [InlineData("shape", "ln_f.weight")]
    [InlineData("dtype", "wpe.weight")]
    public void Weights_that_do_not_fit_the_configuration_are_refused(string what, string tensor)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        string folder = Backbone(scratch);
        Dictionary<string, Tensor> weights = TensorFile.Read(Path.Combine(folder, "model.safetensors"));
        string stored = $"transformer.{tensor}";
        switch (what)
        {
            case "missing": weights.Remove(stored); break;
            case "extra": weights[stored] = torch.zeros([36]); break;
            case "shape": weights[stored] = torch.zeros([37]); break;
            default: weights[stored] = weights[stored].to(ScalarType.Int32); break;
        }
        TensorFile.Write(Path.Combine(folder, "model.safetensors"), weights.Select(pair => (pair.Key, pair.Value)));
        Finetune(scratch, Data(scratch), "--backbone", folder).Refused(1, folder, tensor);
        TensorFile.Write(scratch["in.safetensors"], ("input_ids", Tensors.From([1L, 2], 1, 2)));
        InProcess.Run("forward", "--backbone", folder, "--inputs", scratch["in.safetensors"], "--outputs", scratch["out.safetensors"]).Refused(1, folder, tensor);
    }

    [Theory]
    [InlineData("no inputs", "inputs")]
    [InlineData("no targets", "targets")]
    [InlineData("unknown tensor", "masks")]
    [InlineData("float targets", "targets")]
    [InlineData("int32 ids", "inputs")]
    [InlineData("two dimensions of floats", "inputs")]
    [InlineData("fewer targets", "targets")]
    [InlineData("negative target", "-3")]
    [InlineData("negative id", "-1")]
    [InlineData("an enormous id", "1099511627776")]
    [InlineData("an enormous target", "1099511627776")]
    [InlineData("no target that counts", "targets")]
    [InlineData("no rows", "inputs")]
    [InlineData("mask of another size", "mask")]
    [InlineData("mask of no tokens", "mask")]
    [InlineData("test split of another size", "test.inputs")]
    [InlineData("target beyond the classes", "--num-classes")]
    public void Data_that_makes_no_sense_is_refused(string what, string mention)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        Tensor inputs = torch.zeros([4, 3, 2]);
        Tensor targets = Tensors.From([0L, 1, 0, 1], 4);
        string path = TensorFile.Write(scratch["data.safetensors"], what switch
        {
            "no inputs" => [("targets", targets)],
            "no targets" => [("inputs", inputs)],
            "unknown tensor" => [("inputs", inputs), ("targets", targets), ("masks", torch.ones([4, 3], ScalarType.Int64))],
            "float targets" => [("inputs", inputs), ("targets", torch.zeros([4]))],
            "int32 ids" => [("inputs", torch.zeros([4, 3], ScalarType.Int32)), ("targets", targets)],
            "two dimensions of floats" => [("inputs", torch.zeros([4, 3])), ("targets", targets)],
            "fewer targets" => [("inputs", inputs), ("targets", Tensors.From([0L, 1, 0], 3))],
            "negative target" => [("inputs", inputs), ("targets", Tensors.From([0L, 1, -3, 1], 4))],
            "negative id" => [("inputs", Tensors.From([0L, -1, 2, 3], 4, 1)), ("targets", targets)],
            "an enormous id" => [("inputs", Tensors.From([0L, 1L << 40, 2, 3], 4, 1)), ("targets", targets)],
            "an enormous target" => [("inputs", inputs), ("targets", Tensors.From([0L, 1, 1L << 40, 1], 4))],
            "no target that counts" => [("inputs", inputs), ("targets", Tensors.From([-100L, -100, -100, -100], 4))],
            "no rows" => [("inputs", torch.zeros([0, 3, 2])), ("targets", torch.zeros([0], ScalarType.Int64))],
            "mask of another size" => [("inputs", inputs), ("targets", targets), ("mask", torch.ones([4, 4], ScalarType.Int64))],
            "mask of no tokens" => [("inputs", inputs), ("targets", targets), ("mask", torch.zeros([4, 3], ScalarType.Int64))],
            "test split of another size" => [("inputs", inputs), ("targets", targets), ("test.inputs", torch.zeros([4, 3, 5])), ("test.targets", targets)],
            _ => new[] { ("inputs", inputs), ("targets", Tensors.From([0L, 1, 2, 1], 4)) },
        });
        Finetune(scratch, path, what == "target beyond the classes" ? ["--num-classes", "2"] : []).Refused(1, path, mention);
        Assert.Empty(Scratch.Left(scratch["run"]));
    }

    [Theory]
    [InlineData("unknown", "h.0.attn.c_attn.wight")]
    [InlineData("frozen", "h.0.attn.c_attn.weight")]
    [InlineData("shape", "output_layer.bias")]
    [InlineData("malformed", "truncated")]
    public void A_start_adapter_that_does_not_fit_is_refused(string what, string mention)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        string path = scratch["start.safetensors"];
        if (what == "malformed") Make(path, "truncated");
        else TensorFile.Write(path, (mention, torch.zeros(what == "frozen" ? [36, 108] : [3])));
        Finetune(scratch, Data(scratch), "--backbone", Repository.Fixture("gpt2_a"), "--init-adapter", path).Refused(1, path, mention);
    }

    [Theory]
    [InlineData("unknown input", "input_idz")]
    [InlineData("no input", "input_ids")]
    [InlineData("ids beyond the table", "80")]
    [InlineData("negative ids", "-1")]
    [InlineData("float ids", "input_ids")]
    [InlineData("ids without batch", "input_ids")]
    [InlineData("mask of another length", "attention_mask")]
    [InlineData("positions beyond the table", "position_ids")]
    [InlineData("labels of another length", "labels")]
    [InlineData("labels beyond the table", "labels")]
    [InlineData("vectors of another width", "36")]
    [InlineData("longer than the positions", "26 positions")]
    [InlineData("no loss for gradients", "labels")]
    [InlineData("ids and vectors", "inputs_embeds")]
    public void Inputs_that_a_model_cannot_take_are_refused(string what, string mention)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        Tensor ids = Tensors.From([1L, 2, 3, 4], 2, 2);
        string path = TensorFile.Write(scratch["in.safetensors"], what switch
        {
            "unknown input" => [("input_idz", ids)],
            "no input" => [("attention_mask", ids)],
            "ids beyond the table" => [("input_ids", Tensors.From([1L, 80], 1, 2))],
            "negative ids" => [("input_ids", Tensors.From([1L, -1], 1, 2))],
            "float ids" => [("input_ids", torch.ones([2, 2]))],
            "ids without batch" => [("input_ids", Tensors.From([1L, 2], 2))],
            "mask of another length" => [("input_ids", ids), ("attention_mask", torch.ones([2, 3], ScalarType.Int64))],
            "positions beyond the table" => [("input_ids", ids), ("position_ids", Tensors.From([0L, 26, 0, 1], 2, 2))],
            "labels of another length" => [("input_ids", ids), ("labels", torch.ones([2, 3], ScalarType.Int64))],
            "labels beyond the table" => [("input_ids", ids), ("labels", Tensors.From([0L, 80, 0, 1], 2, 2))],
            "vectors of another width" => [("inputs_embeds", torch.ones([2, 2, 35]))],
            "longer than the positions" => [("input_ids", torch.ones([1, 27], ScalarType.Int64))],
            "ids and vectors" => [("input_ids", ids), ("inputs_embeds", torch.ones([2, 2, 36]))],
            _ => new[] { ("input_ids", ids) },
        });
        string[] more = what == "no loss for gradients" ? ["--gradients", "all"] : [];
        InProcess.Run(["forward", "--backbone", Repository.Fixture("gpt2_a"), "--inputs", path, "--outputs", scratch["out.safetensors"], .. more]).Refused(1, mention);
        Assert.Single(Scratch.Left(scratch.Path));
    }

    private static string Make(string path, string damage)
    {
        const string Targets = """ "targets":{"dtype":"I64","shape":[2],"data_offsets":[48,64]} """;
        string Header(string inputs) => $$"""{"inputs":{{inputs}},{{Targets}}}""";
        string good = Header("""{"dtype":"F32","shape":[2,3,2],"data_offsets":[0,48]}""");
        return damage switch
        {
            "truncated" => TensorFile.WriteRaw(path, good, 60),
            "oversized header" => TensorFile.WriteRaw(path, good, 64, 1UL << 62),
            "header beyond the end" => TensorFile.WriteRaw(path, good, 64, 5000),
            "overlapping" => TensorFile.WriteRaw(path, good.Replace("[48,64]", "[40,56]", StringComparison.Ordinal), 56),
            "hole" => TensorFile.WriteRaw(path, good.Replace("[48,64]", "[56,72]", StringComparison.Ordinal), 72),
            "trailing bytes" => TensorFile.WriteRaw(path, good, 65),
            "offsets and shape disagree" => TensorFile.WriteRaw(path, good.Replace("[2],", "[3],", StringComparison.Ordinal), 64),
            "negative size" => TensorFile.WriteRaw(path, Header("""{"dtype":"F32","shape":[-2,-3,2],"data_offsets":[0,48]}"""), 64),
            "overflowing shape" => TensorFile.WriteRaw(path, Header("""{"dtype":"F32","shape":[4611686018427387904,4,3],"data_offsets":[0,48]}"""), 64),
            "too many dimensions" => TensorFile.WriteRaw(path, Header($$"""{"dtype":"F32","shape":[{{string.Join(',', Enumerable.Repeat(1, 100))}},12],"data_offsets":[0,48]}"""), 64),
            "unknown dtype" => TensorFile.WriteRaw(path, good.Replace("F32", "F4", StringComparison.Ordinal), 64),
            "no JSON" => TensorFile.WriteRaw(path, "PK\u0003\u0004 this is a zip file", 64),
            "deep JSON" => TensorFile.WriteRaw(path, new string('[', 100_000), 64),
            "listed twice" => TensorFile.WriteRaw(path, $$"""{{{Targets}},{{Targets}}}""", 64),
            "no header at all" => WriteBytes(path, [1, 2, 3]),
            "a folder" => Directory.CreateDirectory(path).FullName,
            _ => path,
        };
    }

    private static string WriteBytes(string path, byte[] content)
    {
        File.WriteAllBytes(path, content);
        return path;
    }

    private static string Data(Scratch scratch) => TensorFile.Write(scratch["data.safetensors"], ("inputs", torch.zeros([4, 3, 2])), ("targets", Tensors.From([0L, 1, 0, 1], 4)));

    private static string Backbone(Scratch scratch)
    {
        string folder = scratch["backbone"];
        Directory.CreateDirectory(folder);
        foreach (string name in new[] { "config.json", "model.safetensors" }) File.WriteAllBytes(Path.Combine(folder, name), File.ReadAllBytes(Repository.Fixture("gpt2_a", name)));
        return folder;
    }

    private static CliResult Finetune(Scratch scratch, string data, params string[] more) =>
        InProcess.Run(["finetune", "--task", "tensors", "--data", data, "--max-steps", "2", "--output-dir", scratch["run"], .. more.Contains("--backbone") ? more : ["--backbone", "gpt2-tiny", "--init", "random", .. more]]);
}
