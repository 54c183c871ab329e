namespace Permafrost.Server;

/// <summary>Names of adapters: what can stand in a path of a URL and of a file alike, and climbs out of neither.</summary>
public static class AdapterName
{
    private const int Longest = 128;

    /// <summary>What a name may hold, for errors.</summary>
    public const string Rule = "letters, digits and . _ - @ +, at most 128 of them, the first a letter or digit";

    /// <summary>Whether it is one.</summary>
    public static bool IsValid(string name) =>
        name.Length is > 0 and <= Longest && char.IsAsciiLetterOrDigit(name[0]) && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-' or '@' or '+');

    /// <summary>The folder and the name of <c>NAME=FOLDER</c>, or of a run's folder, or of the folder <c>adapter</c> in one.</summary>
    /// <param name="given">As it was typed.</param>
    /// <exception cref="UsageException">The name is none.</exception>
    public static (string Name, string Folder) Parse(string given)
    {
        int equals = given.IndexOf('=', StringComparison.Ordinal);
        bool isNamed = equals > 0 && !Directory.Exists(given) && IsValid(given[..equals]);
        string folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(isNamed ? given[(equals + 1)..] : given));
        if (Path.GetFileName(folder) == "adapter" && Path.GetDirectoryName(folder) is { } run && File.Exists(Path.Combine(run, "config.yaml"))) folder = run;
        string name = isNamed ? given[..equals] : Path.GetFileName(folder);
        return IsValid(name) ? (name, folder) : throw new UsageException($"'{name}' cannot name an adapter ({Rule}); write NAME={given}");
    }
}
