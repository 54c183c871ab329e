using Permafrost.Data.Published;
using Permafrost.Formats;

namespace Permafrost.Data;

/// <summary>Where data sets are: the path given, else $PERMAFROST_DATA/NAME, else $PERMAFROST_HOME/data/NAME (~/.cache/permafrost/data/NAME).</summary>
public static class DataHome
{
    /// <summary>The cache's folder: $PERMAFROST_HOME, else ~/.cache/permafrost.</summary>
    public static string Home => CacheHome.Folder;

    /// <summary>The places where a data set is looked for, in order.</summary>
    public static IReadOnlyList<string> Candidates(string name)
    {
        var places = new List<string>();
        if (Environment.GetEnvironmentVariable("PERMAFROST_DATA") is { Length: > 0 } data) places.Add(Path.Combine(data, name));
        places.Add(Path.Combine(Home, "data", name));
        return places;
    }

    /// <summary>
    /// A path as every folder knows it: as it is given where it is there, else below $PERMAFROST_DATA or the cache, as timeseries/GunPoint_TRAIN.ts.gz; unchanged where it is in
    /// neither.
    /// </summary>
    internal static string? Located(string? path)
    {
        if (path is not { Length: > 0 } || Path.IsPathRooted(path)) return path;
        return Candidates(path).Prepend(path).FirstOrDefault(Path.Exists) is { } there ? Path.TrimEndingDirectorySeparator(Path.GetFullPath(there)) : path;
    }

    /// <summary>The folder that a data set is in; null where none of the places holds more than what a fetch that was broken off has left.</summary>
    public static string? Here(string name) => Candidates(name).FirstOrDefault(HoldsData);

    private static bool HoldsData(string folder)
    {
        try
        {
            return Directory.EnumerateFileSystemEntries(folder).Any(entry => !DataSetFetch.IsPartial(Path.GetFileName(entry)));
        }
        catch (DirectoryNotFoundException)
        {
            return false;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return Directory.Exists(folder);  // whoever reads it says what is wrong
        }
    }

    /// <summary>A data set's folder.</summary>
    /// <exception cref="PermafrostException">It is in none of the places.</exception>
    public static string Find(string name, string? given)
    {
        if (given is not null) return Directory.Exists(given) ? given : throw new PermafrostException($"`data` {given}: there is no such folder");
        IReadOnlyList<string> places = Candidates(name);
        string how = PublishedDataSets.Find(name) is null ? "put its files there, or give" : $"run `permafrost data fetch {name}`, or give";
        return Here(name)
            ?? throw new PermafrostException($"the data set {name} is not here: it was looked for in {string.Join(" and ", places)}; {how} its folder with `data`");
    }
}
