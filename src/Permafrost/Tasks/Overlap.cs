using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Permafrost.Data;

namespace Permafrost.Tasks;

/// <summary>Examples of a user's own that are in two splits: a score of those tells little of new ones.</summary>
internal static class Overlap
{
    /// <summary>A sentence for each split that shares inputs with the one to train on.</summary>
    /// <param name="train">The inputs to train on.</param>
    /// <param name="validation">Those to choose by.</param>
    /// <param name="test">Those to score.</param>
    public static IEnumerable<string> Notes(IEnumerable<object> train, IEnumerable<object> validation, IEnumerable<object> test)
    {
        (string Name, string[] Keys)[] others = [("validation", [.. validation.Select(Key)]), ("test", [.. test.Select(Key)])];
        if (others.All(other => other.Keys.Length == 0)) yield break;
        HashSet<string> known = [.. train.Select(Key)];
        foreach ((string name, string[] keys) in others)
        {
            int both = keys.Count(known.Contains);
            if (both > 0)
                yield return FormattableString.Invariant(
                    $"{both:N0} of {keys.Length:N0} {name} example(s) are also among those to train on, so that their score tells less of new ones");
        }
    }

    private static string Key(object input) => input switch
    {
        string text => text,
        Picture picture => Hash(picture.Pixels),
        Series series => Hash(MemoryMarshal.AsBytes<float>(series.Values)),
        float[] numbers => Hash(MemoryMarshal.AsBytes<float>(numbers)),
        long[] ids => Hash(MemoryMarshal.AsBytes<long>(ids)),
        _ => throw new ArgumentException($"inputs of {input.GetType().Name} are not compared", nameof(input)),
    };

    private static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexString(SHA256.HashData(bytes));
}
