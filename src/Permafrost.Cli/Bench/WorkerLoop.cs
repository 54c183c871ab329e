using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Kernels;

namespace Permafrost.Cli.Bench;

/// <summary>
/// A measuring process: one JSON command a line on standard input, one JSON answer a line on standard output. Another build's worker may be on the other end of
/// <c>bench --against</c>, so what <c>setup</c>, <c>run</c>, <c>memory</c>, <c>save</c>, <c>door</c>, <c>hello</c> and <c>quit</c> mean must not change.
/// </summary>
internal static class WorkerLoop
{
    public static void Serve(Func<JsonObject, JsonObject> answer)
    {
        while (Console.In.ReadLine() is { } line)
        {
            if (line.Length == 0) continue;
            JsonObject reply;
            bool quit = false;
            try
            {
                JsonObject command = JsonNode.Parse(line)!.AsObject();
                quit = (string?)command["cmd"] == "quit";
                reply = quit ? new JsonObject { ["ok"] = true } : answer(command);
            }
            catch (Exception error) when (error is PermafrostException or EngineException or ExternalException or JsonException
                or InvalidOperationException or FormatException or ArgumentException)
            {
                reply = new JsonObject { ["error"] = error.Message };
            }
            Console.Out.WriteLine(reply.ToJsonString());
            Console.Out.Flush();
            if (quit) return;
        }
    }
}
