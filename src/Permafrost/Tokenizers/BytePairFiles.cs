using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Formats;
using static Permafrost.Tokenizers.TokenizerFields;

namespace Permafrost.Tokenizers;

/// <summary>Reads <c>vocab.json</c> with <c>merges.txt</c>: byte-level vocabularies of GPT-2, RoBERTa, BART, Qwen2 and their kin, as Hugging Face's classes read them.</summary>
internal static class BytePairFiles
{
    public const string Vocabulary = "vocab.json", MergesName = "merges.txt";

    private const string Qwen2Words =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    // By Hugging Face's class, or by the model's type.
    private static readonly string[] LikeGpt2 = ["gpt2", "codegen"];
    private static readonly string[] LikeRoberta = ["roberta", "bart", "longformer", "led", "mvp"];
    private static readonly string[] LikeQwen2 = ["qwen2", "qwen3"];

    /// <exception cref="PermafrostException">A file is missing, damaged, or of a class that is not known.</exception>
    public static PipelineTokenizer Read(string folder)
    {
        string path = Path.Combine(folder, Vocabulary), mergesPath = Path.Combine(folder, MergesName);
        foreach ((string there, string other) in new[] { (mergesPath, path), (path, mergesPath) })
            if (!File.Exists(there)) throw new PermafrostException($"{there} does not exist; {Path.GetFileName(other)} is half of a tokenizer");
        var vocabulary = new VocabularyBuilder(path);
        foreach ((string token, JsonNode? id) in ReadJson(path))
            vocabulary.Add(token, id is JsonValue ? Id(id) : throw new PermafrostException($"{path} is no vocabulary: the value of '{ShownText.Short(token)}' is no id"));
        if (vocabulary.Ids.Count == 0) throw new PermafrostException($"{path} is an empty vocabulary");
        var settings = new TokenizerSettings(folder);
        string family = Family(settings, vocabulary);
        bool roberta = LikeRoberta.Contains(family), qwen = LikeQwen2.Contains(family);
        if (!roberta && !qwen && !LikeGpt2.Contains(family))
            throw new PermafrostException(
                $"{settings.ConfigPath}: tokenizer_class is {ShownText.Short(settings.Class ?? family)}; " +
                $"of those with {Vocabulary} and {MergesName} GPT2, Roberta, Bart, LED and Qwen2 are known");
        List<Merge> merges = ReadMerges(mergesPath);
        var model = new BytePairs(vocabulary.Ids, merges, new BytePairSettings { ByteLevel = true }, mergesPath);
        bool prefixed = settings.Flag("add_prefix_space") ?? false;
        string begin = settings.Named("cls_token") ?? settings.Named("bos_token") ?? "<s>", end = settings.Named("sep_token") ?? settings.Named("eos_token") ?? "</s>";
        List<AddedToken> special = [.. settings.Special.Select(token => new AddedToken(token, LeftStrip: roberta && token == "<mask>"))];
        if (roberta) special.AddRange(new[] { begin, end, "<pad>", "<unk>", "<mask>" }.Select(token => new AddedToken(token, LeftStrip: token == "<mask>")));
        else special.Add(new AddedToken("<|endoftext|>"));
        IReadOnlyList<(AddedToken, int)> added = settings.AddTo(vocabulary, special);
        PreTokenizer cutter = qwen ? new PreTokenizerSequence([new Cut(WordScanner.For(Qwen2Words)!, CutBehavior.Isolated), new ByteLevelCut(prefixed, Splits: false)])
            : new ByteLevelCut(prefixed, Splits: true);
        CheckMerges(vocabulary.Ids.Keys, merges, added, cutter, mergesPath);
        string? pad = settings.Named("pad_token") ?? (roberta ? "<pad>" : null);
        return new PipelineTokenizer(new Pipeline
        {
            Kind = "BPE",
            Vocabulary = vocabulary.Tokens(),
            Model = model,
            Normalizer = qwen ? new Composition() : null,
            PreTokenizer = cutter,
            Decoder = new ByteLevelDecoder(),
            Added = added,
            Around = roberta ? new Surroundings([vocabulary.Special(begin)], [vocabulary.Special(end)], Trim: true, prefixed) : Gpt2Around(settings, vocabulary),
            Pad = pad is not null && vocabulary.Ids.TryGetValue(pad, out int id2) ? id2 : null,
            LongestText = settings.LongestText,
        });
    }

    // A file cut at a line's end is one like any other, and its tokens are then never made. What is no word of a text, such as <unk> or RoBERTa's madeupword0000, never was, and a
    // few others may be there by somebody's choice.
    private static void CheckMerges(IEnumerable<string> tokens, List<Merge> merges, IReadOnlyList<(AddedToken Token, int)> added, PreTokenizer cutter, string path)
    {
        HashSet<string> made = [.. merges.Select(merge => merge.Left + merge.Right), .. added.Select(one => one.Token.Content)];
        string[] whole = [.. tokens.Where(token => token.Length > 1)], never = [.. whole.Where(token => !made.Contains(token) && IsWord(token, cutter))];
        if (never.Length * 20 > whole.Length)
            throw new PermafrostException(
                $"{path} is truncated, or of another vocabulary: none of its merges makes {never.Length:N0} of the tokens, such as '{ShownText.Short(never[0])}'");
    }

    private static bool IsWord(string token, PreTokenizer cutter)
    {
        var bytes = new List<byte>();
        ByteAlphabet.Append(token, bytes);
        string text = Encoding.UTF8.GetString([.. bytes]);
        // A part of a character is in no text by itself; which word it would be of is not known.
        return text.Contains('\uFFFD', StringComparison.Ordinal) || cutter.Apply(Words.Of(text, 0, text.Length)).Ranges.Count == 1;
    }

    // GPT-2 adds nothing, unless its configuration says so.
    private static Surroundings Gpt2Around(TokenizerSettings settings, VocabularyBuilder vocabulary)
    {
        int[] Added(string flag, string key) => settings.Flag(flag) ?? false ? [vocabulary.Special(settings.Named(key) ?? "<|endoftext|>")] : [];
        return new Surroundings(Added("add_bos_token", "bos_token"), Added("add_eos_token", "eos_token"));
    }

    private static string Family(TokenizerSettings settings, VocabularyBuilder vocabulary)
    {
        if (settings.Class is { } name) return name.ToLowerInvariant();
        string type = settings.ModelType ?? "";
        if (LikeGpt2.Concat(LikeRoberta).Concat(LikeQwen2).Contains(type)) return type;
        return new[] { "<s>", "</s>", "<mask>" }.All(vocabulary.Ids.ContainsKey) ? "roberta" : "gpt2";
    }

    private static List<Merge> ReadMerges(string path)
    {
        var merges = new List<Merge>();
        int number = 0;
        foreach (string line in TokenizerFiles.ReadText(path).Split('\n'))
        {
            number++;
            string text = line.TrimEnd('\r');
            if (text.Length == 0 || text.StartsWith("#version", StringComparison.Ordinal)) continue;
            if (text.Split(' ') is not [{ Length: > 0 } left, { Length: > 0 } right])
                throw new PermafrostException($"{path} line {number} is not two tokens with a space between");
            merges.Add(new Merge(left, right, merges.Count));
        }
        return merges;
    }
}
