using Permafrost.Data;

namespace Permafrost.Pretraining.Objectives;

/// <summary>
/// Masked language modelling (Devlin et al. 2019, section 3.1): a share of the tokens is asked for; of those, 80 % are replaced by the mask, 10 % by another token, 10 % stay.
/// As in the paper's own code (create_pretraining_data.py), the number is the same in every window, so that the last layer and the head compute nothing else.
/// </summary>
/// <param name="context">T, the tokens of a window.</param>
/// <param name="tokens">The vocabulary's special tokens, the mask among them.</param>
/// <param name="share">Of the tokens that are asked for.</param>
public sealed class MaskedObjective(int context, ObjectiveTokens tokens, double share = 0.15) : Objective
{
    private readonly long mask = tokens.Mask
        ?? throw new PermafrostException("the vocabulary has no mask token, such as [MASK], which the masked objective needs; train a tokenizer in the style bert");

    /// <inheritdoc/>
    public override string Name => "masked";

    /// <inheritdoc/>
    public override int Window => tokens.Begin is null ? context : context - 2;

    /// <inheritdoc/>
    public override int TokensPerWindow => context;

    /// <summary>How many tokens of a window are asked for.</summary>
    public int Asked { get; } = Math.Max(1, (int)Math.Round(context * share, MidpointRounding.AwayFromZero));

    /// <inheritdoc/>
    public override LanguageExample Make(long[][] windows, Func<int, CounterRandom> random)
    {
        (var inputs, var answers, var masks, var read) = (new long[windows.Length][], new long[windows.Length][], new long[windows.Length][], new long[windows.Length][]);
        for (int row = 0; row < windows.Length; row++)
        {
            CounterRandom draw = random(row);
            // As the model is fed later on: [CLS] text [SEP].
            long[] window = windows[row], filled = [.. window.TakeWhile(id => id >= 0)];
            long[] text = tokens.Begin is { } begin ? [begin, .. filled, tokens.Separator, .. window[filled.Length..]] : window;
            inputs[row] = [.. text.Select(id => id < 0 ? tokens.Padding : id)];
            masks[row] = [.. text.Select(id => id < 0 ? 0L : 1)];
            // Special tokens are never asked for; in a short window fewer are, and what is read beside them does not count.
            long[] able = [.. draw.Permutation(context).Where(at => text[at] is >= 0 and var id && tokens.Special?.Contains(id) != true)];
            int count = Math.Min(Asked, able.Length);
            long[] asked = [.. able.Take(count).Order()];
            read[row] = [.. asked, .. Enumerable.Repeat(0L, Asked - count)];
            answers[row] = [.. asked.Select(at => text[at]), .. Enumerable.Repeat(-100L, Asked - count)];
            foreach (long at in asked)
            {
                double lot = draw.NextDouble();
                if (lot < 0.8) inputs[row][at] = mask;
                else if (lot < 0.9) inputs[row][at] = Other(ref draw);
            }
        }
        return new LanguageExample(inputs, answers, masks.All(row => row.All(one => one == 1)) ? null : masks, read);
    }

    private long Other(ref CounterRandom draw)
    {
        while (true)
        {
            long id = draw.Next(tokens.Vocabulary);
            if (tokens.Special?.Contains(id) != true) return id;
        }
    }
}
