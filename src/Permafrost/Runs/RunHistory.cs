using System.Text.Json;
using Permafrost.Formats;

namespace Permafrost.Runs;

/// <summary><c>history.json</c>: how a run came to be what it is.</summary>
/// <param name="RunsAgain">Whether its config.yaml, run again, gives the same result.</param>
/// <param name="Events">The command that began it, and each change that it went on with.</param>
internal sealed record RunHistory(bool RunsAgain, IReadOnlyList<string> Events)
{
    /// <summary>Reads a run's history; of a run of the first versions, which wrote none, the commands are known.</summary>
    /// <exception cref="PermafrostException">The file is damaged.</exception>
    public static RunHistory Read(RunFolder folder)
    {
        if (!File.Exists(folder.History)) return new RunHistory(RunsAgain: false, File.Exists(folder.Command) ? File.ReadAllLines(folder.Command) : []);
        try
        {
            return JsonFile.Read(folder.History).Deserialize(RunJson.Readable.RunHistory) is { Events: not null } history ? history : throw new JsonException("null");
        }
        catch (JsonException)
        {
            throw new PermafrostException($"{folder.History} is damaged: it does not say how the run came to be; remove it to go on without");
        }
    }

    /// <summary>Writes it.</summary>
    public void Write(RunFolder folder) => RunFolder.WriteJson(folder.History, JsonSerializer.SerializeToNode(this, RunJson.Readable.RunHistory)!.AsObject());
}
