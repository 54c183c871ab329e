using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Terminal;
using Permafrost.Runs;

namespace Permafrost.Cli.Commands;

internal static class EnvCommand
{
    public static Command Create()
    {
        var command = new Command("env", "versions, processor, threads, devices, kernels: what a bug report needs");
        Option<bool> json = CommonOptions.Json();
        command.Add(json);
        command.SetAction(parsed =>
        {
            JsonObject facts = EnvironmentInfo.Collect();
            if (parsed.GetValue(json)) Output.Json(facts);
            else foreach ((string key, JsonNode? value) in facts) Output.Line($"{key.Replace('_', ' '),-16} {Text(key, value)}");
            return 0;
        });
        return command;
    }

    private static string Text(string key, JsonNode? value)
    {
        if (value is JsonObject map) return map.Count == 0 ? "none set" : string.Join(" ", map.Select(pair => $"{pair.Key}={pair.Value}"));
        if (key == "memory_bytes") return Output.Bytes((long)value!);
        if (key == "cuda_devices" && (int)value! == 0) return "0 (this libtorch has no CUDA, or there is no GPU)";
        return value?.ToString() ?? "";
    }
}
