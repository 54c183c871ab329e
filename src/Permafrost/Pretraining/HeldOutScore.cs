using Permafrost.Data;
using Permafrost.Pretraining.Objectives;

namespace Permafrost.Pretraining;

/// <summary>How well a model knows some text.</summary>
/// <param name="Loss">Mean cross entropy of an answer, in nats.</param>
/// <param name="Answers">How many there were.</param>
/// <param name="BitsPerByte">What the text costs, in bits for each of its bytes in UTF-8; null where the objective does not tell each token from those before it.</param>
public sealed record HeldOutScore(double Loss, long Answers, double? BitsPerByte)
{
    /// <summary>Scores held-out documents.</summary>
    /// <param name="model">The model.</param>
    /// <param name="objective">What it is asked.</param>
    /// <param name="documents">The documents.</param>
    /// <param name="context">T.</param>
    /// <param name="padding">Fills up the last window.</param>
    /// <param name="rows">Windows computed at a time.</param>
    /// <param name="most">About how many tokens are scored, the same number from the beginning of each document; null for all.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <remarks>
    /// Where each token is told from those before it, windows overlap by half, and each token is scored once, where it has the most in front of it. Where only a document's
    /// beginning is scored, its bytes are counted in proportion.
    /// </remarks>
    public static HeldOutScore Of(
        LanguageModel model, Objective objective, TokenStream documents, int context, long padding, int rows, long? most = null, CancellationToken cancellation = default)
    {
        double nats = 0, bytes = 0;
        long answers = 0;
        long limit = most is { } all ? Math.Max(1, all / documents.Count) : long.MaxValue;
        var waiting = new List<LanguageExample>();
        void Flush()
        {
            if (waiting.Count == 0) return;
            cancellation.ThrowIfCancellationRequested();
            LanguageExample example = Joined(waiting);
            long count = example.Answers.Sum(row => row.LongCount(id => id >= 0));
            nats += count * model.Score(example);
            answers += count;
            waiting.Clear();
        }
        foreach ((_, CorpusDocument document, long start) in documents.Documents)
        {
            long scored = Math.Min(limit, document.Tokens);
            bytes += (double)document.Bytes * scored / document.Tokens;
            foreach (LanguageExample window in objective.Compresses
                ? Overlapping(documents, start, scored, context, padding) : Apart(objective, documents, start, scored + 1))
            {
                waiting.Add(window);
                if (waiting.Count == rows) Flush();
            }
        }
        Flush();
        double loss = answers == 0 ? double.NaN : nats / answers;
        return new HeldOutScore(loss, answers, objective.Compresses && bytes > 0 ? nats / Math.Log(2) / bytes : null);
    }

    private static IEnumerable<LanguageExample> Overlapping(TokenStream documents, long start, long tokens, int context, long padding)
    {
        long done = 0;
        for (long at = 0; done < tokens; at += context / 2)
        {
            int count = (int)Math.Min(context, tokens - at);
            var ids = new long[count + 1];
            documents.Read(start + at, ids);
            var inputs = new long[context];
            var answers = new long[context];
            inputs.AsSpan().Fill(padding);
            answers.AsSpan().Fill(-100);
            ids.AsSpan(0, count).CopyTo(inputs);
            for (int i = (int)(done - at); i < count; i++) answers[i] = ids[i + 1];
            done = at + count;
            yield return new LanguageExample([inputs], [answers]);
        }
    }

    private static IEnumerable<LanguageExample> Apart(Objective objective, TokenStream documents, long start, long tokens)
    {
        for (long at = 0; at < tokens; at += objective.Window)
        {
            var ids = new long[objective.Window];
            int count = (int)Math.Min(objective.Window, tokens - at);
            documents.Read(start + at, ids.AsSpan(0, count));
            ids.AsSpan(count).Fill(-1);
            long place = start + at;
            yield return objective.Make([ids], _ => new CounterRandom("held-out", 0, place));
        }
    }

    private static LanguageExample Joined(List<LanguageExample> parts)
    {
        long[][] All(Func<LanguageExample, long[][]> of) => [.. parts.SelectMany(of)];
        bool padded = parts.Any(part => part.Mask is not null);
        return new LanguageExample(
            All(part => part.Inputs), All(part => part.Answers), padded ? All(part => part.Mask ?? [[.. part.Inputs[0].Select(_ => 1L)]]) : null,
            parts[0].Read is null ? null : All(part => part.Read!), parts[0].Decoder is null ? null : All(part => part.Decoder!));
    }
}
