using System.Globalization;
using System.Text;

namespace Permafrost.Server;

/// <summary>Counts in Prometheus' text format (prometheus.io, exposition formats, version 0.0.4). Names of adapters need no escapes.</summary>
internal static class MetricsText
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    public static string Of(AdapterHost host)
    {
        var text = new StringBuilder();
        void Head(string name, string type, string help) => text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");
        void Line(string name, string labels, double value) => text.Append(CultureInfo.InvariantCulture, $"{name}{labels} {value}\n");
        ServedAdapter[] adapters = [.. host.Served];
        Head("permafrost_requests_total", "counter", "Requests by adapter and status code.");
        foreach (ServedAdapter adapter in adapters)
            foreach ((int status, long count) in adapter.Traffic.ByStatus) Line("permafrost_requests_total", $"{{adapter=\"{adapter.Name}\",status=\"{status}\"}}", count);
        Head("permafrost_rows_total", "counter", "Rows answered by adapter.");
        TrafficCounts[] counts = [.. adapters.Select(adapter => adapter.Traffic.Read())];
        for (int i = 0; i < adapters.Length; i++) Line("permafrost_rows_total", $"{{adapter=\"{adapters[i].Name}\"}}", counts[i].Rows);
        Head("permafrost_request_seconds", "histogram", "Time from the headers to the answer, of answered requests.");
        for (int i = 0; i < adapters.Length; i++)
        {
            long below = 0;
            for (int bucket = 0; bucket < counts[i].Buckets.Count; bucket++)
            {
                below += counts[i].Buckets[bucket];
                string bound = bucket < Traffic.Bounds.Count ? Traffic.Bounds[bucket].ToString(CultureInfo.InvariantCulture) : "+Inf";
                Line("permafrost_request_seconds_bucket", $"{{adapter=\"{adapters[i].Name}\",le=\"{bound}\"}}", below);
            }
            Line("permafrost_request_seconds_sum", $"{{adapter=\"{adapters[i].Name}\"}}", counts[i].Seconds);
            Line("permafrost_request_seconds_count", $"{{adapter=\"{adapters[i].Name}\"}}", below);
        }
        Head("permafrost_adapters", "gauge", "Adapters that are served.");
        Line("permafrost_adapters", "", adapters.Length);
        Head("permafrost_adapters_refused", "gauge", "Folders that are not served, since they are damaged or another body's.");
        Line("permafrost_adapters_refused", "", host.Refused.Count);
        Head("permafrost_queue_length", "gauge", "Requests that wait.");
        Line("permafrost_queue_length", "", host.Queue.Length);
        Head("permafrost_turns_total", "counter", "Turns of adapters; rows by turns is how many share one.");
        Line("permafrost_turns_total", "", host.Queue.Turns);
        Head("permafrost_turn_rows_total", "counter", "Rows computed in turns.");
        Line("permafrost_turn_rows_total", "", host.Queue.Rows);
        Head("permafrost_resident_bytes", "gauge", "Resident memory of the process.");
        Line("permafrost_resident_bytes", "", Kernels.ProcessMemory.Resident);
        return text.ToString();
    }
}
