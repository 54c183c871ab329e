using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Runs;

namespace Permafrost.Cli.Commands;

internal static class ForwardCommand
{
    public static Command Create()
    {
        var command = new Command("forward", "run a model on given tensors and write its outputs: for checks against other software");
        Option<string> backbone = Required("--backbone", "REF", "all-MiniLM-L6-v2, a model folder or a model in the Hugging Face cache; its architectures[0] decides the head");
        Option<string> inputs = Required("--inputs", "FILE", "a .safetensors file with input_ids, inputs_embeds or pixel_values, attention_mask, labels, decoder_input_ids, ...");
        Option<string> outputs = Required("--outputs", "FILE", "the .safetensors file to write: logits, hidden_states.N, attentions.N, loss, grad.*");
        var gradients = new Option<string>("--gradients") { Description = "gradients of the loss: all, norm (norms and positions) or none", DefaultValueFactory = _ => "none" };
        var generate = new Option<int>("--generate")
        {
            Description = "append up to N tokens, each the most probable one, and write `sequences`; labels and position_ids are not read then",
            HelpName = "N",
        };
        var skip = new Option<string?>("--skip-weights")
        {
            Description = "tensors of the checkpoint that the model does not have, such as another head's, to leave out: patterns with commas, such as v_head.*",
            HelpName = "TEXT",
        };
        var device = new Option<string>("--device") { Description = "auto, cpu, cuda or cuda:N", DefaultValueFactory = _ => "cpu" };
        Option<bool> json = CommonOptions.Json();
        foreach (Option option in new Option[] { backbone, inputs, outputs, gradients, generate, skip, device, json }) command.Add(option);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(backbone), parsed.GetRequiredValue(inputs), parsed.GetRequiredValue(outputs),
            parsed.GetRequiredValue(gradients), parsed.GetValue(generate), parsed.GetValue(skip), parsed.GetRequiredValue(device), parsed.GetValue(json)));
        return command;
    }

    private static Option<string> Required(string name, string value, string description) =>
        new(name) { Description = description, Required = true, HelpName = value };

    private static int Run(string reference, string inputPath, string outputPath, string gradients, int generate, string? skipWeights, string deviceName, bool json)
    {
        if (gradients is not ("all" or "norm" or "none")) throw new UsageException($"--gradients '{gradients}' does not exist; there are all, norm and none");
        if (generate < 0) throw new UsageException($"--generate {generate} must not be negative");
        if (Path.GetFullPath(inputPath) == Path.GetFullPath(outputPath))
            throw new UsageException($"--outputs {outputPath} is the file of --inputs, which would be overwritten; give another");
        BackboneSource source = BackboneSource.Resolve(reference);
        if (source.Note is { } note) Output.Note(note);
        if (source.Folder is null) throw new UsageException($"--backbone {reference} is a preset without weights; give a model folder{source.FetchHint}");
        Device device = Finetuning.ParseDevice(deviceName);
        using var scope = torch.NewDisposeScope();
        using PretrainedModel model = ModelRegistry.CreateWithHead(source.Config);
        int skipped = CheckpointReader.Load(model, ModelRegistry.Find(source.Config), model.Prefix, source.Folder, source.Skipping(skipWeights));
        if (skipWeights is not null) Output.Note($"{reference}: {skipped} tensor(s) left out, as --skip-weights {skipWeights} says");
        Dictionary<string, Tensor> inputs = AdapterFolder.ReadFile(inputPath).ToDictionary(pair => pair.Key, pair => pair.Value.to(device));
        foreach (string name in inputs.Keys)
            if (!model.InputNames.Contains(name))
                throw new PermafrostException(
                    $"{inputPath}: '{name}' is no input of {source.Config.Architecture ?? source.Config.ModelType}; " +
                    $"it takes {string.Join(", ", model.InputNames)}");
        Prepare(model, gradients, device);

        var outputs = new Dictionary<string, Tensor>();
        if (generate > 0) outputs["sequences"] = model.Generate(inputs, generate);
        else
        {
            using IDisposable? noGrad = gradients == "none" ? torch.no_grad() : null;
            foreach ((string name, Tensor tensor) in model.Forward(inputs)) outputs[name] = tensor;
            if (gradients != "none") AddGradients(model, outputs, inputPath);
        }
        SafetensorsWriter.Write(outputPath, outputs.ToDictionary(pair => pair.Key, pair => pair.Value.detach().to(torch.CPU)));
        Print(outputs, outputPath, json);
        return 0;
    }

    private static void Prepare(PretrainedModel model, string gradients, Device device)
    {
        model.WantInputGradient = gradients != "none";
        // The head's parameters are in no group.
        HashSet<string> norms = [.. model.Backbone.NamedParameters().Select(pair => pair.Name)
            .Where(name => model.Backbone.GroupOf(name).Group is GroupName.Ln or GroupName.Pos).Select(name => model.Prefix + name)];
        foreach ((string name, Parameter parameter) in model.NamedParameters())
        {
            parameter.Value = parameter.Value.to(device);
            parameter.Value.requires_grad = !parameter.IsBuffer && (gradients == "all" || (gradients == "norm" && norms.Contains(name)));
        }
    }

    private static void AddGradients(PretrainedModel model, Dictionary<string, Tensor> outputs, string inputPath)
    {
        if (!outputs.TryGetValue("loss", out Tensor? loss))
            throw new PermafrostException($"{inputPath}: gradients need a loss; give {(model.InputNames.Contains("labels") ? "labels" : "loss_weight")}, or leave out --gradients");
        Segment.Backward(loss);
        foreach ((string name, Parameter parameter) in model.NamedParameters())
            if (parameter.Value.requires_grad) outputs[$"grad.{name}"] = parameter.Value.grad ?? torch.zeros_like(parameter.Value);
        foreach ((string name, Tensor tensor) in model.EmbeddedInputs)
            if (tensor.grad is { } gradient) outputs[$"grad.in.{name}"] = gradient;
    }

    private static void Print(Dictionary<string, Tensor> outputs, string path, bool json)
    {
        double? loss = outputs.TryGetValue("loss", out Tensor? tensor) ? tensor.detach().Number() : null;
        if (json)
        {
            var shapes = new JsonObject();
            foreach ((string name, Tensor output) in outputs) shapes[name] = new JsonArray([.. output.shape.Select(size => (JsonNode)size)]);
            Output.Json(new JsonObject { ["outputs"] = path, ["loss"] = loss is { } value && double.IsFinite(value) ? value : null, ["tensors"] = shapes });
            return;
        }
        Output.Line($"{outputs.Count} tensors written to {path}" + (loss is null ? "" : FormattableString.Invariant($"; loss {loss:G9}")));
    }
}
