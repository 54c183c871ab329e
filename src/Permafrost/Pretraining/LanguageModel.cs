using Permafrost.Formats;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;
using Permafrost.Pretraining.Objectives;

namespace Permafrost.Pretraining;

/// <summary>
/// A model with its language-model head, of which every weight trains: float32 weights, products in bfloat16 where that is asked for and the processor has them. Names are Hugging
/// Face's for the class that the configuration names.
/// </summary>
public sealed class LanguageModel : IDisposable
{
    private readonly PretrainedModel model;
    private readonly LanguageHead head;
    private readonly ScalarType type;
    private readonly DropoutKeys dropoutKeys = new() { CountsForwards = false };

    /// <summary>A model whose weights are drawn by the architecture's published scheme.</summary>
    /// <param name="config">The configuration; its <c>architectures[0]</c> names a class with a language-model head.</param>
    /// <param name="seed">Of the draw, and of dropout.</param>
    /// <param name="dropout">Probability of every dropout.</param>
    /// <param name="type">Of the products: bfloat16 or float32.</param>
    /// <exception cref="PermafrostException">The class has no such head.</exception>
    public LanguageModel(HfConfig config, long seed, double dropout = 0, ScalarType type = ScalarType.BFloat16)
    {
        this.type = type;
        model = ModelRegistry.CreateWithHead(config);
        head = model.LanguageHead ?? throw new PermafrostException($"{config.Source}: the class it names has no language-model head, so it cannot be pretrained");
        model.Backbone.DropoutOverride = dropout;
        dropoutKeys.Seed = seed;
        model.UseDropoutKeys(dropoutKeys);
        model.UseActivationType(type);
        foreach ((string name, Parameter parameter) in model.NamedParameters())
        {
            // As the backbone's own draw: the name is the headless class's, so that a random body of this seed starts the same.
            using Generator random = Initializers.GeneratorFor(seed, name.StartsWith(model.Prefix, StringComparison.Ordinal) ? name[model.Prefix.Length..] : name);
            parameter.Initialize(random);
            if (!parameter.IsBuffer) parameter.Train();
        }
    }

    /// <summary>The configuration.</summary>
    public HfConfig Config => model.Backbone.Config;

    /// <summary>The trained weights with their names in Hugging Face's class, in the order of declaration.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> Parameters =>
        [.. model.NamedParameters().Where(pair => pair.Parameter.IsTrained).Select(pair => (pair.Name, pair.Parameter.Value))];

    /// <summary>The number of trained numbers.</summary>
    public long ParameterCount => Parameters.Sum(pair => pair.Tensor.NumberOfElements);

    /// <summary>The number of the update that is being computed, which dropout depends on.</summary>
    public long Step { get => dropoutKeys.Step; set => dropoutKeys.Step = value; }

    /// <summary>Adds the gradients of the mean loss of an example, times a share, to those of the weights.</summary>
    /// <param name="example">What is asked.</param>
    /// <param name="share">Multiplies the loss: a part's answers among those of the whole batch.</param>
    /// <param name="firstRow">The number of the first row within the whole batch.</param>
    /// <returns>The loss times the share; where it is not finite, no gradient was added.</returns>
    public double AddGradients(LanguageExample example, double share = 1, long firstRow = 0)
    {
        dropoutKeys.FirstRow = firstRow;
        model.train();
        using DisposeScope scope = torch.NewDisposeScope();
        return Segment.AddGradients(() => share == 1 ? Loss(example) : Segment.Compose(loss => loss[0].Times(share), Loss(example)), torch.CPU);
    }

    /// <summary>The mean loss of an example in nats, without gradients or dropout.</summary>
    public double Score(LanguageExample example)
    {
        model.eval();
        using var noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        return Loss(example).Number();
    }

    /// <summary>Puts saved weights back.</summary>
    /// <param name="tensors">By name.</param>
    /// <param name="source">Names the file in errors.</param>
    /// <exception cref="PermafrostException">A weight is missing, too much, or of another shape.</exception>
    public void Load(IReadOnlyDictionary<string, Tensor> tensors, string source)
    {
        using var noGrad = torch.no_grad();
        IReadOnlyList<(string Name, Tensor Tensor)> own = Parameters;
        if (tensors.Keys.Except(own.Select(pair => pair.Name)).FirstOrDefault() is { } extra)
            throw new PermafrostException($"{source} holds the tensor '{extra}', which is none of the model's");
        foreach ((string name, Tensor tensor) in own)
        {
            if (!tensors.TryGetValue(name, out Tensor? saved)) throw new PermafrostException($"{source} lacks the tensor '{name}'");
            if (!saved.HasShape(tensor.shape)) throw new PermafrostException($"{source}: the tensor '{name}' is {saved.Describe()}, not {tensor.Describe()}");
            tensor.copy_(saved);
        }
    }

    /// <summary>Frees the weights.</summary>
    public void Dispose() => model.Dispose();

    private Tensor Loss(LanguageExample example)
    {
        Tensor ids = Rows(example.Inputs);
        var inputs = new ModelInputs(
            InputIds: ids, AttentionMask: example.Mask is { } mask ? Rows(mask) : null, ReadPositions: example.Read is { } read ? Rows(read) : null)
        {
            DecoderInputIds = example.Decoder is { } decoder ? Rows(decoder) : null,
        };
        Tensor hidden = head.Transform(model.Backbone.Forward(inputs).LastHiddenState);
        long[] answers = [.. example.Answers.SelectMany(row => row)];
        return hidden.Reshaped(answers.Length, hidden.size(-1)).LinearCrossEntropy(head.Table.Value, head.Bias?.Value, answers, type);
    }

    private static Tensor Rows(long[][] rows) => Tensors.From(rows.SelectMany(row => row).ToArray(), rows.Length, rows[0].Length);
}
