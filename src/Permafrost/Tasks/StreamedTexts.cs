using System.Security.Cryptography;
using System.Text;
using Permafrost.Data;
using Permafrost.Tokenizers;

namespace Permafrost.Tasks;

/// <summary>Texts of a file that is not kept in memory: read and tokenised when they are asked for, in batches as those of <see cref="TextRows"/>.</summary>
/// <param name="index">The file's lines; freed with any of the splits that share it.</param>
/// <param name="rows">The lines of this split, in order.</param>
/// <param name="classes">The class of each of the file's lines.</param>
/// <param name="text">The text of a line, given its name for errors.</param>
/// <param name="tokenizer">Cuts it into tokens.</param>
/// <param name="maxLength">Most tokens of a text.</param>
internal sealed class StreamedTexts(
    LineIndex index, Chunked<int> rows, Func<long, long> classes, Func<string, string, string> text, Tokenizer tokenizer, int maxLength) : IDataset, IKnownContent, IDisposable
{
    /// <inheritdoc/>
    public long? Count => rows.Count;

    /// <inheritdoc/>
    public string ContentSha256
    {
        get
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            hash.AppendData(Encoding.UTF8.GetBytes($"{index.Sha256}|{rows.Count}|{rows[0]}|{rows[rows.Count - 1]}|{tokenizer.Kind}|{tokenizer.VocabularySize}|{maxLength}"));
            return Convert.ToHexStringLower(hash.GetHashAndReset());
        }
    }

    /// <inheritdoc/>
    public Batch Get(ReadOnlySpan<long> indices)
    {
        (var texts, var targets, var order) = (new string[indices.Length], new long[indices.Length], new long[indices.Length]);
        for (int i = 0; i < texts.Length; i++)
        {
            int row = rows[indices[i]];
            (texts[i], targets[i], order[i]) = (text(index.Where(row), index.Line(row)), classes(row), i);
        }
        var tokenized = new TextRows(texts, targets, tokenizer, maxLength);
        if (tokenized.FirstEmpty is { } empty) throw new PermafrostException($"{index.Where(rows[indices[empty]])}: {TextRows.EmptyIs}; mend it or leave it out");
        return tokenized.Get(order);
    }

    public void Dispose() => index.Dispose();
}
