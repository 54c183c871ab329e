using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>Computes the logits (B, V) of what follows new tokens.</summary>
/// <param name="ids">(B, T) int64: the tokens behind those in the cache.</param>
/// <param name="mask">(B, tokens so far), 1 for tokens and 0 for padding; null when nothing is padded.</param>
/// <param name="cache">Keys and values of the tokens before, which the call adds to.</param>
internal delegate Tensor NextTokenLogits(Tensor ids, Tensor? mask, KeyValueCache cache);

/// <summary>Appends tokens one after another, each at the cost of one token: the most probable ones, drawn ones, or those of the most probable of several sequences.</summary>
internal static class TokenGenerator
{
    /// <summary>(B, T + new) int64: the start of each sequence, and what follows it.</summary>
    /// <param name="start">(B, T) int64.</param>
    /// <param name="mask">(B, T), 1 for tokens and 0 for padding; null when nothing is padded.</param>
    /// <param name="next">The model, for B rows, or with beams for B * beams of them, an example's beams side by side.</param>
    /// <param name="options">How.</param>
    public static Tensor Run(Tensor start, Tensor? mask, NextTokenLogits next, GenerationOptions options)
    {
        using var noGrad = torch.no_grad();
        using var outer = torch.NewDisposeScope();
        using var cache = new KeyValueCache();
        return outer.MoveToOuter(options.Beams > 1 ? Beams(start, mask, next, options, cache) : OneByOne(start, mask, next, options, cache));
    }

    private static Tensor OneByOne(Tensor start, Tensor? mask, NextTokenLogits next, GenerationOptions options, KeyValueCache cache)
    {
        int B = (int)start.size(0);
        bool[] ended = new bool[B];
        var rows = start.ToArray<long>().Chunk((int)start.size(1)).Select(row => row.ToList()).ToArray();
        // A row's draws follow from the seed and its number, not from the other rows.
        Generator[] random = options.Sample ? [.. Enumerable.Range(0, B).Select(row => Initializers.GeneratorFor(options.Seed, $"row {row}"))] : [];
        using var step = new Step(start, mask, next, cache);
        for (int i = 0; i < options.MaxNewTokens && !Array.TrueForAll(ended, done => done); i++)
        {
            using var scope = torch.NewDisposeScope();
            Tensor logits = step.Logits();
            long[] chosen = Forced(options, i) is { } forced ? [.. Enumerable.Repeat((long)forced, B)] : Choose(logits, options, random);
            for (int row = 0; row < B; row++)
            {
                if (ended[row]) chosen[row] = options.PadId;
                ended[row] |= chosen[row] == options.EndId;
                rows[row].Add(chosen[row]);
            }
            step.Follow(chosen);
        }
        foreach (Generator own in random) own.Dispose();
        return Tensors.From([.. rows.SelectMany(row => row)], B, rows[0].Count).to(start.device);
    }

    private static int? Forced(GenerationOptions options, int step) =>
        step == options.MaxNewTokens - 1 && options.ForcedEndId is { } end ? end : step == 0 ? options.ForcedStartId : null;

    // One token of each row.
    private static long[] Choose(Tensor logits, GenerationOptions options, Generator[] random)
    {
        if (!options.Sample) return logits.argmax(-1).ToArray<long>();
        Tensor scores = logits.to(ScalarType.Float32).Times(1 / options.Temperature);
        if (options.TopK > 0 && options.TopK < scores.size(-1))
        {
            Tensor least = scores.topk(options.TopK, -1).values.narrow(-1, options.TopK - 1, 1);
            scores = scores.masked_fill(scores.lt(least), double.NegativeInfinity.Hold());
        }
        Tensor probabilities = scores.softmax(-1);
        if (options.TopP < 1)
        {
            (Tensor sorted, Tensor order) = probabilities.sort(-1, descending: true);
            // A token stays where those before it have less than that together: the first one always does.
            Tensor kept = sorted.cumsum(-1).sub(sorted).lt(options.TopP.Hold()).to(ScalarType.Float32);
            probabilities = torch.zeros_like(probabilities).scatter(-1, order, sorted * kept);
        }
        probabilities = probabilities.cpu();
        return [.. random.Select((own, row) => torch.multinomial(probabilities.select(0, row), 1, true, own).Integer())];
    }

    // A sequence that ended, or that is followed: its tokens without the start, and its log probability.
    private sealed record Beam(long[] Tokens, double LogProbability)
    {
        public double Score(double penalty) => LogProbability / Math.Pow(Math.Max(1, Tokens.Length), penalty);
    }

