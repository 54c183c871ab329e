namespace Permafrost.Tests.Models;

/// <summary>GPT-2 keeps every model family's promises.</summary>
public class Gpt2Contract : ArchitectureContract
{
    protected override string Config => TinyGpt2.Json(layers: 2, width: 16);

    protected override int Heads => 2;

    protected override IReadOnlyList<string> Fixtures => ["gpt2_a", "gpt2_b"];
}
