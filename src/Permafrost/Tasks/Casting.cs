using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks.Metrics;
using Permafrost.Tokenizers;

namespace Permafrost.Tasks;

/// <summary>Data of any task in the shape that a body with a tokenizer was pretrained on: examples as texts, and classes as labels that a decoder writes.</summary>
internal static class Casting
{
    // Examples that are looked at to say how many are cut.
    private const int Looked = 200;

    /// <summary>What the task itself feeds and asks for, where a run cast it; else the same.</summary>
    public static TaskSpec Source(TaskSpec spec) => spec.Source ?? spec;

    /// <summary>Examples as texts, through the body's own tokenizer.</summary>
    /// <param name="task">The task.</param>
    /// <param name="data">Its data, of ids, vectors or pixels.</param>
    /// <param name="options">The run's options of the task.</param>
    /// <param name="trained">What a finished run was trained for; null for a new one.</param>
    /// <returns>The data as it is, where it is of texts, or of ids without words and nothing can be said better: those are looked up as they are.</returns>
    /// <exception cref="UsageException">The body has no tokenizer, or the task's answers belong to tokens of its own.</exception>
    public static TaskData AsText(TaskDefinition task, TaskData data, TaskOptions options, TaskSpec? trained)
    {
        if (data.Spec.Input is TextInput || (trained is not null && trained.Input is not TextInput)) return data;
        Tokenizer? tokenizer = options.Tokenizer?.Invoke();
        if (data.Spec.Input is IdInput && (tokenizer is null || task.Words(data.Spec) is null)) return data;
        if (data.Spec.Output is TokenClassOutput or SequenceOutput)
            throw new UsageException($"`input_layer`: the answers of {task.Name} belong to tokens of its own, which a text has otherwise; use `input_layer` new");
        if (tokenizer is null)
            throw new UsageException(
                $"`input_layer`: {task.Name} is written as text for it, and the backbone has no tokenizer of its own ({TokenizerFiles.Wanted}); use `input_layer` new");
        int? positions = options.LongestInput();
        if (options.MaxLength > positions) throw new UsageException($"`max_length` is {options.MaxLength}, and the backbone has {positions} positions; take at most {positions}");
        int special = tokenizer.SpecialTokens;
        if (options.MaxLength <= special) throw new UsageException($"`max_length` is {options.MaxLength}; of it {special} are special tokens, so that no room is left for a text");
        TextForm form = trained is null ? TextForm.Of(task, data, (options.MaxLength ?? positions) - special)! : TextForm.Read(data.Spec.Input, trained.Preprocessing);
        int length = trained?.Input.Length ?? Math.Min(options.MaxLength ?? positions ?? int.MaxValue, Longest(form, tokenizer));
        WrittenRows? Rows(IDataset? split) => split is null ? null : new WrittenRows(split, form, tokenizer, length);
        WrittenRows train = Rows(data.Train)!;
        TaskSpec spec = data.Spec with
        {
            Input = new TextInput(tokenizer.VocabularySize, length),
            Readout = "mean",
            Preprocessing = data.Spec.Preprocessing.Concat(form.Facts).ToDictionary(),
            Source = data.Spec,
        };
        return data with
        {
            Spec = spec,
            Train = train,
            Validation = Rows(data.Validation),
            Test = Rows(data.Test),
            TrainSource = Rows(data.TrainSource),
            Notes = [.. data.Notes, .. Notes(form, train, length)],
        };
    }

    /// <summary>New inputs as texts, as a finished run reads them.</summary>
    public static IDataset AsText(IDataset inputs, TaskSpec trained, TaskOptions options)
    {
        if (trained.Source is not { } source || source.Input is TextInput || trained.Input is not TextInput) return inputs;
        Tokenizer tokenizer = options.Tokenizer?.Invoke() ?? throw new PermafrostException("the backbone has no tokenizer any more, and the run reads examples as texts");
        return new WrittenRows(inputs, TextForm.Read(source.Input, trained.Preprocessing), tokenizer, trained.Input.Length);
    }

