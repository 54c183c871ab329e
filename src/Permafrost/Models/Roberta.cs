// RoBERTa: Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach".
// Written after Hugging Face transformers 4.30, models/roberta/modeling_roberta.py: names, positions, head. There are no numbers of theirs to compare with yet;
// the tests hold it to a second implementation from the published definition.
// What differs from BERT, whose modules it consists of: positions are numbered from the one behind the padding id and skip padding, whose rows of both tables get no gradient from
// being looked up; where vectors are given, nothing says which are padding, and positions run on.

using Permafrost.Formats;
using Permafrost.Kernels;

namespace Permafrost.Models;

/// <summary>RobertaModel without its pooler. The rows of the position table up to padding's are not among <see cref="BackboneTraits.LongestInput"/>.</summary>
public sealed class RobertaModel : BertEncoder
{
    /// <summary>The family.</summary>
    public static Architecture Architecture { get; } = new()
    {
        ModelType = "roberta",
        Backbone = config => new RobertaModel(config),
        Heads = new Dictionary<string, Func<HfConfig, PretrainedModel>>
        {
            ["RobertaModel"] = config => new RobertaPretrained(config, head: false),
            ["RobertaForMaskedLM"] = config => new RobertaPretrained(config, head: true),
        },
        BasePrefixes = ["roberta."],
        Buffers = ["embeddings.position_ids", "embeddings.token_type_ids"],
        Tied = ("embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
        OldEndings = [("lm_head.bias", "lm_head.decoder.bias")],
        HeadPrefixes = ["lm_head.", "pooler.", "roberta.pooler.", "classifier.", "qa_outputs."],
    };

    /// <summary>Configurations that were published.</summary>
    public static IReadOnlyList<Preset> Presets { get; } = [Preset("roberta-base", 12, 768, 12), Preset("roberta-large", 24, 1024, 16)];

    /// <summary>A model without weights yet: load or initialise them.</summary>
    /// <exception cref="PermafrostException">The configuration holds a value that cannot be.</exception>
    public RobertaModel(HfConfig hfConfig)
        : this(hfConfig, new BertConfig(hfConfig, new BertKeys(Vocabulary: 50265) { PadId = 1, PositionsBehindPadding = true })) { }

    private RobertaModel(HfConfig hfConfig, BertConfig config) : base(hfConfig, config, "encoder.layer", () => new BertLayer(config)) { }

    /// <inheritdoc/>
    public override IReadOnlyList<GroupRule> Groups => BertModel.AllGroups;

    /// <inheritdoc/>
    internal override Tensor PositionsOf(Tensor ids)
    {
        Tensor positions = PositionsFrom(ids, Settings.PadId!.Value);
        if (ids.size(1) > Settings.LongestInput && positions.max().Integer() >= Settings.Positions) throw TooLong(ids.size(1), Settings.LongestInput);
        return positions;
    }

    /// <summary>(B, T) int64: the places of ids (B, T) in the position table, which begin behind the pad id's; padding stands at that one.</summary>
    internal static Tensor PositionsFrom(Tensor ids, long padId)
    {
        Tensor tokens = ids.ne(padId.Hold()).to(ScalarType.Int64);
        return (tokens.cumsum(1) * tokens).Plus(padId);
    }

    private static Preset Preset(string name, int layers, int width, int heads) => new(name, $"RoBERTa, {layers} layers of {width}, {heads} heads, 512 positions",
        """{"model_type": "roberta", "architectures": ["RobertaForMaskedLM"], "vocab_size": 50265, "type_vocab_size": 1, "max_position_embeddings": 514,""" +
        $$""" "num_hidden_layers": {{layers}}, "hidden_size": {{width}}, "num_attention_heads": {{heads}}, "intermediate_size": {{4 * width}},""" +
        """ "layer_norm_eps": 1e-5, "pad_token_id": 1}""");
}
