namespace Permafrost.Models;

/// <summary>
/// The named configurations of <see cref="ConvSeq2SeqModel"/>. The plain names are the sound reading: lightweight convolutions of 7 taps with a row for each 64 channels, as Wu et
/// al. share them, pre-norm, no positions, so that any length fits. <c>@paper</c> is what Tay et al. 2021 write (known from a review and a reading note): window 7, 2 rows, a layer
/// norm on each branch, no positions. <c>@released</c> is what their code computes (read first-hand): window 9, a row for each channel, a second pointwise map, root mean square
/// pre-norm, 512 learned positions, biases.
/// </summary>
internal static class ConvSeq2SeqPresets
{
    private static readonly Size[] Sizes =
    [
        new("tiny", 2, 128), new("mini", 4, 256), new("small", 6, 512), new("base", 12, 768), new("large", 24, 1024),
    ];

    // The paper's list names eleven numbers for twelve layers, and not what they are; read as dilations, the last once more.
    private const string Dilations = "[4, 4, 7, 7, 15, 15, 15, 15, 31, 31, 31, 31]";

    private sealed record Size(string Name, int Layers, int Width);

    public static IEnumerable<Preset> All
    {
        get
        {
            foreach (Size size in Sizes)
            {
                yield return Preset(size, "", "lightweight convolutions", $""" "mixer": "lightweight", {SharedRows(size)} """);
                yield return Preset(size, "@paper", "lightweight convolutions as the paper writes",
                    """ "mixer": "lightweight", "kernel_size": 7, "conv_heads": 2, "norm": "branch-layernorm" """);
                yield return Preset(size, "@released", "lightweight convolutions as released", $""" "mixer": "lightweight", {Released} """);
            }
            foreach (Size size in new[] { Sizes[1], Sizes[3] })
            {
                yield return Preset(size, "-dynamic", "dynamic convolutions", $""" "mixer": "dynamic", {SharedRows(size)} """);
                yield return Preset(size, "-depthwise", "depthwise convolutions", """ "mixer": "depthwise", "kernel_size": 7, "norm": "pre-rmsnorm" """);
                yield return Preset(size, "-dilated", "dilated convolutions",
                    $""" "mixer": "dilated", "kernel_size": 7, "dilation": {(size.Layers == 12 ? Dilations : "[1, 2, 4, 8]")}, "norm": "pre-rmsnorm" """);
                yield return Preset(size, "-attention", "self-attention: T5 with this trunk", """ "mixer": "attention", "norm": "pre-rmsnorm" """);
                yield return Preset(size, "-attended", "lightweight convolutions, the encoder's last layer attends",
                    $""" "mixer": "lightweight", {SharedRows(size)}, "encoder_attention_layer": {size.Layers - 1} """);
            }
            foreach (Size size in Sizes[2..])
                yield return Preset(size, "-dynamic@released", "dynamic convolutions as released", $""" "mixer": "dynamic", {Released}, "tap_bias": true """);
        }
    }

    private static string SharedRows(Size size) => $""" "kernel_size": 7, "conv_heads": {size.Width / 64}, "norm": "pre-rmsnorm" """;

    private const string Released =
        """ "kernel_size": 9, "norm": "pre-rmsnorm", "pointwise": true, "conv_bias": true, "max_position_embeddings": 512 """;

    private static Preset Preset(Size size, string reading, string summary, string mixer) => new(
        $"conv-seq2seq-{size.Name}{reading}", $"{summary}, {size.Layers} and {size.Layers} layers of {size.Width}",
        """{"model_type": "conv-seq2seq", "architectures": ["ConvSeq2SeqForConditionalGeneration"], "is_encoder_decoder": true, "pad_token_id": 0, "eos_token_id": 1,""" +
        $$""" "decoder_start_token_id": 0, "vocab_size": 32128, "num_layers": {{size.Layers}}, "d_model": {{size.Width}}, "d_ff": {{4 * size.Width}},""" +
        $$""" "num_heads": {{size.Width / 64}}, "d_kv": 64, "feed_forward_proj": "relu", {{mixer.Trim()}}}""");
}
