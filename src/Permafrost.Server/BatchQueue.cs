using System.Diagnostics;
using Permafrost.Adaptation;
using Permafrost.Training;

namespace Permafrost.Server;

/// <summary>
/// Requests that wait, and the one thread that computes: every kernel uses all cores already. Requests of one adapter that come within a few milliseconds share batches, sorted by
/// length; adapters take turns, and a request of many rows lets others in between. A row's answer is the same, bit for bit, whatever else is in its batch.
/// </summary>
internal sealed class BatchQueue : IDisposable
{
    // Batches of a turn: enough that rows of about one length find each other.
    private const int TurnBatches = 4;

    private readonly object gate = new();
    private readonly List<PendingRequest> waiting = [];
    private readonly ServerOptions options;
    private readonly Thread worker;
    private bool stopped;
    private long turns;
    private long batchedRows;

    public BatchQueue(ServerOptions options)
    {
        this.options = options;
        worker = new Thread(Work) { IsBackground = true, Name = "permafrost batches" };
        worker.Start();
    }

    /// <summary>Requests that wait.</summary>
    public int Length
    {
        get { lock (gate) return waiting.Count; }
    }

    /// <summary>Turns computed so far.</summary>
    public long Turns => Interlocked.Read(ref turns);

    /// <summary>Rows computed in them.</summary>
    public long Rows => Interlocked.Read(ref batchedRows);

    /// <summary>Answers a request's rows, in their order.</summary>
    /// <param name="adapter">Whose; in use until the task has ended.</param>
    /// <param name="request">The rows; in use until the task has ended.</param>
    /// <param name="cancellation">Takes the request out of the queue.</param>
    /// <exception cref="RequestException">Too many wait.</exception>
    public Task<Prediction[]> Ask(ServedAdapter adapter, RequestRows request, CancellationToken cancellation)
    {
        var pending = new PendingRequest(adapter, request);
        lock (gate)
        {
            if (stopped) throw new RequestException(StatusCodes.Status503ServiceUnavailable, "the server is stopping; ask another one") { RetryAfter = 1 };
            if (waiting.Count >= options.Queue)
                throw new RequestException(StatusCodes.Status429TooManyRequests, $"{waiting.Count} requests wait already; try again in a second") { RetryAfter = 1 };
            // Before anything can answer it. Where it is cancelled already, that is done at once, on this thread, which holds the lock.
            waiting.Add(pending);
            pending.Registration = cancellation.Register(() => Cancel(pending, cancellation));
            Monitor.Pulse(gate);
        }
        return pending.Answered.Task;
    }

    public void Dispose()
    {
        lock (gate)
        {
            stopped = true;
            Monitor.PulseAll(gate);
        }
        worker.Join();
        PendingRequest[] left;
        lock (gate)
        {
            left = [.. waiting];
            waiting.Clear();
        }
        foreach (PendingRequest pending in left) pending.Fail(new RequestException(StatusCodes.Status503ServiceUnavailable, "the server has stopped; ask another one"));
    }

    private void Cancel(PendingRequest pending, CancellationToken cancellation)
    {
        lock (gate)
        {
            pending.IsCancelled = true;
            waiting.Remove(pending);
            // The thread that computes still reads its rows.
            if (pending.InTurn) return;
        }
        pending.Answered.TrySetCanceled(cancellation);
    }

    private void Work()
    {
        while (NextTurn() is { } turn)
        {
            if (!TryCompute(turn) && turn.Count > 1)
            {
                // One of them cannot be computed; it must not cost the others their answers.
                foreach (Share share in turn) if (!TryCompute([share])) share.Request.Fail(share.Request.Error!);
            }
            else if (turn.Count == 1 && turn[0].Request.Error is { } error) turn[0].Request.Fail(error);
            EndTurn(turn);
        }
    }

