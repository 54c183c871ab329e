// Span corruption: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section 3.1.4.
// Checked against google-research/text-to-text-transfer-transformer, t5/data/preprocessors.py: random_spans_helper, random_spans_noise_mask, noise_span_to_unique_sentinel.

using Permafrost.Data;

namespace Permafrost.Pretraining.Objectives;

/// <summary>
/// Spans of text are cut out, each leaving a sentinel of its own, and the decoder tells what was there, each span behind its sentinel: T5's objective exactly. Without sentinels,
/// every span leaves the same mask token, and the decoder tells their tokens one after the other (the plain form that Tay et al. 2021 describe).
/// </summary>
public sealed class SpanCorruption : Objective
{
    private readonly int context;
    private readonly ObjectiveTokens tokens;
    private readonly bool sentinels;
    private readonly double density;
    private readonly double meanSpan;

    /// <summary>The objective.</summary>
    /// <param name="context">T, the encoder's tokens; how much text makes as many follows from it.</param>
    /// <param name="tokens">The vocabulary's special tokens.</param>
    /// <param name="sentinels">Whether each span has a sentinel of its own.</param>
    /// <param name="density">The share of the tokens that is cut out.</param>
    /// <param name="meanSpan">Mean tokens of a span.</param>
    /// <exception cref="PermafrostException">The vocabulary has too few sentinels, or no mask.</exception>
    public SpanCorruption(int context, ObjectiveTokens tokens, bool sentinels = true, double density = 0.15, double meanSpan = 3)
    {
        (this.context, this.tokens, this.sentinels, this.density, this.meanSpan) = (context, tokens, sentinels, density, meanSpan);
        (Window, AnswerTokens) = Lengths(context, density, meanSpan, sentinels);
        int spans = Spans(Window, density, meanSpan).Spans;
        if (sentinels && tokens.Sentinels < spans)
            throw new PermafrostException(
                $"a sequence of {context} tokens has {spans} spans, and the vocabulary {tokens.Sentinels} sentinels (<extra_id_0>, ...); " +
                "take shorter sequences, or a tokenizer in the style t5");
        if (!sentinels && tokens.Mask is null && tokens.FirstSentinel is null)
            throw new PermafrostException("the vocabulary has no mask token and no sentinel, one of which stands for a span; take a tokenizer in the style t5 or bert");
    }

    /// <inheritdoc/>
    public override string Name => sentinels ? "span-corruption" : "mask-spans";

    /// <inheritdoc/>
    public override int Window { get; }

    /// <summary>Tokens that the decoder tells, the end among them.</summary>
    public int AnswerTokens { get; }

    /// <inheritdoc/>
    public override int TokensPerWindow => context + AnswerTokens;

    /// <summary>How much text fills an encoder's input exactly, and how long the answers are then (random_spans_helper).</summary>
    public static (int Raw, int Answers) Lengths(int inputs, double density, double meanSpan, bool sentinels = true)
    {
        (int Inputs, int Answers) Of(int raw)
        {
            (int noise, int spans) = Spans(raw, density, meanSpan, clamped: false);
            return (raw - noise + spans + 1, noise + (sentinels ? spans : 0) + 1);
        }
        int raw = inputs;
        while (Of(raw + 1).Inputs <= inputs) raw++;
        int answers = Of(raw).Answers;
        // As there: an equal share would make the answers longer than the inputs.
        if (density == 0.5 && answers > inputs) (raw, answers) = (raw - 1, answers - 1);
        return (raw, answers);
    }

    /// <summary>Which tokens are cut out (random_spans_noise_mask).</summary>
    public static bool[] NoiseMask(int length, double density, double meanSpan, ref CounterRandom random)
    {
        (int noise, int spans) = Spans(length, density, meanSpan);
        int[] cut = Segments(noise, spans, ref random), kept = Segments(length - noise, spans, ref random);
        var mask = new bool[length];
        int at = 0;
        for (int i = 0; i < spans; i++)
        {
            at += kept[i];
            for (int j = 0; j < cut[i]; j++) mask[at++] = true;
        }
        return mask;
    }

