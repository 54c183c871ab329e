using System.Text.Json.Nodes;

namespace Permafrost.Cli.Bench.Peer;

/// <summary>The peer's sizes and probabilities, and the type of frozen weights and of everything that is multiplied with them: float32 or bfloat16.</summary>
internal sealed record PeerShape(int Layers, int Width, int Heads, int Inner, int Positions, double Epsilon, double Dropout, ScalarType Type,
    string Family = "gpt2", int Vocabulary = 0)
{
    /// <summary>Numbers of a head; heads together may be wider or narrower than the stream.</summary>
    public int HeadSize { get; init; } = Width / Heads;

    /// <summary>Heads of keys and values, which those of queries share.</summary>
    public int KeyHeads { get; init; } = Heads;

    /// <summary>Whether queries, keys and values have biases; of ViT only.</summary>
    public bool QueryBias { get; init; } = true;

    /// <summary>Whether the feed-forward layers have a gate.</summary>
    public bool IsGated { get; init; }

    /// <summary>The first token's row of the position table.</summary>
    public int FirstPosition { get; init; }

    /// <summary>T5's kinds of distances, and the distance from which on all share one.</summary>
    public (int Buckets, int MaxDistance) Distances { get; init; }

    /// <summary>For each layer of Longformer, how many keys a query sees beside its own.</summary>
    public IReadOnlyList<int> Windows { get; init; } = [];

    /// <summary>The base of rotary positions.</summary>
    public double RopeTheta { get; init; }

    /// <summary>From a measuring command, or from the keys of a GPT-2's config.json.</summary>
    public static PeerShape Parse(JsonObject sizes, double dropout, ScalarType type)
    {
        int Size(string name, string file) => (int)((sizes[name] ?? sizes[file])!);
        (int width, int heads) = (Size("width", "n_embd"), Size("heads", "n_head"));
        int inner = (int?)(sizes["inner"] ?? sizes["n_inner"]) ?? 4 * width;
        double epsilon = (double?)sizes["layer_norm_epsilon"] ?? 1e-5;
        string family = (string?)sizes["family"] ?? "gpt2";
        return new PeerShape(Size("layers", "n_layer"), width, heads, inner, Size("positions", "n_positions"), epsilon, dropout, type, family, (int?)sizes["vocab"] ?? 0)
        {
            HeadSize = (int?)sizes["head_size"] ?? width / heads,
            KeyHeads = (int?)sizes["key_heads"] ?? heads,
            QueryBias = (bool?)sizes["query_bias"] ?? true,
            IsGated = (bool?)sizes["gated"] ?? false,
            // Vectors stand in the places of a ViT's patches, behind the class token's.
            FirstPosition = (int?)sizes["first_position"] ?? (family == "vit" ? 1 : 0),
            Distances = ((int?)sizes["buckets"] ?? 0, (int?)sizes["max_distance"] ?? 0),
            Windows = [.. sizes["windows"]?.AsArray().Select(window => (int)window!) ?? []],
            RopeTheta = (double?)sizes["rope_theta"] ?? 0,
        };
    }
}
