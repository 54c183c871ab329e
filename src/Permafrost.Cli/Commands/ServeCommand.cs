using System.CommandLine;
using System.Net;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Logging;
using Permafrost.Cli.Terminal;
using Permafrost.Server;

namespace Permafrost.Cli.Commands;

internal static class ServeCommand
{
    private static readonly ServerOptions Usual = new();

    private static readonly Argument<string[]> Runs = new("RUN") { Description = "runs to serve: their folders, or NAME=FOLDER", Arity = ArgumentArity.ZeroOrMore };
    private static readonly Option<string?> Adapters = new("--adapters")
    {
        Description = "a folder of runs: what is put there, replaced or removed is served, replaced or removed while the server runs",
        HelpName = "DIR",
    };

    private static readonly Option<string> Host = new("--host") { Description = "the address to listen at; 0.0.0.0 for all", DefaultValueFactory = _ => "127.0.0.1" };
    private static readonly Option<int> Port = new("--port") { Description = "the port; 0 for any that is free", DefaultValueFactory = _ => 8000 };
    private static readonly Option<string?> Backbone = CommonOptions.Backbone();
    private static readonly Option<string> Device = new("--device") { Description = "auto, cpu or cuda:N", DefaultValueFactory = _ => Usual.Device };
    private static readonly Option<int> Batch = Number("--batch-rows", "rows that are computed together at most", Usual.BatchRows);
    private static readonly Option<double> Delay = new("--batch-delay")
    {
        Description = "milliseconds that a request waits for others to share its batch",
        DefaultValueFactory = _ => Usual.BatchDelay.TotalMilliseconds,
    };

    private static readonly Option<int> Queue = Number("--queue", "requests that wait at most; one more is refused with 429", Usual.Queue);
    private static readonly Option<int> MaxRows = Number("--max-rows", "rows in a request at most", Usual.MaxRows);
    private static readonly Option<long> MaxBody = new("--max-body-bytes") { Description = "bytes in a request at most", DefaultValueFactory = _ => Usual.MaxBodyBytes };
    private static readonly Option<double> Rate = new("--rate") { Description = "requests a second from one key or address at most; 0 for any number" };
    private static readonly Option<string?> Keys = new("--keys")
    {
        Description = "a file of API keys: a line for each, an adapter's name or *, and the key's SHA-256 in hex",
        HelpName = "FILE",
    };

    private static readonly Option<double> Drain = new("--drain")
    {
        Description = "seconds that requests get to end after SIGTERM or Ctrl-C",
        DefaultValueFactory = _ => Usual.Drain.TotalSeconds,
    };

    private static readonly Option<bool> LogRequests = new("--log-requests") { Description = "tell of every request on standard error: adapter, status, rows, milliseconds" };
    private static readonly Option<bool> Json = new("--json") { Description = "print the address as JSON, and log lines as JSON to standard error" };

    public static Command Create()
    {
        var command = new Command("serve", "answer over HTTP with any number of finished runs, over one backbone in memory") { Runs };
        Option[] options = [Adapters, Host, Port, Backbone, Device, Batch, Delay, Queue, MaxRows, MaxBody, Rate, Keys, Drain, LogRequests, Json];
        foreach (Option option in options) command.Add(option);
        command.SetAction(Run);
        return command;
    }

    private static Option<int> Number(string name, string description, int usual) => new(name) { Description = description, DefaultValueFactory = _ => usual };

    private static async Task<int> Run(ParseResult parsed, CancellationToken stop)
    {
        var options = new ServerOptions
        {
            Runs = parsed.GetValue(Runs) ?? [],
            AdaptersFolder = parsed.GetValue(Adapters),
            Backbone = parsed.GetValue(Backbone),
            Device = parsed.GetValue(Device)!,
            BatchRows = parsed.GetValue(Batch),
            BatchDelay = Span("--batch-delay", parsed.GetValue(Delay), TimeSpan.FromMilliseconds),
            Queue = parsed.GetValue(Queue),
            MaxRows = parsed.GetValue(MaxRows),
            MaxBodyBytes = parsed.GetValue(MaxBody),
            Rate = parsed.GetValue(Rate),
            KeysFile = parsed.GetValue(Keys),
            Drain = Span("--drain", parsed.GetValue(Drain), TimeSpan.FromSeconds),
        };
        int port = parsed.GetValue(Port);
        if (port is < 0 or > 65535) throw new UsageException($"--port is {port}; it must be from 0 to 65,535");
        string host = parsed.GetValue(Host)!;
        IPAddress address = host == "localhost" ? IPAddress.Loopback
            : IPAddress.TryParse(host, out IPAddress? given) ? given
            : throw new UsageException($"--host {host} is no IP address; write 127.0.0.1, or 0.0.0.0 for all of this machine's");
        bool json = parsed.GetValue(Json);
        await using PermafrostServer server = await PermafrostServer.StartAsync(options, address, port, logging =>
            logging.SetMinimumLevel(LogLevel.Debug).AddProvider(new ServerLogLines(json, parsed.GetValue(LogRequests))), stop);
        if (json) Output.Json(new JsonObject { ["address"] = server.Address, ["adapters"] = new JsonArray([.. server.Host.Names.Select(name => (JsonNode)name)]) });
        else Output.Line($"serving {server.Host.Names.Count} adapter(s) at {server.Address}");
        await Task.Delay(Timeout.Infinite, stop).ContinueWith(_ => { }, TaskScheduler.Default);
        Output.Note("stopping: requests that have begun are answered");
        await server.StopAsync();
        return 0;
    }

    private static TimeSpan Span(string name, double value, Func<double, TimeSpan> make) =>
        value is >= 0 and <= 1e6 ? make(value) : throw new UsageException($"{name} must be a number from 0 to 1,000,000");
}
