using System.Text.Json.Nodes;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;

namespace Permafrost.Cli.Tests;

/// <summary>`permafrost forward` against Hugging Face's numbers: every output, every gradient given, greedy ids.</summary>
public class ForwardTests
{
    public static TheoryData<string, string> Cases()
    {
        var cases = new TheoryData<string, string>();
        foreach (string fixture in new[] { "gpt2_a", "gpt2_b" })
            foreach (string name in new[] { "ids", "full_length", "left_padded", "right_padded", "embeds", "one_token" }) cases.Add(fixture, name);
        cases.Add("longformer_b", "local_only");  // norms' gradients of a class whose pooler is in no group
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Writes_the_outputs_and_gradients_of_Hugging_Face(string fixture, string name)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        string gradients = (string?)JsonNode.Parse(File.ReadAllText(Repository.Fixture(fixture, "expected.json")))!["cases"]![name]!["gradients"] ?? "none";
        Dictionary<string, Tensor> inputs = Golden.Case(expected, $"{name}/in.");

        CliResult result = Forward(fixture, inputs, scratch, "--gradients", gradients, "--json").Succeeded();

        Dictionary<string, Tensor> outputs = TensorFile.Read(scratch["out.safetensors"]);
        Tensor? mask = inputs.GetValueOrDefault("attention_mask");
        foreach ((string output, Tensor reference) in Golden.Case(expected, $"{name}/out."))
        {
            if (output == "loss") Golden.Loss("loss", outputs["loss"].Number(), reference.Number());
            else Golden.Forward(output, Visible(outputs[output], mask, output), Visible(reference, mask, output));
        }
        Dictionary<string, Tensor> references = Golden.Case(expected, $"{name}/grad.");
        Assert.Equal(gradients != "none", references.Count > 0);
        double largest = references.Values.Select(Golden.Largest).DefaultIfEmpty().Max();
        foreach ((string parameter, Tensor reference) in references) Golden.Gradient($"grad.{parameter}", outputs[$"grad.{parameter}"], reference, largest);

        JsonObject json = result.Json;
        Assert.Equal(outputs.Keys.Order(StringComparer.Ordinal), json["tensors"]!.AsObject().Select(pair => pair.Key).Order(StringComparer.Ordinal));
        foreach ((string output, JsonNode? shape) in json["tensors"]!.AsObject()) Assert.Equal(outputs[output].shape, shape!.AsArray().Select(size => (long)size!));
        if (outputs.TryGetValue("loss", out Tensor? loss)) Golden.Loss("loss of --json", (double)json["loss"]!, loss.Number());
        else Assert.Null(json["loss"]);
    }