    /// <summary>What the encoder reads and what the decoder tells, for some text.</summary>
    public (long[] Inputs, long[] Answers) Corrupt(ReadOnlySpan<long> text, bool[] mask) => (Side(text, mask, cut: true), Side(text, mask, cut: false));

    /// <summary>The text that was cut apart, put together again from inputs and answers; of sentinels only.</summary>
    /// <exception cref="InvalidOperationException">The spans have no sentinels of their own.</exception>
    public long[] Restore(IReadOnlyList<long> inputs, IReadOnlyList<long> answers)
    {
        if (!sentinels) throw new InvalidOperationException("spans without sentinels of their own cannot be told apart");
        bool IsSentinel(long id) => id <= tokens.FirstSentinel && id > tokens.FirstSentinel - tokens.Sentinels;
        var spans = new Dictionary<long, List<long>>();
        List<long>? span = null;
        foreach (long id in answers.SkipLast(1))
            if (IsSentinel(id)) spans[id] = span = [];
            else span!.Add(id);
        return [.. inputs.SkipLast(1).SelectMany(id => spans.TryGetValue(id, out List<long>? cut) ? cut : [id])];
    }

    /// <inheritdoc/>
    public override LanguageExample Make(long[][] windows, Func<int, CounterRandom> random)
    {
        (var inputs, var answers, var masks, var decoder) = (new long[windows.Length][], new long[windows.Length][], new long[windows.Length][], new long[windows.Length][]);
        for (int row = 0; row < windows.Length; row++)
        {
            CounterRandom draw = random(row);
            long[] text = [.. windows[row].TakeWhile(id => id >= 0)];
            (long[] read, long[] told) = text.Length < 2 ? ([tokens.Separator], []) : Corrupt(text, NoiseMask(text.Length, density, meanSpan, ref draw));
            inputs[row] = [.. read, .. Enumerable.Repeat(tokens.Padding, Math.Max(0, context - read.Length))];
            masks[row] = [.. read.Select(_ => 1L), .. Enumerable.Repeat(0L, Math.Max(0, context - read.Length))];
            answers[row] = [.. told, .. Enumerable.Repeat(-100L, AnswerTokens - told.Length)];
            // The decoder starts from padding, as T5's does, and reads each answer behind the one before.
            decoder[row] = [tokens.Padding, .. answers[row].SkipLast(1).Select(id => id < 0 ? tokens.Padding : id)];
        }
        return new LanguageExample(inputs, answers, masks.All(row => row.All(one => one == 1)) ? null : masks, Decoder: decoder);
    }

    // Where a run begins its sentinel stands, of a run of the other kind everything; the end behind it all.
    private long[] Side(ReadOnlySpan<long> text, bool[] mask, bool cut)
    {
        var side = new List<long>(text.Length);
        int span = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (mask[i] != cut) side.Add(text[i]);
            else if (i > 0 && mask[i - 1] == cut) continue;
            else if (sentinels) side.Add(tokens.FirstSentinel!.Value - span++);
            else if (cut) side.Add(tokens.Mask ?? tokens.FirstSentinel!.Value);
        }
        side.Add(tokens.Separator);
        return [.. side];
    }

    private static (int Noise, int Spans) Spans(int length, double density, double meanSpan, bool clamped = true)
    {
        int noise = (int)Math.Round(length * density, MidpointRounding.ToEven);
        if (clamped) noise = Math.Clamp(noise, 1, length - 1);
        int spans = (int)Math.Round(noise / meanSpan, MidpointRounding.ToEven);
        return (noise, clamped ? Math.Clamp(spans, 1, length - noise) : spans);
    }

    // Items in so many segments of at least one: a random choice of those where a new one begins.
    private static int[] Segments(int items, int segments, ref CounterRandom random)
    {
        long[] order = random.Permutation(items - 1);
        var begins = new bool[items];
        for (int i = 0; i < items - 1; i++) begins[i + 1] = order[i] < segments - 1;
        var sizes = new int[segments];
        int segment = 0;
        for (int i = 0; i < items; i++)
        {
            if (begins[i]) segment++;
            sizes[segment]++;
        }
        return sizes;
    }
}
