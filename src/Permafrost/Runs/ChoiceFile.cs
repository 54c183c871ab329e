using System.Text.Json;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Tasks.Metrics;

namespace Permafrost.Runs;

/// <summary>choice.json in a run's folder: how its settings were chosen, for a run that goes on.</summary>
/// <param name="Choice">The choice.</param>
/// <param name="Held">The scores of the rows that were held out; null where the task's own validation split told.</param>
internal sealed record ChoiceFile(RunChoice Choice, Scores? Held)
{
    public static string In(RunFolder folder) => Path.Combine(folder.Path, "choice.json");

    public static JsonObject Of(RunChoice choice, Scores? held) => JsonSerializer.SerializeToNode(new ChoiceFile(choice, held), RunJson.Readable.ChoiceFile)!.AsObject();

    /// <exception cref="PermafrostException">The file is damaged.</exception>
    public static (RunChoice Choice, Scores? Held) Read(RunFolder folder)
    {
        try
        {
            ChoiceFile? file = JsonFile.Read(In(folder)).Deserialize(RunJson.Readable.ChoiceFile);
            return file is { Choice.Candidates: not null } ? (file.Choice, file.Held) : throw new JsonException("null");
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new PermafrostException($"{In(folder)} is damaged: it does not say what was chosen; start the run again in another folder");
        }
    }
}
