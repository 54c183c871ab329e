namespace Permafrost.Server;

/// <summary>What is served, and within which limits.</summary>
public sealed record ServerOptions
{
    /// <summary>Runs to serve: a run's folder, which gives the adapter its name, or <c>NAME=FOLDER</c>.</summary>
    public IReadOnlyList<string> Runs { get; set; } = [];

    /// <summary>A folder whose folders are runs: what is put there, replaced or taken away is served, replaced or no longer served; null for none.</summary>
    public string? AdaptersFolder { get; set; }

    /// <summary>The body, where it is no longer where the runs found it; null for the one that the first run names.</summary>
    public string? Backbone { get; set; }

    /// <summary>Where it computes: <c>auto</c>, <c>cpu</c> or <c>cuda:0</c>.</summary>
    public string Device { get; set; } = "auto";

    /// <summary>The most requests that wait; one more is refused with 429.</summary>
    public int Queue { get; set; } = 256;

    /// <summary>The most rows in a request.</summary>
    public int MaxRows { get; set; } = 1024;

    /// <summary>The largest body of a request, in bytes.</summary>
    public long MaxBodyBytes { get; set; } = 16 << 20;

    /// <summary>Rows that are computed together at most.</summary>
    public int BatchRows { get; set; } = 64;

    /// <summary>How long a request waits for others to share its batch.</summary>
    public TimeSpan BatchDelay { get; set; } = TimeSpan.FromMilliseconds(2);

    /// <summary>The most requests a second from one key, or without keys from one address; 0 for no limit.</summary>
    public double Rate { get; set; }

    /// <summary>A file of API keys (see <see cref="ApiKeys"/>); null lets everybody in.</summary>
    public string? KeysFile { get; set; }

    /// <summary>How often <see cref="AdaptersFolder"/> is looked at.</summary>
    public TimeSpan Poll { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>How long requests that have begun may take to end when the server is asked to stop.</summary>
    public TimeSpan Drain { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Refuses what cannot be.</summary>
    /// <exception cref="UsageException">A limit is out of range, or nothing is served.</exception>
    public void Validate()
    {
        if (Runs.Count == 0 && AdaptersFolder is null) throw new UsageException("nothing is to be served: name runs, or a folder of them with `adapters`");
        if (AdaptersFolder is not null && !Directory.Exists(AdaptersFolder)) throw new UsageException($"`adapters` {AdaptersFolder} is not a folder; make it, or name another");
        Positive("queue", Queue);
        Positive("max_rows", MaxRows);
        Positive("max_body_bytes", MaxBodyBytes);
        Positive("batch_rows", BatchRows);
        if (BatchRows > 1_000_000) throw new UsageException($"`batch_rows` is {BatchRows}; it must be 1,000,000 at most");
        if (Poll <= TimeSpan.Zero || Poll > TimeSpan.FromHours(1)) throw new UsageException("`poll` must be above 0 and an hour at most");
        if (BatchDelay < TimeSpan.Zero || BatchDelay > TimeSpan.FromSeconds(10)) throw new UsageException("`batch_delay` must be from 0 to 10,000 milliseconds");
        if (!(Rate >= 0 && Rate <= 1e6)) throw new UsageException("`rate` must be from 0, for no limit, to 1,000,000");
        if (Drain < TimeSpan.Zero || Drain > TimeSpan.FromHours(1)) throw new UsageException("`drain` must be from 0 to 3,600 seconds");
    }

    private static void Positive(string name, long value)
    {
        if (value < 1) throw new UsageException($"`{name}` is {value}; it must be at least 1");
    }
}
