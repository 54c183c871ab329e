using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Logging;

namespace Permafrost.Cli.Terminal;

/// <summary>What a server tells, a line each on standard error: a sentence, or a JSON object with its parts. Of ASP.NET Core only warnings and errors.</summary>
internal sealed class ServerLogLines(bool json, bool requests) : ILoggerProvider
{
    public ILogger CreateLogger(string categoryName) => new Lines(categoryName, json, requests);

    public void Dispose() { }

    private sealed class Lines(string category, bool json, bool requests) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        // That it could not start, the program says itself.
        public bool IsEnabled(LogLevel logLevel) => !category.StartsWith("Microsoft.Extensions.Hosting", StringComparison.Ordinal)
            && logLevel >= (!category.StartsWith("Permafrost", StringComparison.Ordinal) ? LogLevel.Warning : requests ? LogLevel.Debug : LogLevel.Information);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (!IsEnabled(logLevel)) return;
            string time = DateTime.UtcNow.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);
            // Names and paths come from requests: no line ends, and no other control characters either.
            string text = string.Concat(formatter(state, exception).Select(letter => char.IsControl(letter) ? ' ' : letter));
            if (!json)
            {
                Output.Note($"{time} {logLevel.ToString().ToLowerInvariant()}: {text}");
                return;
            }
            var line = new JsonObject { ["time"] = time, ["level"] = logLevel.ToString().ToLowerInvariant(), ["category"] = category, ["message"] = text };
            if (exception is not null) line["error"] = exception.GetType().Name;
            foreach ((string name, object? value) in state as IReadOnlyList<KeyValuePair<string, object?>> ?? [])
                if (name != "{OriginalFormat}" && !line.ContainsKey(name.ToLowerInvariant())) line[name.ToLowerInvariant()] = Convert.ToString(value, CultureInfo.InvariantCulture);
            Output.Note(line.ToJsonString());
        }
    }
}
