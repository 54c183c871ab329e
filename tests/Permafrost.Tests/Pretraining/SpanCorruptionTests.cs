using Permafrost.Data;
using Permafrost.Pretraining.Objectives;

namespace Permafrost.Tests.Pretraining;

/// <summary>T5's span corruption: its lengths, its sentinels, and that nothing is lost.</summary>
public class SpanCorruptionTests
{
    private static readonly ObjectiveTokens Tokens = new(32100, Separator: 1, Padding: 0, FirstSentinel: 32099, Sentinels: 100);

    // From T5's own rule (random_spans_helper), for 15 % and spans of 3.
    [Theory]
    [InlineData(128, 141, 29, 21, 7)]
    [InlineData(256, 284, 58, 43, 14)]
    [InlineData(512, 568, 114, 85, 28)]
    [InlineData(1024, 1137, 229, 171, 57)]
    public void Lengths_are_those_of_T5(int inputs, int raw, int answers, int noise, int spans)
    {
        Assert.Equal((raw, answers), SpanCorruption.Lengths(inputs, 0.15, 3));
        var random = new CounterRandom("test", 0, 0);
        bool[] mask = SpanCorruption.NoiseMask(raw, 0.15, 3, ref random);
        Assert.Equal(noise, mask.Count(cut => cut));
        Assert.Equal(spans, Enumerable.Range(1, raw - 1).Count(i => mask[i] && !mask[i - 1]));
    }

    [Theory]
    [InlineData(64)]
    [InlineData(512)]
    public void Text_begins_kept_ends_cut_and_is_put_together_again(int context)
    {
        var objective = new SpanCorruption(context, Tokens);
        for (int i = 0; i < 50; i++)
        {
            long[] text = [.. Enumerable.Range(0, objective.Window).Select(at => 3L + (at * 7 + i) % 30000)];
            LanguageExample example = objective.Make([text], _ => new CounterRandom("test", 1, i));
            (long[] inputs, long[] answers) = (example.Inputs[0], example.Answers[0]);
            Assert.Equal(context, inputs.Length);
            Assert.Equal(objective.AnswerTokens, answers.Length);
            Assert.Equal(text[0], inputs[0]);
            Assert.Equal((1L, 32099L, 1L), (inputs[^1], answers[0], answers[^1]));
            Assert.Equal(text[^1], answers[^2]);
            long[] inside = [.. inputs.Where(id => id > 32099 - 100)], told = [.. answers.Where(id => id > 32099 - 100)];
            Assert.Equal(Enumerable.Range(0, inside.Length).Select(n => 32099L - n), inside);
            Assert.Equal(inside, told);
            Assert.Equal(text, objective.Restore(inputs, answers));
            Assert.Equal([0L, .. answers[..^1]], example.Decoder![0]);
        }
    }

    [Fact]
    public void Every_place_but_the_first_is_cut_about_as_often()
    {
        var counts = new int[141];
        for (int i = 0; i < 4000; i++)
        {
            var random = new CounterRandom("test", 2, i);
            bool[] mask = SpanCorruption.NoiseMask(141, 0.15, 3, ref random);
            for (int at = 0; at < 141; at++) if (mask[at]) counts[at]++;
        }
        Assert.Equal(0, counts[0]);
        Assert.Equal(4000, counts[140]);
        Assert.All(counts[20..110], count => Assert.InRange(count, 4000 * 0.10, 4000 * 0.20));
    }

    [Fact]
    public void In_the_plain_form_every_span_leaves_the_mask_and_only_its_tokens_are_told()
    {
        var objective = new SpanCorruption(64, new ObjectiveTokens(100, 1, 0, Mask: 4), sentinels: false);
        long[] text = [.. Enumerable.Range(0, objective.Window).Select(at => 10L + at)];
        LanguageExample example = objective.Make([text], _ => new CounterRandom("test", 3, 0));
        long[] told = [.. example.Answers[0].SkipLast(1)];
        Assert.DoesNotContain(4L, told);
        Assert.Equal(text, example.Inputs[0].SkipLast(1).Where(id => id != 4).Concat(told).Order());
        Assert.Equal(objective.AnswerTokens, example.Answers[0].Length);
    }

    [Fact]
    public void A_vocabulary_without_enough_sentinels_is_refused()
    {
        Refusal.Of("sentinels", () => new SpanCorruption(512, Tokens with { Sentinels = 0, FirstSentinel = null }));
        Refusal.Of("28 spans, and the vocabulary 27 sentinels", () => new SpanCorruption(512, Tokens with { Sentinels = 27 }));
        Refusal.Of("no mask token", () => new SpanCorruption(64, new ObjectiveTokens(100, 1, 0), sentinels: false));
        Refusal.Of("[MASK]", () => new MaskedObjective(64, new ObjectiveTokens(100, 1, 0)));
    }

    [Fact]
    public void Masked_tokens_are_masked_replaced_or_kept_and_nothing_else_changes()
    {
        var objective = new MaskedObjective(128, new ObjectiveTokens(1000, 3, 0, Mask: 4, Begin: 2, Special: new HashSet<long> { 0, 1, 2, 3, 4 }));
        Assert.Equal(126, objective.Window);
        (int masked, int kept, int asked) = (0, 0, 0);
        for (int i = 0; i < 200; i++)
        {
            long[] window = [.. Enumerable.Range(0, 126).Select(at => at == 60 ? 3 : 10L + (at + i) % 900)], text = [2, .. window, 3];
            LanguageExample example = objective.Make([window], _ => new CounterRandom("test", 4, i));
            Assert.Equal(19, example.Read![0].Distinct().Count());
            Assert.Empty(example.Read[0].Intersect([0L, 61, 127]));
            for (int j = 0; j < 19; j++) Assert.Equal(text[example.Read[0][j]], example.Answers[0][j]);
            for (int at = 0; at < 128; at++)
            {
                bool read = example.Read[0].Contains(at);
                if (!read) Assert.Equal(text[at], example.Inputs[0][at]);
                else (masked, kept, asked) = (masked + (example.Inputs[0][at] == 4 ? 1 : 0), kept + (example.Inputs[0][at] == text[at] ? 1 : 0), asked + 1);
            }
        }
        Assert.InRange(masked / (double)asked, 0.77, 0.83);
        Assert.InRange(kept / (double)asked, 0.07, 0.13);
    }
}
