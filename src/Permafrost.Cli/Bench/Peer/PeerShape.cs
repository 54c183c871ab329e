using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>The peer's sizes and probabilities, and the type of frozen weights and of everything that is multiplied with them: float32 or bfloat16.</summary>
internal sealed record PeerShape(int Layers, int Width, int Heads, int Inner, int Positions, double Epsilon, double Dropout, ScalarType Type,
    string Family = "gpt2", int Vocabulary = 0)
{
    /// <summary>From a measuring command, or from the keys of a GPT-2's config.json.</summary>
    public static PeerShape Parse(JsonObject sizes, double dropout, ScalarType type)
    {
        int Size(string name, string file) => (int)((sizes[name] ?? sizes[file])!);
        int width = Size("width", "n_embd");
        int inner = (int?)(sizes["inner"] ?? sizes["n_inner"]) ?? 4 * width;
        double epsilon = (double?)sizes["layer_norm_epsilon"] ?? 1e-5;
        return new PeerShape(Size("layers", "n_layer"), width, Size("heads", "n_head"), inner, Size("positions", "n_positions"), epsilon, dropout, type,
            (string?)sizes["family"] ?? "gpt2", (int?)sizes["vocab"] ?? 0);
    }
}
