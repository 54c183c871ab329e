using System.Security.Cryptography;
using System.Text;
using Permafrost.Tokenizers;

namespace Permafrost.Pretraining;

/// <summary>The text that a tokenizer is trained on.</summary>
/// <param name="paths">Text files and folders.</param>
/// <param name="heldOut">What is not read: rules of <see cref="HeldOut"/>, as for a pretraining.</param>
public sealed class TokenizerCorpus(IReadOnlyList<string> paths, IReadOnlyList<string> heldOut)
{
    private const int Batch = 256;

    /// <summary>Byte sequences that were no UTF-8, each read as U+FFFD.</summary>
    public long Replaced { get; private set; }

    /// <summary>Trains a tokenizer on the text.</summary>
    /// <param name="vocabularySize">V.</param>
    /// <param name="style"><c>gpt2</c>, <c>bert</c> or <c>t5</c>.</param>
    /// <param name="folder">The folder to write to.</param>
    /// <param name="minFrequency">A pair that is rarer is not merged.</param>
    /// <param name="progress">Told of files that are read.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <returns>The number of tokens.</returns>
    /// <exception cref="UsageException">A number is out of range, or a rule speaks of nothing in the text.</exception>
    /// <exception cref="PermafrostException">The text cannot be read, or the folder cannot be written.</exception>
    public int Train(int vocabularySize, string style, string folder, int minFrequency, Action<string>? progress, CancellationToken cancellation)
    {
        if (vocabularySize is < 1 or > 1 << 22) throw new UsageException($"`vocabulary_size` is {vocabularySize}; it must be from 1 to {1 << 22}");
        if (minFrequency < 1) throw new UsageException($"`min_frequency` is {minFrequency}; it must be at least 1");
        var rules = new HeldOutRules([.. heldOut.Select(HeldOut.Parse)]);
        return TokenizerTraining.Train(Texts(CorpusReader.Files(paths), rules, progress, cancellation), vocabularySize, style, folder, minFrequency);
    }

    private IEnumerable<IReadOnlyList<string>> Texts(IReadOnlyList<CorpusFile> files, HeldOutRules rules, Action<string>? progress, CancellationToken cancellation)
    {
        foreach (CorpusFile file in files)
        {
            rules.See(file, []);
            // A whole file, before it is read.
            if (rules.TakeWhole(file)) continue;
            progress?.Invoke($"reading {file.Path}");
            var reader = new CorpusReader(file);
            foreach (string[] texts in Kept(file, reader, rules).Chunk(Batch))
            {
                cancellation.ThrowIfCancellationRequested();
                yield return texts;
            }
            Replaced += reader.Replaced;
        }
        // A rule may speak of a document in a file that was not read.
        foreach (CorpusFile file in files.Where(rules.TakeWhole))
            rules.See(file, new CorpusReader(file).Pieces().Where(piece => piece.First).Select(piece => piece.Document));
        rules.CheckUsed();
    }

    // A document is held out by its name or by the hash of its whole text, which is known at its end.
    private static IEnumerable<string> Kept(CorpusFile file, CorpusReader reader, HeldOutRules rules)
    {
        if (!rules.Any)
        {
            foreach (CorpusPiece piece in reader.Pieces()) yield return piece.Text;
            yield break;
        }
        var document = new List<CorpusPiece>();
        foreach (CorpusPiece? piece in reader.Pieces().Append<CorpusPiece?>(null))
        {
            if ((piece is null || piece.First) && document.Count > 0)
            {
                var whole = new CorpusDocument(document[0].Document, 0, 0, 0, Hash(document));
                rules.See(file, [whole.Name]);
                if (!rules.Take(file, whole)) foreach (CorpusPiece kept in document) yield return kept.Text;
                document.Clear();
            }
            if (piece is not null) document.Add(piece);
        }
    }

    private static string Hash(List<CorpusPiece> document)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (CorpusPiece piece in document) hash.AppendData(Encoding.UTF8.GetBytes(piece.Text));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