    // Waits until some adapter has a full batch, or a request that waited long enough; null at the end.
    private List<Share>? NextTurn()
    {
        lock (gate)
        {
            while (!stopped)
            {
                TimeSpan? wait = null;
                foreach (IGrouping<ServedAdapter, PendingRequest> group in waiting.GroupBy(pending => pending.Adapter).OrderBy(group => group.Key.LastTurn).ToArray())
                {
                    TimeSpan left = options.BatchDelay - group.Max(pending => pending.Waited);
                    bool isRipe = left <= TimeSpan.Zero || group.Sum(pending => pending.Left) >= options.BatchRows;
                    if (isRipe) return Take(group);
                    wait = wait is null || left < wait ? left : wait;
                }
                if (wait is null) Monitor.Wait(gate);
                else Monitor.Wait(gate, Math.Max(1, (int)Math.Ceiling(wait.Value.TotalMilliseconds)));
            }
            return null;
        }
    }

    private List<Share> Take(IGrouping<ServedAdapter, PendingRequest> group)
    {
        int room = TurnBatches * options.BatchRows;
        var turn = new List<Share>();
        foreach (PendingRequest pending in group.ToArray())
        {
            int count = Math.Min(room, pending.Left);
            turn.Add(new Share(pending, pending.Next, count));
            pending.Next += count;
            pending.InTurn = true;
            if (pending.Left == 0) waiting.Remove(pending);
            room -= count;
            if (room == 0 || !group.Key.Joins) break;
        }
        group.Key.LastTurn = ++turns;
        return turn;
    }

    private bool TryCompute(List<Share> turn)
    {
        PendingRequest first = turn[0].Request;
        try
        {
            var rows = new JoinedRows([.. turn.Select(share => new RowSlice(share.Request.Rows.Rows, share.Start, share.Count))]);
            (int share, int within) = (0, 0);
            foreach (Prediction prediction in Evaluator.Predict(first.Adapter.Run.Model, rows, options.BatchRows, first.Adapter.Run.Device))
            {
                Share own = turn[share];
                int index = own.Start + within;
                own.Request.Answers[index] = prediction with { Index = index };
                if (++within == own.Count) (share, within) = (share + 1, 0);
            }
            Interlocked.Add(ref batchedRows, rows.Count!.Value);
            return true;
        }
        catch (Exception error)
        {
            // Whatever it is, it is this request's answer, and the thread goes on.
            first.Error = error;
            return false;
        }
    }

    private void EndTurn(List<Share> turn)
    {
        foreach (Share share in turn)
        {
            PendingRequest pending = share.Request;
            lock (gate)
            {
                pending.InTurn = false;
                if (pending.HasFailed) waiting.Remove(pending);
            }
            if (pending.HasFailed) continue;
            if (pending.IsCancelled) pending.Answered.TrySetCanceled();
            else if (pending.Left == 0) pending.Succeed();
        }
    }

    private readonly record struct Share(PendingRequest Request, int Start, int Count);

    private sealed class PendingRequest(ServedAdapter adapter, RequestRows rows)
    {
        private readonly long arrived = Stopwatch.GetTimestamp();

        public ServedAdapter Adapter => adapter;

        public RequestRows Rows => rows;

        public Prediction[] Answers { get; } = new Prediction[rows.Count];

        public TaskCompletionSource<Prediction[]> Answered { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public CancellationTokenRegistration Registration { get; set; }

        /// <summary>The first row that has had no turn yet.</summary>
        public int Next { get; set; }

        public int Left => rows.Count - Next;

        public bool InTurn { get; set; }

        public bool IsCancelled { get; set; }

        public bool HasFailed { get; private set; }

        public Exception? Error { get; set; }

        public TimeSpan Waited => Stopwatch.GetElapsedTime(arrived);

        public void Succeed()
        {
            Registration.Dispose();
            Answered.TrySetResult(Answers);
        }

        public void Fail(Exception error)
        {
            HasFailed = true;
            Registration.Dispose();
            Answered.TrySetException(error);
        }
    }
}
