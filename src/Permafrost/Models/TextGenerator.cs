using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Tokenizers;

namespace Permafrost.Models;

/// <summary>What a model wrote.</summary>
/// <param name="Text">The text of the new tokens, without special ones; behind a prompt it begins with the blank, if there is one.</param>
/// <param name="Ids">The new tokens, the one that ended the text included.</param>
/// <param name="Ended">Whether the model ended the text itself, and not the bound on new tokens.</param>
public sealed record GeneratedText(string Text, IReadOnlyList<int> Ids, bool Ended);

/// <summary>
/// A body with its language-model head and its tokenizer: texts in, texts out. A decoder goes on behind a prompt; an encoder-decoder answers it. For one thread at a time.
/// </summary>
public sealed class TextGenerator : IDisposable
{
    private readonly PretrainedModel model;
    private readonly Tokenizer tokenizer;
    private readonly bool answers;

    private TextGenerator(PretrainedModel model, Tokenizer tokenizer) => (this.model, this.tokenizer, answers) = (model, tokenizer, model is EncoderDecoderPretrained);

    /// <summary>Loads a model, in float32.</summary>
    /// <param name="source">A model folder with a tokenizer.</param>
    /// <param name="skipWeights">Patterns of the checkpoint's tensors to leave out; null for none.</param>
    /// <exception cref="PermafrostException">It is a preset, an encoder alone, without a tokenizer, or damaged.</exception>
    public static TextGenerator Load(BackboneSource source, string? skipWeights = null)
    {
        if (source.Folder is not { } folder)
            throw new UsageException($"{source.Config.Source} has no weights and no tokenizer, so it has nothing to say; give a model folder{source.FetchHint}");
        PretrainedModel model = ModelRegistry.CreateWithHead(source.Config.WithGenerationTokens(folder));
        try
        {
            if (model is not (DecoderPretrained or EncoderDecoderPretrained) || (model is EncoderDecoderPretrained && !model.Backbone.Traits.EncoderDecoder))
                throw new PermafrostException(
                    $"{source.Config.Source}: {source.Config.ModelType} is an encoder, which reads texts and cannot generate any; take a decoder such as GPT-2, or an " +
                    "encoder-decoder such as T5");
            Tokenizer tokenizer = TokenizerFiles.Find(folder)
                ?? throw new PermafrostException(
                    $"{folder} has no tokenizer, and texts are generated in its tokens; {TokenizerFiles.Wanted} was looked for{HubCache.FetchHintIn(folder)}");
            if (model.Backbone.Traits.Vocabulary is { } rows) FrozenWeights.CheckVocabulary(folder, tokenizer.VocabularySize, rows);
            CheckpointReader.Load(model, ModelRegistry.Find(source.Config), model.Prefix, folder, source.Skipping(skipWeights));
            return new TextGenerator(model, tokenizer);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Greedy decoding up to the end of a text, as the model's configuration says: what other ways are made of.</summary>
    /// <param name="newTokens">The most new tokens.</param>
    public GenerationOptions Greedy(int newTokens) => model.ForTexts(newTokens);

    /// <summary>What follows a prompt.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="options">How, made of <see cref="Greedy"/>.</param>
    /// <exception cref="PermafrostException">The prompt is empty, or does not fit the model with what follows.</exception>
    public GeneratedText Generate(string prompt, GenerationOptions options)
    {
        using var scope = torch.NewDisposeScope();
        int[] ids = tokenizer.Encode(prompt).Ids;
        // A decoder that is given nothing begins with the token that begins texts, where it has one.
        if (ids.Length == 0) ids = [.. model.Backbone.Config.TokenIds("bos_token_id")];
        if (ids.Length == 0) throw new PermafrostException("the prompt is empty, and the model has no token to begin a text with; give it a word");
        long[] start = [.. ids.Select(id => (long)id)];
        using Tensor made = model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = Tensors.From(start, 1, start.Length) }, options);
        int[] all = [.. made.ToArray<long>().Select(id => (int)id)];
        int[] followed = all[(answers ? 1 : start.Length)..];
        int end = Array.FindIndex(followed, id => id == options.EndId || model.EndIds.Contains(id));
        if (end >= 0) followed = followed[..(end + 1)];
        // A table may have rows that are no token.
        int[] known = [.. followed.Where(id => id < tokenizer.VocabularySize)];
        return new GeneratedText(Behind(answers ? [] : ids, known), followed, end >= 0 && !(options.ForcedEndId is not null && end == options.MaxNewTokens - 1));
    }

    /// <inheritdoc/>
    public void Dispose() => model.Dispose();

    // Some decoders leave out the blank at the beginning, and new tokens do not begin the text.
    private string Behind(int[] before, int[] ids)
    {
        string whole = tokenizer.Decode([.. before, .. ids]), first = tokenizer.Decode(before);
        return whole.StartsWith(first, StringComparison.Ordinal) ? whole[first.Length..] : tokenizer.Decode(ids);
    }
}
