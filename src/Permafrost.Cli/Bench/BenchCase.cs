using System.Globalization;
using System.Text.RegularExpressions;
using Permafrost.Models;
using Permafrost.Runs;

namespace Permafrost.Cli.Bench;

/// <summary>One case of the benchmark: a kind of work, and its size.</summary>
/// <param name="Kind">One of <see cref="Kinds"/>.</param>
/// <param name="Batch">Examples at a time; 0 where there are none.</param>
/// <param name="Tokens">The number of tokens in an example.</param>
internal sealed partial record BenchCase(string Kind, int Batch = 0, int Tokens = 0)
{
    // A picture of 224 by 224 pixels in patches of 16 by 16, three colours each.
    private const int PatchesOfVit = 196, PixelsOfPatch = 768;

    /// <summary>The cases that are measured where none is named, in this order.</summary>
    public static IReadOnlyList<BenchCase> All { get; } =
    [
        new("fpt-step", 16, 64), new("fpt-step", 2, 512), new("fpt-step", 1, 1024), new("fpt-step", 4, 10),
        new("fpt-step-float32", 16, 64), new("full-step", 16, 64), new("forward", 16, 64), new("predict", 1, 64), new("predict", 64, 64),
        new("tiny", 16, 10), new("load"), new("startup"), new("door"),
        new("fpt-step-bert", 32, 32), new("fpt-step-bert", 32, 128), new("fpt-step-bert", 16, 64), new("forward-bert", 16, 64),
        new("fpt-step-t5", 16, 64), new("forward-t5", 16, 64), new("fpt-step-bart", 16, 64), new("forward-bart", 16, 64),
        new("fpt-step-vit", 16, PatchesOfVit), new("forward-vit", 16, PatchesOfVit),
        new("fpt-step-longformer", 16, 64), new("fpt-step-longformer", 1, 4096), new("forward-longformer", 16, 64), new("forward-longformer", 1, 4096),
        new("fpt-step-qwen2", 16, 64), new("forward-qwen2", 16, 64), new("longformer-length"), new("mixer-length"), new(ExchangeBenchmark.Kind),
        new("embed", 32, 32), new("embed", 32, 128), new("embed", 1, 16), new("embed-mixed", 256), new("wordpiece"), new("bpe"), new("unigram"),
    ];

    public static IReadOnlyList<string> Kinds { get; } = [.. All.Select(known => known.Kind).Distinct()];

    public string Name => Batch == 0 ? Kind : Tokens == 0 ? $"{Kind} B{Batch}" : $"{Kind} B{Batch} T{Tokens}";

    /// <summary>Whether it is a computation on examples, which has FLOPs and a ceiling.</summary>
    public bool Computes => Batch > 0 && Tokens > 0;

    /// <summary>The name of the kind in commands to the measuring processes.</summary>
    public string StepKind => Kind is "fpt-step-float32" or "tiny" ? "fpt-step" : Kind == "longformer-length" ? "fpt-step-longformer" : Kind;

    /// <summary>The family of its body, by Hugging Face's <c>model_type</c>.</summary>
    public string Family => BenchBody.Usual.Keys.FirstOrDefault(family => StepKind.EndsWith($"-{family}", StringComparison.Ordinal)) ?? "gpt2";

    /// <summary>The number of numbers in a vector that is fed; a ViT gets the pixels of a patch, cut before.</summary>
    public int Inputs => Family == "vit" ? PixelsOfPatch : 48;

    // As many positions as the family's usual body has, or so many that nothing but memory is in the way.
    private int MostTokens => Family switch { "vit" => PatchesOfVit, "bert" => 512, "longformer" => 4096, _ => 1024 };

    /// <summary>The products with weights it needs: forward, those for the gradient of their inputs, those for the gradient of the weights.</summary>
    public IReadOnlyList<string> Passes => Kind switch
    {
        "full-step" => ["forward", "input", "weight"],
        _ when StepKind.StartsWith("fpt-step", StringComparison.Ordinal) => ["forward", "input"],
        _ => ["forward"],
    };

    /// <summary>The backbone that it measures, where the run names one: that one, if it is of the case's family. Steps of the tiny one are bound by calls.</summary>
    public string BackboneFor(string named) =>
        Kind == "tiny" ? "gpt2-tiny" : ModelRegistry.Presets.Any(preset => preset.Name == named && preset.Config.ModelType == Family) ? named : BenchBody.Usual[Family];

    /// <summary>The cases that words such as <c>fpt-step B4 T10 load</c> name, quoted or not: a kind alone means all its usual sizes.</summary>
    /// <exception cref="UsageException">A word is not a case.</exception>
    public static IReadOnlyList<BenchCase> Parse(IEnumerable<string> words, int? batch, int? tokens)
    {
        var chosen = new List<(string Kind, int? Batch, int? Tokens)>();
        foreach (string word in words.SelectMany(word => word.Split(' ', StringSplitOptions.RemoveEmptyEntries)))
        {
            Match size = Size().Match(word);
            if (size.Success && chosen.Count > 0)
            {
                int number = int.Parse(size.Groups[2].ValueSpan, CultureInfo.InvariantCulture);
                (string kind, int? b, int? t) = chosen[^1];
                chosen[^1] = size.Groups[1].Value == "B" ? (kind, number, t) : (kind, b, number);
            }
            else if (word == "all") chosen.AddRange(OfOneProcess);
            else if (Kinds.Contains(word)) chosen.Add((word, null, null));
            else
            {
                string known = $"; there are {string.Join(", ", Kinds)}, and sizes such as B4 T10 after one of them";
                throw new UsageException($"the case '{word}' does not exist{Spelling.Hint(word, Kinds, known)}");
            }
        }
        if (chosen.Count == 0) chosen.AddRange(OfOneProcess);
        return [.. chosen.SelectMany(choice => Sized(choice.Kind, choice.Batch ?? batch, choice.Tokens ?? tokens)).Distinct()];
    }

    private static IEnumerable<(string Kind, int? Batch, int? Tokens)> OfOneProcess =>
        Kinds.Where(kind => kind != ExchangeBenchmark.Kind).Select(kind => (kind, (int?)null, (int?)null));

    private static IEnumerable<BenchCase> Sized(string kind, int? batch, int? tokens)
    {
        IEnumerable<BenchCase> usual = All.Where(known => known.Kind == kind);
        BenchCase first = usual.First();
        if (!first.Computes || (batch is null && tokens is null)) return usual;
        BenchCase sized = first with { Batch = batch ?? first.Batch, Tokens = tokens ?? first.Tokens };
        return sized.Batch is >= 1 and <= 65536 && sized.Tokens >= 1 && sized.Tokens <= first.MostTokens ? [sized]
            : throw new UsageException($"'{kind} B{sized.Batch} T{sized.Tokens}' cannot be: the batch must be 1 to 65536 and the tokens 1 to {first.MostTokens}");
    }

    [GeneratedRegex(@"^([BT])(\d{1,6})$")]
    private static partial Regex Size();
}
