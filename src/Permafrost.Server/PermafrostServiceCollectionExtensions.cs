using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Permafrost.Server;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Permafrost in an ASP.NET Core app: <c>builder.Services.AddPermafrost(...)</c> and <c>app.MapPermafrost()</c>.</summary>
public static class PermafrostServiceCollectionExtensions
{
    /// <summary>
    /// Serves adapters: registers the host, which loads them when the app starts, and, where a body is named, an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> of
    /// texts that shares no weights with them.
    /// </summary>
    /// <param name="services">The app's.</param>
    /// <param name="configure">What is served, and within which limits.</param>
    /// <param name="embedder">
    /// A body with a tokenizer whose embeddings the app wants, such as <c>all-MiniLM-L6-v2</c>; null for none. It is loaded when it is first asked for.
    /// </param>
    public static IServiceCollection AddPermafrost(this IServiceCollection services, Action<ServerOptions> configure, string? embedder = null)
    {
        services.AddSingleton(_ =>
        {
            var options = new ServerOptions();
            configure(options);
            options.Validate();
            return options;
        });
        AddServer(services);
        if (embedder is not null)
            services.TryAddSingleton<IEmbeddingGenerator<string, Embedding<float>>>(own =>
                Permafrost.SentenceEmbedder.Load(embedder, logger: own.GetService<ILoggerFactory>()?.CreateLogger("Permafrost.SentenceEmbedder")));
        return services;
    }

    /// <summary>The parts that serve; the options are there already.</summary>
    internal static void AddServer(IServiceCollection services)
    {
        services.TryAddSingleton<AdapterHost>();
        services.TryAddSingleton<Gatekeeper>();
        services.TryAddSingleton<Endpoints>();
        services.AddHostedService<AdapterWatcher>();
    }

    /// <summary>Maps the page, <c>/v1</c>, <c>/v2</c>, <c>/metrics</c> and <c>/openapi.json</c>.</summary>
    /// <param name="routes">The app, or a group of it.</param>
    public static IEndpointRouteBuilder MapPermafrost(this IEndpointRouteBuilder routes)
    {
        routes.ServiceProvider.GetRequiredService<Endpoints>().Map(routes);
        return routes;
    }
}
