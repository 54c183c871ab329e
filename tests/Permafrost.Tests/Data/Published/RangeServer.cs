using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Permafrost.Tests.Data.Published;

/// <summary>A web server of files on this machine, with ranges; a test says after how many bytes of which answer it hangs up.</summary>
internal sealed class RangeServer : IDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly List<(string Name, long From)> requests = [];

    public RangeServer()
    {
        listener.Start();
        _ = Task.Run(ServeAsync);
    }

    /// <summary>What is published, by name.</summary>
    public Dictionary<string, byte[]> Files { get; } = [];

    /// <summary>After how many bytes the answer to a request, by its number, ends; null for none.</summary>
    public Func<int, int?> CutAt { get; set; } = _ => null;

    /// <summary>How long an answer waits for.</summary>
    public TimeSpan Delay { get; set; }

    public string Address => $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";

    public (string Name, long From)[] Requests
    {
        get { lock (requests) return [.. requests]; }
    }

    public void Dispose() => listener.Dispose();

    private async Task ServeAsync()
    {
        while (true)
        {
            try
            {
                TcpClient client = await listener.AcceptTcpClientAsync();
                _ = Task.Run(async () =>
                {
                    using (client)
                    {
                        try
                        {
                            await AnswerAsync(client.GetStream());
                        }
                        catch (Exception error) when (error is IOException or SocketException)
                        {
                            // The client hung up, as it may.
                        }
                    }
                });
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException or InvalidOperationException)
            {
                return;
            }
        }
    }

    private async Task AnswerAsync(NetworkStream stream)
    {
        using var reader = new StreamReader(stream, Encoding.ASCII, leaveOpen: true);
        string name = ((await reader.ReadLineAsync() ?? "").Split(' ').ElementAtOrDefault(1) ?? "").TrimStart('/');
        long from = 0;
        while (await reader.ReadLineAsync() is { Length: > 0 } header)
            if (header.StartsWith("Range: bytes=", StringComparison.OrdinalIgnoreCase)) from = long.Parse(header["Range: bytes=".Length..].TrimEnd('-'), CultureInfo.InvariantCulture);
        int number;
        lock (requests)
        {
            number = requests.Count;
            requests.Add((name, from));
        }
        await Task.Delay(Delay);
        if (!Files.TryGetValue(name, out byte[]? file))
        {
            await stream.WriteAsync("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8.ToArray());
            return;
        }
        byte[] body = file[(int)from..];
        string status = from > 0 ? $"206 Partial Content\r\nContent-Range: bytes {from}-{file.Length - 1}/{file.Length}" : "200 OK";
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n"));
        await stream.WriteAsync(body.AsMemory(0, Math.Min(CutAt(number) ?? body.Length, body.Length)));
    }
}
