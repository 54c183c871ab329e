namespace Permafrost.Studies;

/// <summary>The studies that come with the program (<c>studies/*.yaml</c>), and those in files of one's own.</summary>
public static class StudyCatalog
{
    private const string Prefix = "Studies/", Ending = ".yaml";

    /// <summary>The names of those that come with it.</summary>
    public static IReadOnlyList<string> Names { get; } =
    [
        .. typeof(StudyCatalog).Assembly.GetManifestResourceNames()
            .Where(name => name.StartsWith(Prefix, StringComparison.Ordinal) && name.EndsWith(Ending, StringComparison.Ordinal))
            .Select(name => name[Prefix.Length..^Ending.Length]).Order(StringComparer.Ordinal),
    ];

    /// <summary>A study by its name, or from a YAML file.</summary>
    /// <exception cref="UsageException">There is no such study, or its file is wrong; the message names file and line.</exception>
    public static StudyFile Find(string name)
    {
        if (name.EndsWith(Ending, StringComparison.Ordinal) || name.EndsWith(".yml", StringComparison.Ordinal)) return StudyReader.Read(name);
        if (!Names.Contains(name))
            throw new UsageException($"the study '{name}' does not exist{Runs.Spelling.Hint(name, Names, "; `permafrost ls studies` lists them, and a .yaml file is one too")}");
        using var reader = new StreamReader(typeof(StudyCatalog).Assembly.GetManifestResourceStream(Prefix + name + Ending)!);
        return StudyReader.Parse(reader.ReadToEnd(), $"studies/{name}{Ending}") with { IsBuiltIn = true };
    }
}
