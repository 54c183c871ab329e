using Permafrost.Formats.Onnx;

namespace Permafrost.Tests.Models.Onnx;

/// <summary>How a dense layer is written.</summary>
internal enum DenseForm
{
    /// <summary>MatMul with (inputs, outputs), then Add, the bias first, as torch's older exporter does.</summary>
    BiasFirst,
    /// <summary>The same, the bias last.</summary>
    BiasLast,
    /// <summary>The bias and the residual value are added the other way round: (x + residual) + bias, where there is one.</summary>
    Gemm,
    /// <summary>Gemm over (inputs, outputs).</summary>
    GemmTurned,
    /// <summary>MatMul with a Transpose of (outputs, inputs).</summary>
    Transpose,
    /// <summary>Gemm without a bias, then Add.</summary>
    GemmAdd,
}

/// <summary>How attention's scores are scaled and masked.</summary>
internal enum ScoreForm
{
    /// <summary>Divided by the root, the mask added.</summary>
    Divide,
    /// <summary>Queries and keys multiplied by the root's root, as torch's fused attention is exported; rows without any key give zeros.</summary>
    Fused,
    /// <summary>Queries divided; a Where puts the mask.</summary>
    Where,
    /// <summary>One operator of ONNX, of its version 23.</summary>
    Operator,
}

/// <summary>How positions are looked up.</summary>
internal enum PositionForm
{
    /// <summary>A buffer of 0, 1, 2, ... cut to length.</summary>
    Buffer,
    /// <summary>A Range.</summary>
    Range,
    /// <summary>The table itself cut to length.</summary>
    Table,
    /// <summary>An input.</summary>
    Input,
}

/// <summary>What exporters differ in.</summary>
internal sealed record OnnxDialect(string Name)
{
    public int Opset { get; init; } = 14;
    public DenseForm Dense { get; init; }
    public ScoreForm Scores { get; init; }
    public PositionForm Positions { get; init; }
    public OnnxStorage Storage { get; init; }
    public OnnxType Type { get; init; } = OnnxType.Float;

    /// <summary>Weights are in Constant nodes.</summary>
    public bool Constants { get; init; }

    /// <summary>Every weight has a number for a name.</summary>
    public bool Numbered { get; init; }

    /// <summary>What is put before Hugging Face's names.</summary>
    public string Prefix { get; init; } = "";

    public bool FusedNorm { get; init; }
    public bool FusedGelu { get; init; }

    /// <summary>Norms multiply by a reciprocal, scale first.</summary>
    public bool Reciprocal { get; init; }

    public bool Pooler { get; init; }

    /// <summary>A token classifier follows the last layer.</summary>
    public bool Classifier { get; init; }

    /// <summary>A masked-token head follows the last layer, tied to the token table.</summary>
    public bool MaskedTokens { get; init; }

    /// <summary>Equal tensors are stored once, and handed on by Identity.</summary>
    public bool Shared { get; init; }

    /// <summary>No token_type_ids among the inputs: all of the first segment, made from the shape.</summary>
    public bool OneSegment { get; init; }

    /// <summary>The tables are as large as each other, so that only the graph tells them apart.</summary>
    public bool SameSizes { get; init; }

    /// <summary>Norms are functions of the model.</summary>
    public bool Functions { get; init; }

    /// <summary>The mean over the tokens, of unit length, follows, as sentence-transformers' exports have it.</summary>
    public bool SentenceEmbedding { get; init; }

    /// <summary>The model is in a folder of its own, as optimum puts it.</summary>
    public bool Subfolder { get; init; }

    public override string ToString() => Name;

    /// <summary>What is tested: each exporter that is known, and each difference once.</summary>
    public static IReadOnlyList<OnnxDialect> All { get; } =
    [
        new("torch 1.10") { Pooler = true },
        new("torch 1.13, shared tensors") { Shared = true, Numbered = true },
        new("torch 2.1, fused attention") { Scores = ScoreForm.Fused, Dense = DenseForm.BiasFirst, Pooler = true, Prefix = "bert." },
        new("torch 2.6") { Opset = 17, FusedNorm = true, Scores = ScoreForm.Fused, Numbered = true },
        new("torch.export") { Opset = 20, FusedNorm = true, FusedGelu = true, Dense = DenseForm.Gemm, Scores = ScoreForm.Fused, Storage = OnnxStorage.External, Prefix = "model." },
        new("torch.export, transposed") { Opset = 18, FusedNorm = true, Dense = DenseForm.Transpose, Positions = PositionForm.Table, Prefix = "model." },
        new("optimum") { Subfolder = true, Storage = OnnxStorage.External, Dense = DenseForm.BiasLast, SentenceEmbedding = true },
        new("constants") { Constants = true, Numbered = true, Dense = DenseForm.GemmTurned, Pooler = true, Positions = PositionForm.Range },
        new("lists") { Storage = OnnxStorage.List, Dense = DenseForm.GemmAdd, Reciprocal = true, Scores = ScoreForm.Where },
        new("single numbers") { Storage = OnnxStorage.Unpacked, OneSegment = true, Positions = PositionForm.Input },
        new("same sizes") { SameSizes = true, Numbered = true },
        new("same sizes, positions fed") { SameSizes = true, Numbered = true, Positions = PositionForm.Input, Storage = OnnxStorage.External },
        new("operator") { Opset = 23, FusedNorm = true, FusedGelu = true, Scores = ScoreForm.Operator, Numbered = true },
        new("functions") { Opset = 18, Functions = true, Numbered = true, Pooler = true },
        new("token classifier") { Classifier = true, Prefix = "bert." },
        new("masked tokens") { MaskedTokens = true, Prefix = "bert.", Opset = 17, FusedNorm = true },
        new("float16") { Type = OnnxType.Float16, Opset = 17, FusedNorm = true },
        new("float16 lists") { Type = OnnxType.Float16, Storage = OnnxStorage.List },
        new("bfloat16") { Type = OnnxType.BFloat16, Numbered = true, Storage = OnnxStorage.External },
        new("float64 lists") { Type = OnnxType.Double, Storage = OnnxStorage.List, Dense = DenseForm.Transpose },
        new("float16 in constants") { Type = OnnxType.Float16, Constants = true, Numbered = true, Pooler = true },
    ];
}
