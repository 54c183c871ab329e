using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Formats;
using Permafrost.Runs;

namespace Permafrost.Cli.Commands;

internal static class ExportCommand
{
    public static Command Create()
    {
        var command = new Command("export", "write a finished run for other software: onnx, the whole model in one file; peft, the adapter as Hugging Face's LN_TUNING");
        var run = new Argument<string>("RUN") { Description = "the run's folder" };
        var format = new Option<string>("--format")
        {
            Description = "onnx: body, adapter and head, in float32; peft: norms by PEFT's names, other trained modules as its modules_to_save",
            Required = true,
        };
        var output = new Option<string?>("--output") { Description = "what to write; default: RUN/model.onnx, or the folder RUN/peft", HelpName = "PATH" };
        Option<string?> backbone = CommonOptions.Backbone();
        Option<bool> json = CommonOptions.Json();
        command.Add(run);
        foreach (Option option in new Option[] { format, output, backbone, json }) command.Add(option);
        command.SetAction(parsed => Run(parsed.GetRequiredValue(run), parsed.GetRequiredValue(format), parsed.GetValue(output), parsed.GetValue(backbone), parsed.GetValue(json)));
        return command;
    }

    private static int Run(string path, string format, string? output, string? backbone, bool json)
    {
        if (format == "onnx") return Onnx(path, output ?? Path.Combine(path, "model.onnx"), backbone, json);
        if (format != "peft") throw new UsageException($"--format '{format}' does not exist; there are onnx and peft");
        using Finetuning run = Finetuning.Open(path, withData: false, options => options with { Model = options.Model with { Backbone = backbone ?? options.Model.Backbone } });
        PeftExport export = PeftExport.Write(run, output ?? Path.Combine(path, "peft"));
        if (json)
        {
            static JsonArray List(IReadOnlyList<string> names) => new([.. names.Select(name => (JsonNode)name)]);
            Output.Json(new JsonObject
            {
                ["folder"] = export.Folder,
                ["target_modules"] = List(export.Config.TargetModules),
                ["modules_to_save"] = List(export.Config.ModulesToSave),
                ["beside"] = List(export.Beside),
            });
            return 0;
        }
        Output.Line(FormattableString.Invariant($"{export.Folder}: {export.Config.TargetModules.Count} norms as PEFT's LN_TUNING"));
        if (export.Config.ModulesToSave.Count > 0) Output.Line($"as modules_to_save: {string.Join(", ", export.Config.ModulesToSave)}");
        if (export.Beside.Count > 0) Output.Line($"PEFT cannot name these; they are in {PeftAdapter.BesideName}: {string.Join(", ", export.Beside)}");
        return 0;
    }

    private static int Onnx(string path, string output, string? backbone, bool json)
    {
        using Finetuning run = OnnxExport.Open(path, backbone);
        OnnxExport export = OnnxExport.Write(run, output);
        if (json) Output.Json(new JsonObject { ["files"] = new JsonArray([.. export.Files.Select(file => (JsonNode)file)]) });
        else foreach (string file in export.Files) Output.Line(FormattableString.Invariant($"{file}: {new FileInfo(file).Length / 1e6:N1} MB"));
        return 0;
    }
}
