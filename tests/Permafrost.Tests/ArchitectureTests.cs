using System.Text.RegularExpressions;

namespace Permafrost.Tests;

/// <summary>The house: rooms know only rooms before them, files and lines have a size that can be read, and the library speaks of no flags.</summary>
public partial class ArchitectureTests
{
    private const int LongestFile = 500;
    private const int LongestVerb = 120;
    private const int LongestLine = 180;

    // DESIGN section 2; a room knows only rooms before it. The root, which is the front door, knows them all.
    private static readonly string[] Rooms = ["Kernels", "Nn", "Formats", "Tokenizers", "Models", "Data", "Tasks", "Adaptation", "Training", "Pretraining", "Runs", "Studies"];

    private static string Library => Path.Combine(Repository.Root, "src", "Permafrost");

    private static IEnumerable<string> Sources(string folder) =>
        Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories).Where(path => !path.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal));

    public static TheoryData<string> ExistingRooms() => [.. Rooms.Where(room => Directory.Exists(Path.Combine(Library, room)))];

    [Fact]
    public void Every_folder_is_a_room()
    {
        IEnumerable<string> folders = Directory.EnumerateDirectories(Library).Select(path => Path.GetFileName(path)).Where(name => name is not ("obj" or "bin"));
        Assert.All(folders, folder => Assert.Contains(folder, Rooms));
        Assert.InRange(ExistingRooms().Count, 8, Rooms.Length);
    }

    [Theory]
    [MemberData(nameof(ExistingRooms))]
    public void A_room_knows_only_rooms_before_it(string room)
    {
        string[] later = Rooms[(Array.IndexOf(Rooms, room) + 1)..];
        foreach (string path in Sources(Path.Combine(Library, room)))
            foreach (Match match in RoomName().Matches(WithoutComments(File.ReadAllText(path)))) Assert.DoesNotContain(match.Groups["room"].Value, later);
    }

    [Fact]
    public void Training_knows_no_files_and_no_JSON()
    {
        foreach (string path in Sources(Path.Combine(Library, "Training")))
        {
            string text = WithoutComments(File.ReadAllText(path));
            foreach (string unknown in new[] { "Permafrost.Formats", "System.Text.Json", "File.", "Directory.", "Console." }) Assert.DoesNotContain(unknown, text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_library_names_options_as_YAML_does()
    {
        string[] flags = [.. Sources(Library).SelectMany(path => Strings().Matches(WithoutComments(File.ReadAllText(path))).Select(match => (path, match.Value)))
            .Where(pair => Flag().IsMatch(pair.Value) && !pair.Value.Contains("Again: permafrost finetune --", StringComparison.Ordinal)).Select(pair => $"{Path.GetFileName(pair.path)}: {pair.Value}")];
        Assert.Empty(flags);
    }

    [Fact]
    public void Files_and_lines_can_be_read()
    {
        var too = new List<string>();
        foreach (string path in new[] { "src", "tests", "samples" }.SelectMany(folder => Sources(Path.Combine(Repository.Root, folder))))
        {
            string[] lines = File.ReadAllLines(path);
            string name = Path.GetRelativePath(Repository.Root, path);
            if (lines.Length > LongestFile) too.Add($"{name}: {lines.Length} lines");
            // Tests hold tables of cases, which are read down their columns.
            if (name.StartsWith("src", StringComparison.Ordinal)) too.AddRange(lines.Select((line, i) => (line, i)).Where(pair => pair.line.Length > LongestLine).Select(pair => $"{name}:{pair.i + 1}: {pair.line.Length} columns"));
        }
        Assert.Empty(too);
    }

    [Fact]
    public void A_verb_is_options_in_one_call_text_out() =>
        Assert.All(Sources(Path.Combine(Repository.Root, "src", "Permafrost.Cli", "Commands")), path => Assert.InRange(File.ReadLines(path).Count(), 1, LongestVerb));

    private static string WithoutComments(string text) => Comments().Replace(text, "");

    [GeneratedRegex(@"\bPermafrost\.(?<room>[A-Z]\w+)|(?<=[^\w.""])(?<room>Kernels|Models|Data|Tasks|Adaptation|Training|Runs|Studies|Formats)\.(?=[A-Z]\w+\.|[A-Z]\w+\()")]
    private static partial Regex RoomName();

    [GeneratedRegex(@"^\s*///?.*$", RegexOptions.Multiline)]
    private static partial Regex Comments();

    [GeneratedRegex(@"""(?:[^""\\\n]|\\.)*""")]
    private static partial Regex Strings();

    [GeneratedRegex(@"(?<![\w-])--[a-z]")]
    private static partial Regex Flag();
}
