using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Permafrost.Cli.Tests;

/// <summary>A web server on this machine that answers as a test wants: well, or badly.</summary>
internal sealed class FileServer : IDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly Func<string, (byte[] Head, IEnumerable<byte[]> Body)> answer;
    private readonly List<string> requests = [];

    /// <summary>Starts; <paramref name="answer"/> gives the raw answer for a file's name.</summary>
    public FileServer(Func<string, (byte[] Head, IEnumerable<byte[]> Body)> answer)
    {
        this.answer = answer;
        listener.Start();
        _ = Task.Run(ServeAsync);
    }

    /// <summary>Where it is.</summary>
    public string Address => $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/files";

    /// <summary>The files asked for so far.</summary>
    public string[] Requests
    {
        get { lock (requests) return [.. requests]; }
    }

    /// <summary>A good answer.</summary>
    public static (byte[] Head, IEnumerable<byte[]> Body) Ok(byte[] content) => Raw("200 OK", $"Content-Length: {content.Length}", [content]);

    /// <summary>An answer of one's own.</summary>
    public static (byte[] Head, IEnumerable<byte[]> Body) Raw(string status, string header, IEnumerable<byte[]> body) =>
        (Encoding.ASCII.GetBytes($"HTTP/1.1 {status}\r\n{header}\r\nConnection: close\r\n\r\n"), body);

    public void Dispose() => listener.Dispose();

    private async Task ServeAsync()
    {
        while (true)
        {
            try
            {
                using TcpClient client = await listener.AcceptTcpClientAsync();
                await AnswerAsync(client.GetStream());
            }
            catch (IOException)
            {
                // The program hung up, as it may.
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
        string request = await reader.ReadLineAsync() ?? "";
        while (await reader.ReadLineAsync() is { Length: > 0 }) { }
        string name = request.Split(' ').ElementAtOrDefault(1)?.Split('/')[^1] ?? "";
        lock (requests) requests.Add(name);
        (byte[] head, IEnumerable<byte[]> body) = answer(name);
        await stream.WriteAsync(head);
        foreach (byte[] part in body) await stream.WriteAsync(part);
    }
}
