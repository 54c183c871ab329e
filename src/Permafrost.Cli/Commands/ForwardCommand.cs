using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Training;

namespace Permafrost.Cli.Commands;

internal static class ForwardCommand
{
    public static Command Create()
    {
        var command = new Command("forward", "run a model on given tensors and write its outputs: for checks against other software");
        var backbone = new Option<string>("--backbone") { Description = "a model folder or a model in the Hugging Face cache; its architectures[0] decides the head", Required = true, HelpName = "REF" };
        var inputs = new Option<string>("--inputs") { Description = "a .safetensors file with input_ids or inputs_embeds, attention_mask, position_ids, labels, ...", Required = true, HelpName = "FILE" };
        var outputs = new Option<string>("--outputs") { Description = "the .safetensors file to write: logits, hidden_states.N, attentions.N, loss, grad.*", Required = true, HelpName = "FILE" };
        var gradients = new Option<string>("--gradients") { Description = "gradients of the loss: all, norm (norms and positions) or none", DefaultValueFactory = _ => "none" };
        var generate = new Option<int>("--generate") { Description = "append so many tokens, each the most probable one, and write `sequences`; labels and position_ids are not read then", HelpName = "N" };
        var device = new Option<string>("--device") { Description = "auto, cpu, cuda or cuda:N", DefaultValueFactory = _ => "cpu" };
        Option<bool> json = CommonOptions.Json();
        foreach (Option option in new Option[] { backbone, inputs, outputs, gradients, generate, device, json }) command.Add(option);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(backbone), parsed.GetRequiredValue(inputs), parsed.GetRequiredValue(outputs),
            parsed.GetRequiredValue(gradients), parsed.GetValue(generate), parsed.GetRequiredValue(device), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string reference, string inputPath, string outputPath, string gradients, int generate, string deviceName, bool json)
    {
        if (gradients is not ("all" or "norm" or "none")) throw new UsageException($"--gradients '{gradients}' does not exist; there are all, norm and none");
        if (generate < 0) throw new UsageException($"--generate {generate} must not be negative");
        if (Path.GetFullPath(inputPath) == Path.GetFullPath(outputPath)) throw new UsageException($"--outputs {outputPath} is the file of --inputs, which would be overwritten; give another");
        BackboneSource source = BackboneSource.Resolve(reference);
        if (source.Folder is null) throw new UsageException($"--backbone {reference} is a preset without weights; give a model folder");
        Device device = FinetuneRun.ParseDevice(deviceName);
        using var scope = torch.NewDisposeScope();
        using PretrainedModel model = ModelRegistry.CreateWithHead(source.Config);
        WeightLoader.Load(model, ModelRegistry.Find(source.Config), model.Prefix, source.Folder);
        Dictionary<string, Tensor> inputs = AdapterFolder.ReadFile(inputPath).ToDictionary(pair => pair.Key, pair => pair.Value.to(device));
        foreach (string name in inputs.Keys)
            if (!model.InputNames.Contains(name)) throw new PermafrostException($"{inputPath}: '{name}' is no input of {source.Config.Architecture ?? source.Config.ModelType}; it takes {string.Join(", ", model.InputNames)}");
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
        foreach ((string name, Parameter parameter) in model.NamedParameters())
        {
            parameter.Value = parameter.Value.to(device);
            parameter.Value.requires_grad = gradients == "all" || (gradients == "norm" && IsNormOrPosition(model, name));
        }
    }

    private static bool IsNormOrPosition(PretrainedModel model, string name)
    {
        if (model.Prefix.Length > 0 && !name.StartsWith(model.Prefix, StringComparison.Ordinal)) return false;
        return model.Backbone.GroupOf(name[model.Prefix.Length..]).Group is GroupName.Ln or GroupName.Pos;
    }

    private static void AddGradients(PretrainedModel model, Dictionary<string, Tensor> outputs, string inputPath)
    {
        if (!outputs.TryGetValue("loss", out Tensor? loss))
            throw new PermafrostException($"{inputPath}: gradients need a loss; give {(model.InputNames.Contains("labels") ? "labels" : "loss_weight")}, or leave out --gradients");
        Segment.Backward(loss);
        foreach ((string name, Parameter parameter) in model.NamedParameters())
            if (parameter.Value.requires_grad) outputs[$"grad.{name}"] = parameter.Value.grad ?? torch.zeros_like(parameter.Value);
        if (model.EmbeddedInputs?.grad is { } gradient) outputs["grad.in.inputs_embeds"] = gradient;
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
