using System.Net;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Permafrost.Server;

/// <summary>A server of its own: adapters, endpoints and limits over Kestrel, without configuration files or variables of ASP.NET Core.</summary>
/// <example><code>
/// await using var server = await PermafrostServer.StartAsync(new() { Runs = ["runs/reviews"] }, IPAddress.Loopback, 8000);
/// Console.WriteLine(server.Address);
/// </code></example>
public sealed class PermafrostServer : IAsyncDisposable
{
    // Connections whose bodies are being read all hold memory.
    private const int MostConnections = 1000;

    private readonly WebApplication app;
    private readonly TimeSpan drain;

    private PermafrostServer(WebApplication app, TimeSpan drain) => (this.app, this.drain) = (app, drain);

    /// <summary>Where it listens, such as <c>http://127.0.0.1:8000</c>.</summary>
    public string Address { get; private set; } = "";

    /// <summary>The adapters.</summary>
    public AdapterHost Host => app.Services.GetRequiredService<AdapterHost>();

    /// <summary>Loads the adapters and starts to listen.</summary>
    /// <param name="options">What is served, and within which limits.</param>
    /// <param name="address">Where to listen: the machine's own, or <see cref="IPAddress.Any"/>.</param>
    /// <param name="port">The port; 0 for any that is free.</param>
    /// <param name="logging">Adds what is told of requests and adapters; null for nothing.</param>
    /// <param name="cancellation">Ends the start.</param>
    /// <exception cref="PermafrostException">A run cannot be loaded, or the port is taken.</exception>
    public static async Task<PermafrostServer> StartAsync(
        ServerOptions options, IPAddress address, int port, Action<ILoggingBuilder>? logging = null, CancellationToken cancellation = default)
    {
        options.Validate();
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(address, port);
            kestrel.Limits.MaxRequestBodySize = options.MaxBodyBytes;
            kestrel.Limits.MaxConcurrentConnections = MostConnections;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(15);
        });
        builder.Services.AddRoutingCore();
        builder.Services.AddLogging(with => logging?.Invoke(with));
        builder.Services.AddSingleton(options);
        PermafrostServiceCollectionExtensions.AddServer(builder.Services);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = options.Drain);
        // Signals are the program's.
        builder.Services.Replace(ServiceDescriptor.Singleton<IHostLifetime, NoLifetime>());
        WebApplication app = builder.Build();
        try
        {
            app.UseStatusCodePages(context => Endpoints.WriteError(context.HttpContext, context.HttpContext.Response.StatusCode, context.HttpContext.Response.StatusCode switch
            {
                StatusCodes.Status404NotFound => "there is nothing at this address; / shows what there is, and /openapi.json describes it",
                StatusCodes.Status405MethodNotAllowed => "this address takes another method; /openapi.json describes it",
                var status => $"the request was refused with status {status}",
            }));
            app.MapPermafrost();
            await app.StartAsync(cancellation).ConfigureAwait(false);
        }
        catch (Exception error) when (error is IOException or System.Net.Sockets.SocketException)
        {
            await app.DisposeAsync().ConfigureAwait(false);
            throw new PermafrostException($"cannot listen on {address}:{port}: {Reason(error)}; choose another `port`", error);
        }
        catch
        {
            await app.DisposeAsync().ConfigureAwait(false);
            throw;
        }
        return new PermafrostServer(app, options.Drain)
        {
            Address = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First(),
        };
    }

    /// <summary>Takes no more requests, and ends once those that have begun are answered, or their time is up.</summary>
    public async Task StopAsync()
    {
        using var limit = new CancellationTokenSource(drain);
        await app.StopAsync(limit.Token).ConfigureAwait(false);
    }

    /// <summary>Stops, and frees adapters and body.</summary>
    public ValueTask DisposeAsync() => app.DisposeAsync();

    private static string Reason(Exception error) =>
        error.Message.Contains("in use", StringComparison.OrdinalIgnoreCase) ? "another program listens there" : error.Message.TrimEnd('.');

    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