    private static Tensor Beams(Tensor start, Tensor? mask, NextTokenLogits next, GenerationOptions options, KeyValueCache cache)
    {
        (int B, int K) = ((int)start.size(0), options.Beams);
        using var step = new Step(start.repeat_interleave(K, 0), mask?.repeat_interleave(K, 0), next, cache);
        // At first an example's beams are the same, so only one of them counts.
        Beam[][] alive = [.. Enumerable.Range(0, B).Select(_ => Enumerable.Range(0, K).Select(k => new Beam([], k == 0 ? 0 : double.NegativeInfinity)).ToArray())];
        List<Beam>[] ended = [.. Enumerable.Range(0, B).Select(_ => new List<Beam>())];
        for (int i = 0; i < options.MaxNewTokens; i++)
        {
            using var scope = torch.NewDisposeScope();
            Tensor scores = step.Logits().to(ScalarType.Float32).log_softmax(-1);  // (B K, V)
            int V = (int)scores.size(1), most = Math.Min(2 * K, V);
            (Tensor best, Tensor ids) = scores.topk(most, -1);
            float[] values = best.ToArray<float>(), forcedValues = Forced(options, i) is { } end ? scores.select(1, end).ToArray<float>() : [];
            long[] tokens = ids.ToArray<long>(), parents = new long[B * K], chosen = new long[B * K];
            for (int b = 0; b < B; b++)
            {
                IEnumerable<(Beam Next, int Parent)> Continued(int k)
                {
                    Beam beam = alive[b][k];
                    int row = b * K + k;
                    if (forcedValues.Length > 0) return [(new Beam([.. beam.Tokens, Forced(options, i)!.Value], beam.LogProbability + forcedValues[row]), k)];
                    return Enumerable.Range(0, most).Select(j => (new Beam([.. beam.Tokens, tokens[row * most + j]], beam.LogProbability + values[row * most + j]), k));
                }
                (Beam Next, int Parent)[] candidates = [.. Enumerable.Range(0, K).SelectMany(Continued).OrderByDescending(candidate => candidate.Next.LogProbability)];
                var following = new List<(Beam Next, int Parent)>();
                foreach ((Beam candidate, int parent) in candidates)
                {
                    if (following.Count == K) break;
                    if (candidate.Tokens[^1] == options.EndId && !double.IsNegativeInfinity(candidate.LogProbability)) ended[b].Add(candidate);
                    else following.Add((candidate, parent));
                }
                // Where everything ended, rows go on that no longer count.
                while (following.Count < K) following.Add((new Beam([.. alive[b][0].Tokens, options.PadId], double.NegativeInfinity), 0));
                ended[b] = [.. ended[b].OrderByDescending(beam => beam.Score(options.LengthPenalty)).Take(K)];
                for (int k = 0; k < K; k++)
                {
                    alive[b][k] = following[k].Next;
                    (parents[b * K + k], chosen[b * K + k]) = (b * K + following[k].Parent, following[k].Next.Tokens[^1]);
                }
            }
            if (Enumerable.Range(0, B).All(b => IsDone(alive[b], ended[b], options))) break;
            step.Reorder(parents);
            step.Follow(chosen);
        }
        return Padded(start, [.. Enumerable.Range(0, B).Select(b => Best(alive[b], ended[b], options))], options);
    }

    // Whether nothing that still runs can beat what has ended: log probabilities only fall, and a longer sequence divides by more.
    private static bool IsDone(Beam[] alive, List<Beam> ended, GenerationOptions options)
    {
        if (ended.Count < options.Beams) return double.IsNegativeInfinity(alive[0].LogProbability);
        Beam hope = options.LengthPenalty > 0 ? new Beam(new long[options.MaxNewTokens], alive[0].LogProbability) : alive[0];
        return ended[^1].Score(options.LengthPenalty) >= hope.Score(options.LengthPenalty);
    }

    private static Beam Best(Beam[] alive, List<Beam> ended, GenerationOptions options) =>
        ended.Concat(alive.Where(beam => !double.IsNegativeInfinity(beam.LogProbability))).MaxBy(beam => beam.Score(options.LengthPenalty))!;

    private static Tensor Padded(Tensor start, Beam[] best, GenerationOptions options)
    {
        int longest = best.Max(beam => beam.Tokens.Length);
        long[] tokens = [.. best.SelectMany(beam => beam.Tokens.Concat(Enumerable.Repeat((long)options.PadId, longest - beam.Tokens.Length)))];
        return torch.cat([start, Tensors.From(tokens, best.Length, longest).to(start.device)], 1);
    }

    // The tokens that the model has not seen yet, and the mask of all.
    private sealed class Step(Tensor start, Tensor? mask, NextTokenLogits next, KeyValueCache cache) : IDisposable
    {
        private Tensor ids = start.alias().DetachFromDisposeScope();
        private Tensor? mask = mask?.to(ScalarType.Int64).alias().DetachFromDisposeScope();

        public Tensor Logits()
        {
            Tensor logits = next(ids, mask, cache);
            cache.Length += ids.size(1);
            return logits;
        }

        public void Follow(long[] chosen)
        {
            Tensor one = Tensors.From(chosen, chosen.Length, 1).to(ids.device);
            ids.Dispose();
            ids = one.DetachFromDisposeScope();
            if (mask is null) return;
            Tensor longer = torch.cat([mask, torch.ones_like(one)], 1);
            mask.Dispose();
            mask = longer.DetachFromDisposeScope();
        }

        public void Reorder(long[] parents) => cache.Reorder(Tensors.From(parents, parents.Length).to(ids.device));

        public void Dispose()
        {
            ids.Dispose();
            mask?.Dispose();
        }
    }
}