    [Theory]
    [InlineData("all")]
    [InlineData("norm")]
    [InlineData("none")]
    public void Writes_the_gradients_that_are_asked_for_and_no_others(string gradients)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        using var expected = new SafetensorsFile(Repository.Fixture("gpt2_a", "expected.safetensors"));
        Forward("gpt2_a", Golden.Case(expected, "ids/in."), scratch, "--gradients", gradients).Succeeded();
        using var weights = new SafetensorsFile(Repository.Fixture("gpt2_a", "model.safetensors"));
        using var written = new SafetensorsFile(scratch["out.safetensors"]);
        IEnumerable<string> wanted = gradients switch
        {
            "all" => weights.Entries.Keys.Append("in.inputs_embeds"),
            "norm" => weights.Entries.Keys.Where(name => name.Contains(".ln_", StringComparison.Ordinal) || name.Contains("wpe", StringComparison.Ordinal)).Append("in.inputs_embeds"),
            _ => [],
        };
        Assert.Equal(wanted.Order(StringComparer.Ordinal), written.Entries.Keys.Where(name => name.StartsWith("grad.", StringComparison.Ordinal)).Select(name => name[5..]).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("gpt2_a")]
    [InlineData("gpt2_b")]
    public void Generates_the_ids_of_Hugging_Face(string fixture)
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        Dictionary<string, Tensor> inputs = Golden.Case(expected, "generate/in.");
        Tensor reference = expected.Read("generate/out.sequences");
        Forward(fixture, inputs, scratch, "--generate", (reference.size(1) - inputs["input_ids"].size(1)).ToString()).Succeeded();
        Dictionary<string, Tensor> outputs = TensorFile.Read(scratch["out.safetensors"]);
        Assert.Equal(["sequences"], outputs.Keys);
        Assert.Equal(reference.shape, outputs["sequences"].shape);
        Assert.Equal(reference.ToArray<long>(), outputs["sequences"].ToArray<long>());
    }

    [Fact]
    public void Takes_a_loss_weight_when_the_model_has_no_loss_of_its_own()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        const int B = 3, T = 5, C = 48;
        var inputs = new Dictionary<string, Tensor>
        {
            ["input_ids"] = Tensors.From([.. Enumerable.Range(0, B * T).Select(i => (long)(7 * i % 23))], B, T),
            ["loss_weight"] = Tensors.From([.. Enumerable.Range(0, B * T * C).Select(i => MathF.Sin(i))], B, T, C),
        };
        JsonObject json = Forward("fpt_bitxor", inputs, scratch, "--gradients", "norm", "--json").Succeeded().Json;
        Dictionary<string, Tensor> outputs = TensorFile.Read(scratch["out.safetensors"]);
        double loss = (outputs["last_hidden_state"].to(ScalarType.Float64) * inputs["loss_weight"]).sum().Number() / B;
        Golden.Loss("loss", outputs["loss"].Number(), loss);
        Golden.Loss("loss of --json", (double)json["loss"]!, loss);
        // The final norm's bias is added to every token: its gradient is the weights' mean over the batch, summed over the tokens.
        Golden.Close("grad.ln_f.bias", outputs["grad.ln_f.bias"], inputs["loss_weight"].sum([0, 1]) / B, 1e-5);
        Assert.False(outputs.ContainsKey("logits"), "a headless model has no logits");
    }

    [Fact]
    public void The_first_layers_are_run_alone()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        string file = TensorFile.Write(scratch["in.safetensors"], [("input_ids", Tensors.From([1L, 2, 3], 1, 3))]);
        Cli.Run("forward", "--backbone", Repository.Fixture("gpt2_a") + ":1", "--inputs", file, "--outputs", scratch["out.safetensors"]).Succeeded();
        Assert.Contains("hidden_states.1", TensorFile.Read(scratch["out.safetensors"]).Keys);
        Assert.DoesNotContain("hidden_states.2", TensorFile.Read(scratch["out.safetensors"]).Keys);
    }

    [Fact]
    public void Says_in_a_line_what_it_wrote()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        using var expected = new SafetensorsFile(Repository.Fixture("gpt2_a", "expected.safetensors"));
        CliResult result = Forward("gpt2_a", Golden.Case(expected, "ids/in."), scratch).Succeeded();
        string line = Assert.Single(result.Lines);
        Assert.Contains(scratch["out.safetensors"], line, StringComparison.Ordinal);
        Assert.Contains("loss 6.086", line, StringComparison.Ordinal);
        Assert.Empty(result.Error);
    }

    [Fact]
    public void A_loss_that_is_no_number_is_null_in_json()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        var inputs = new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From([1L, 2, 3], 1, 3), ["labels"] = Tensors.From([-100L, -100, -100], 1, 3) };
        JsonObject json = Forward("gpt2_a", inputs, scratch, "--json").Succeeded().Json;
        Assert.True(json.ContainsKey("loss"));
        Assert.Null(json["loss"]);
        Assert.Contains("loss NaN", Assert.Single(Forward("gpt2_a", inputs, scratch).Succeeded().Lines), StringComparison.Ordinal);
    }

    [Fact]
    public void The_inputs_are_not_written_over()
    {
        using var tensors = torch.NewDisposeScope();
        using var scratch = new Scratch();
        string file = TensorFile.Write(scratch["in.safetensors"], [("input_ids", Tensors.From([1L, 2, 3], 1, 3))]);
        byte[] before = File.ReadAllBytes(file);
        Cli.Run("forward", "--backbone", Repository.Fixture("gpt2_a"), "--inputs", file, "--outputs", Path.Combine(scratch.Path, ".", "in.safetensors")).Refused(2, "--outputs");
        Assert.Equal(before, File.ReadAllBytes(file));
    }

    private static CliResult Forward(string fixture, Dictionary<string, Tensor> inputs, Scratch scratch, params string[] more)
    {
        string file = TensorFile.Write(scratch["in.safetensors"], inputs.Select(pair => (pair.Key, pair.Value)));
        return Cli.Run(["forward", "--backbone", Repository.Fixture(fixture), "--inputs", file, "--outputs", scratch["out.safetensors"], .. more]);
    }

    // Rows of padded queries are undefined in the reference: compared as zeros.
    private static Tensor Visible(Tensor tensor, Tensor? mask, string name)
    {
        if (mask is null) return tensor;
        Tensor rows = mask.to(tensor.dtype);
        return tensor * (name.StartsWith("attentions", StringComparison.Ordinal) ? rows.view(rows.size(0), 1, rows.size(1), 1) : rows.view(rows.size(0), rows.size(1), 1));
    }
}
