using Permafrost.Formats;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>ViTPooler: the first token's state through a map and an activation, for <c>pooler_output</c>.</summary>
internal sealed class VitPooler : Module
{
    private readonly Linear dense;
    private readonly Activation activation;

    public VitPooler(VitConfig config, HfConfig hfConfig)
    {
        dense = Declare("dense", VitModel.Map(config, config.Width, hfConfig.OptionalInt("pooler_output_size") ?? config.Width));
        activation = Activations.Find(hfConfig.Text("pooler_act", "tanh")!, hfConfig.Source);
    }

    public Tensor Forward(Tensor hidden) => activation.Function(dense.Forward(hidden.select(1, 0)));
}

/// <summary>ViTModel with its pooler, or ViTForImageClassification, under Hugging Face's argument and output names.</summary>
public sealed class VitPretrained : PretrainedModel
{
    private readonly VitModel model;
    private readonly VitPooler? pooler;
    private readonly Linear? classifier;

    /// <summary>A model without weights yet.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="classify">Whether there is a classifier; ViTModel has a pooler in its place.</param>
    /// <exception cref="PermafrostException">The configuration holds a value that cannot be.</exception>
    public VitPretrained(HfConfig config, bool classify)
    {
        model = Declare(classify ? "vit" : "", new VitModel(config));
        if (classify) classifier = Declare("classifier", VitModel.Map(model.Settings, model.Settings.Width, config.NumLabels));
        else pooler = Declare("pooler", new VitPooler(model.Settings, config));
    }

    /// <inheritdoc/>
    public override Backbone Backbone => model;

    /// <inheritdoc/>
    public override string Prefix => classifier is null ? "" : "vit.";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> InputNames => ["pixel_values", classifier is null ? "loss_weight" : "labels"];

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, Tensor> Forward(IReadOnlyDictionary<string, Tensor> inputs)
    {
        if (!inputs.TryGetValue("pixel_values", out Tensor? given)) throw new PermafrostException("pixel_values is not among the inputs; vit reads pictures");
        VitConfig settings = model.Settings;
        ForwardInputs.CheckPixels(given, settings.Channels, settings.ImageHeight, settings.ImageWidth);
        Tensor pixels = given.to(ScalarType.Float32);
        RememberInputs(pixels, "pixel_values");
        ModelOutputs output = model.Forward(new ModelInputs(OutputHiddenStates: true, OutputAttentions: true) { PixelValues = pixels });

        Tensor hidden = output.LastHiddenState;
        var outputs = new Dictionary<string, Tensor>();
        AddStates(outputs, output);
        outputs["last_hidden_state"] = hidden;
        if (classifier is not null)
        {
            outputs["logits"] = classifier.Forward(hidden.select(1, 0));
            if (ForwardInputs.ClassLoss(inputs, outputs["logits"], model.Config) is { } loss) outputs["loss"] = loss;
            return outputs;
        }
        outputs["pooler_output"] = pooler!.Forward(hidden);
        if (ForwardInputs.WeightedLoss(inputs, hidden, outputs["pooler_output"]) is { } weighted) outputs["loss"] = weighted;
        return outputs;
    }
}
