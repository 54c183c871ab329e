using System.Text;

namespace Permafrost.Tokenizers;

/// <summary>
/// The characters that byte-level vocabularies write bytes as (Radford et al. 2019, encoder.py, bytes_to_unicode): what can be seen as it is, the others from U+0100 on.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] Characters = Make();
    private static readonly Dictionary<char, byte> Bytes = Characters.Select((c, b) => (c, b)).ToDictionary(pair => pair.c, pair => (byte)pair.b);

    public static char Of(byte value) => Characters[value];

    /// <summary>The bytes that a token stands for; those of its own text where it is not written in this alphabet, as an added token.</summary>
    public static void Append(string token, List<byte> bytes)
    {
        int start = bytes.Count;
        foreach (char c in token)
        {
            if (Bytes.TryGetValue(c, out byte value)) bytes.Add(value);
            else
            {
                bytes.RemoveRange(start, bytes.Count - start);
                bytes.AddRange(Encoding.UTF8.GetBytes(token));
                return;
            }
        }
    }

    private static char[] Make()
    {
        char[] characters = new char[256];
        int other = 256;
        for (int b = 0; b < 256; b++) characters[b] = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE ? (char)b : (char)other++;
        return characters;
    }
}
