using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Permafrost.Server;

/// <summary>
/// What one adapter was asked, and how long it took: counted for <c>/metrics</c> and the page, and told to OpenTelemetry through the meter <c>Permafrost.Server</c>.
/// </summary>
internal sealed class Traffic(string adapter)
{
    /// <summary>Upper bounds of the histogram, in seconds; the last bucket is beyond them.</summary>
    public static IReadOnlyList<double> Bounds { get; } = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

    private const int Remembered = 60;
    private static readonly Meter Meter = new("Permafrost.Server");
    private static readonly Counter<long> RequestCount = Meter.CreateCounter<long>("permafrost.requests", "{request}", "requests answered or refused");
    private static readonly Counter<long> RowCount = Meter.CreateCounter<long>("permafrost.rows", "{row}", "rows answered");
    private static readonly Histogram<double> Duration = Meter.CreateHistogram<double>("permafrost.request.duration", "s", "time from the headers to the answer");

    private readonly ConcurrentDictionary<int, long> byStatus = new();
    private readonly long[] buckets = new long[Bounds.Count + 1];
    private readonly Queue<double> recent = new();
    private readonly Lock gate = new();
    private long rows;
    private double seconds;

    /// <summary>Requests by status code.</summary>
    public IReadOnlyDictionary<int, long> ByStatus => byStatus;

    /// <summary>Counts a request.</summary>
    public void Add(int status, int answered, TimeSpan duration)
    {
        byStatus.AddOrUpdate(status, 1, (_, before) => before + 1);
        var named = KeyValuePair.Create<string, object?>("adapter", adapter);
        RequestCount.Add(1, named, KeyValuePair.Create<string, object?>("status", status));
        if (status != StatusCodes.Status200OK) return;
        RowCount.Add(answered, named);
        Duration.Record(duration.TotalSeconds, named);
        int bucket = 0;
        while (bucket < Bounds.Count && duration.TotalSeconds > Bounds[bucket]) bucket++;
        lock (gate)
        {
            buckets[bucket]++;
            rows += answered;
            seconds += duration.TotalSeconds;
            recent.Enqueue(Math.Round(duration.TotalMilliseconds, 3));
            if (recent.Count > Remembered) recent.Dequeue();
        }
    }

    /// <summary>The counts at one moment.</summary>
    public TrafficCounts Read()
    {
        lock (gate) return new TrafficCounts(byStatus.Values.Sum(), rows, seconds, [.. buckets], [.. recent]);
    }
}

/// <summary>Counts of an adapter.</summary>
/// <param name="Requests">Requests, answered and refused.</param>
/// <param name="Rows">Rows answered.</param>
/// <param name="Seconds">Seconds that answered requests took together.</param>
/// <param name="Buckets">Answered requests by <see cref="Traffic.Bounds"/>.</param>
/// <param name="Recent">Milliseconds of the last answered requests, the oldest first.</param>
internal sealed record TrafficCounts(long Requests, long Rows, double Seconds, IReadOnlyList<long> Buckets, IReadOnlyList<double> Recent);