    /// <summary>Classes as labels that a decoder writes, token by token of the body's own tokenizer; the score is the share that are the right label to its end.</summary>
    /// <param name="task">The task's name, for errors.</param>
    /// <param name="data">The data, of texts.</param>
    /// <param name="tokenizer">The body's; null where it has none.</param>
    /// <param name="end">The token that ends a text (<c>eos_token_id</c>); null where the body names none.</param>
    /// <exception cref="UsageException">The data or the body is of another kind.</exception>
    public static TaskData AsLabels(string task, TaskData data, Tokenizer? tokenizer, int? end)
    {
        const string Option = "`casting` text";
        if (data.Spec.Output is not ClassOutput { Count: 1 } classes)
            throw new UsageException($"{Option} writes a class as its label, and {task} asks for something else; leave it out");
        if (tokenizer is null) throw new UsageException($"{Option} writes labels with the backbone's own tokens, and it has no tokenizer ({TokenizerFiles.Wanted})");
        if (end is not { } last)
            throw new UsageException($"{Option}: the backbone's config.json has no eos_token_id, the token that ends a text; add it, or take another backbone");
        string[] labels = [.. Enumerable.Range(0, classes.Classes).Select(i => classes.Labels.Count > 0 ? classes.Labels[i] : $"{i}")];
        long[][] tokens = [.. labels.Select(label => (long[])[.. tokenizer.Encode(label, addSpecialTokens: false).Ids.Select(id => (long)id)])];
        if (Array.FindIndex(tokens, own => own.Length == 0) is >= 0 and var empty)
            throw new UsageException($"{Option}: the label '{labels[empty]}' has no token of the backbone's");
        for (int i = 0; i < labels.Length; i++)
            if (Array.FindIndex(tokens, 0, i, own => own.SequenceEqual(tokens[i])) is >= 0 and var same)
                throw new UsageException($"{Option}: the backbone's tokenizer cannot tell the labels '{labels[same]}' and '{labels[i]}' apart; leave it out");
        var output = new SequenceOutput(Math.Max(tokenizer.VocabularySize, last + 1), tokens.Max(own => own.Length) + 1, last)
        { Labels = [.. labels.Zip(tokens, (label, own) => new WrittenLabel(label, own))] };
        LabelRows? Rows(IDataset? split) => split is null ? null : new LabelRows(split, output);
        TaskSpec spec = data.Spec with { Output = output, Readout = "decoder", Metrics = [MetricInfo.ExactMatch with { Name = "accuracy" }], Source = Source(data.Spec) };
        return data with { Spec = spec, Train = Rows(data.Train)!, Validation = Rows(data.Validation), Test = Rows(data.Test), TrainSource = Rows(data.TrainSource) };
    }

    // Words are cut into tokens one by one, and the first one of a text perhaps otherwise than those behind a blank.
    private static int Longest(TextForm form, Tokenizer tokenizer)
    {
        int most = form.Vocabulary.Max(word => (tokenizer.Encode($"{word} {word}", addSpecialTokens: false).Ids.Length + 1) / 2);
        return checked(form.Words * most + tokenizer.SpecialTokens);
    }

    private static IEnumerable<string> Notes(TextForm form, WrittenRows train, int length)
    {
        yield return $"examples are written as texts: {form.Summary}";
        (int cut, int of) = train.CountCut(Looked);
        if (cut > 0)
            yield return FormattableString.Invariant(
                $"{cut:N0} of the first {of:N0} training examples have more than {length} tokens as texts and are cut (`max_length`); shorter ones lose nothing");
    }

    // The same examples with the tokens of labels in place of classes.
    private sealed class LabelRows(IDataset source, SequenceOutput output) : IDataset, IDisposable
    {
        public long? Count => source.Count;

        public IReadOnlyList<int>? Lengths => source.Lengths;

        public Batch Get(ReadOnlySpan<long> indices)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            Batch batch = source.Get(indices);
            long[] classes = batch.Targets.ToArray<long>();
            int S = output.Length;
            var targets = new long[classes.Length * S];
            Array.Fill(targets, -100);
            for (int row = 0; row < classes.Length; row++)
            {
                if (classes[row] < 0) continue;
                IReadOnlyList<long> tokens = output.Labels[(int)classes[row]].Tokens;
                for (int i = 0; i < tokens.Count; i++) targets[row * S + i] = tokens[i];
                targets[row * S + tokens.Count] = output.End;
            }
            scope.MoveToOuter(batch.Inputs);
            if (batch.Mask is not null) scope.MoveToOuter(batch.Mask);
            return new Batch(batch.Inputs, scope.MoveToOuter(Tensors.From(targets, classes.Length, S)), batch.Mask);
        }

        public void Dispose() => (source as IDisposable)?.Dispose();
    }
}
