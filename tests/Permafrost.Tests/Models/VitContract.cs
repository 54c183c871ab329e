namespace Permafrost.Tests.Models;

/// <summary>ViT keeps every model family's promises, where vectors take the place of its patches.</summary>
public class VitContract : ArchitectureContract
{
    protected override string Config => """
        {"model_type": "vit", "architectures": ["ViTModel"], "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "image_size": [12, 16], "patch_size": [3, 5], "num_channels": 2}
        """;

    protected override int Heads => 2;

    protected override IReadOnlyList<string> Fixtures => ["vit_a", "vit_b"];

    protected override bool ReturnsTheLastState => false;
}
