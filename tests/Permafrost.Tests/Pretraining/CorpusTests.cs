using System.IO.Compression;
using System.Text;
using Permafrost.Pretraining;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Pretraining;

/// <summary>Text files, their documents, the token cache, what is held out, and how windows are cut.</summary>
public sealed class CorpusTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static List<(string Name, string Text)> Read(string path, bool strict = false)
    {
        var documents = new List<(string, string)>();
        foreach (CorpusPiece piece in new CorpusReader(CorpusReader.Files([path])[0], strict).Pieces())
            if (piece.First) documents.Add((piece.Document, piece.Text));
            else documents[^1] = (documents[^1].Item1, documents[^1].Item2 + piece.Text);
        return documents;
    }

    [Fact]
    public void Documents_begin_at_marks_or_are_files_or_lines_of_JSON()
    {
        Assert.Equal([("one.txt", "a\nb\n")], Read(folder.Write("one.txt", "\na\r\nb\n")));
        Assert.Equal([("X", "a\n"), ("The title", "b\n\nc\n")], Read(folder.Write("two.txt", "<doc X>\na\n</doc>\n<doc id=\"1\" title=\"The title\">\nb\n\nc\n")));
        Assert.Equal([("three.jsonl:1", "a\nb"), ("three.jsonl:3", "c")], Read(folder.Write("three.jsonl", "{\"text\": \"a\\nb\"}\n\n{\"id\": 7, \"text\": \"c\"}\n")));
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionMode.Compress, leaveOpen: true)) gzip.Write("<doc Y>\nz\n"u8);
        Assert.Equal([("Y", "z\n")], Read(folder.Write("four.txt.gz", packed.ToArray())));
    }

    [Fact]
    public void Long_documents_come_in_pieces_whose_tokens_are_the_documents()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        string text = SmallCorpus.Text(1, 3000)[("<doc part0>\n".Length)..].TrimEnd('\n') + "\n";
        string path = folder.Write("long.txt", text);
        CorpusPiece[] pieces = [.. new CorpusReader(CorpusReader.Files([path])[0]).Pieces()];
        Assert.True(pieces.Length > 1);
        Assert.Equal(text, string.Concat(pieces.Select(piece => piece.Text)));
        Tokenizer tokenizer = TokenizerFiles.Load(options.Tokenizer);
        Assert.Equal(tokenizer.Encode(text).Ids, pieces.SelectMany(piece => tokenizer.Encode(piece.Text).Ids));
    }

    [Fact]
    public void Bytes_that_are_no_text_are_replaced_and_counted_or_refused()
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { HeldOut = null };
        folder.Write("text/bad.txt", [.. "a b "u8, 0xff, (byte)' ', 0xc3, (byte)'\n', .. "c\n"u8]);
        Assert.Equal([("bad.txt", "a b \uFFFD \uFFFD\nc\n")], Read(folder["text", "bad.txt"]));
        using (PretrainingData data = SmallCorpus.Open(options, folder)) Assert.Equal(2, data.Replaced);
        Refusal.Of("bad.txt", () => SmallCorpus.Open(options with { StrictUtf8 = true }, folder));
    }

    [Fact]
    public void What_cannot_be_read_is_refused()
    {
        Refusal.Of("nowhere", () => CorpusReader.Files([folder["nowhere"]]));
        Directory.CreateDirectory(folder["empty"]);
        Refusal.Of("holds no text", () => CorpusReader.Files([folder["empty"]]));
        folder.Write("a.txt", "same\n");
        Refusal.Of("same content", () => CorpusReader.Files([folder["a.txt"], folder.Write("b.txt", "same\n")]));
        Refusal.Of("line 2", () => Read(folder.Write("bad.jsonl", "{\"text\": \"a\"}\n{\"words\": 1}\n")));
        Refusal.Of("line 1", () => Read(folder.Write("worse.jsonl", "no json\n")));
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionMode.Compress, leaveOpen: true)) gzip.Write(Encoding.UTF8.GetBytes(SmallCorpus.Text(3, 50)));
        byte[] torn = packed.ToArray();
        Refusal.Of("damaged", () => Read(folder.Write("torn.txt.gz", torn[..(torn.Length / 2)])));
        for (int i = torn.Length / 2; i < torn.Length / 2 + 40; i++) torn[i] ^= 0x55;
        Refusal.Of("damaged", () => Read(folder.Write("other.txt.gz", torn)));
    }

    [Fact]
    public void The_cache_holds_the_tokens_and_is_made_once()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        Tokenizer tokenizer = TokenizerFiles.Load(options.Tokenizer);
        CorpusFile file = CorpusReader.Files([folder["text", "train.txt"]])[0];
        var told = new List<string>();
        int[] expected = [.. Read(file.Path).SelectMany(document => tokenizer.Encode(document.Text, splitSpecialTokens: true).Ids)];
        for (int i = 0; i < 2; i++)
        {
            using var cache = TokenCache.Open(file, tokenizer, "x", folder["cache"], progress: told.Add);
            var ids = new long[cache.Tokens];
            cache.Read(0, ids);
            Assert.Equal(expected.Select(id => (long)id), ids);
            Assert.Equal(12, cache.Documents.Count);
            Assert.Equal(Encoding.UTF8.GetByteCount(string.Concat(Read(file.Path).Select(document => document.Text))), cache.Documents.Sum(document => document.Bytes));
        }
        Assert.Single(told);
        TokenCache.Open(file, tokenizer, "another", folder["cache"], progress: told.Add).Dispose();
        Assert.Equal(2, told.Count);
        foreach (string index in Directory.GetFiles(folder["cache"], "index.json", SearchOption.AllDirectories)) File.WriteAllText(index, "{\"tokens\": 3}");
        Refusal.Of("damaged", () => TokenCache.Open(file, tokenizer, "x", folder["cache"]));
    }

    [Fact]
    public void Who_comes_second_leaves_the_cache_to_the_first()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        Tokenizer tokenizer = TokenizerFiles.Load(options.Tokenizer);
        CorpusFile file = CorpusReader.Files([folder["text", "train.txt"]])[0];
        TokenCache Open(Action<string>? progress = null) => TokenCache.Open(file, tokenizer, "x", folder["cache"], progress: progress);
        TokenCache? first = null;
        // The second has found nothing there; before it is done, the first is.
        using (TokenCache second = Open(_ =>
        {
            first = Open();
            File.WriteAllText(Path.Combine(Directory.GetDirectories(folder["cache"]).Single(), "mark"), "the first's");
        }))
        using (first)
        {
            string place = Assert.Single(Directory.GetDirectories(folder["cache"]));
            Assert.True(File.Exists(Path.Combine(place, "mark")));
            Assert.Equal(first!.Tokens, second.Tokens);
            // One that was left without its index is filled again, under the one who reads it.
            File.Delete(Path.Combine(place, "index.json"));
            using TokenCache third = Open();
            Assert.Single(Directory.GetDirectories(folder["cache"]));
            var ids = new long[2][];
            foreach ((int i, TokenCache cache) in new[] { (0, first), (1, third) }) cache.Read(0, ids[i] = new long[cache.Tokens]);
            Assert.Equal(ids[0], ids[1]);
        }
    }

    [Fact]
    public void A_tokenizer_is_known_by_the_files_that_it_is_read_from()
    {
        string Model(string place, string name) => folder.Write(Path.Combine(place, name), Tokenizers.PipelineFile.Model(Tokenizers.PipelineFile.Models[place.Length % 2]));
        (string one, string other) = (Model("a", "words.model"), Model("ab", "words.model"));
        string Sum(string path) => PretrainingData.TokenizerSha256(path);
        Assert.NotEqual(Sum(folder["a"]), Sum(folder["ab"]));
        Assert.Equal(Sum(one), Sum(folder["a"]));
        Assert.Equal([(one, "spiece.model")], TokenizerFiles.FilesOf(one));
        string before = Sum(other);
        folder.Write("ab/tokenizer_config.json", """{"add_prefix_space": true}""");
        Assert.NotEqual(before, Sum(other));
        // Llama's by its name alone.
        Assert.NotEqual(Sum(one), Sum(folder.Write("abc/tokenizer.model", File.ReadAllBytes(one))));

        PretrainingOptions options = SmallCorpus.Make(folder);
        before = Sum(folder["tokenizer", "vocab.json"]);
        Assert.Equal(before, Sum(folder["tokenizer", "merges.txt"]));
        File.AppendAllText(folder["tokenizer", "merges.txt"], "\n");
        Assert.NotEqual(before, Sum(folder["tokenizer", "vocab.json"]));
        Directory.CreateDirectory(folder["empty"]);
        Refusal.Of("holds no tokenizer", () => Sum(folder["empty"]));
    }

    [Fact]
    public void A_rule_that_speaks_of_nothing_is_refused_by_tokenizers_and_pretrainings()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        folder.Write("text/test.txt", "<doc odd>\nThe only one.\n");
        int Train(params string[] rules) => new TokenizerCorpus([folder["text"]], rules).Train(400, "gpt2", folder["other"], 2, null, CancellationToken.None);
        foreach (string[] rules in new[] { new[] { "nothing*" }, ["test.txt", "tst.txt"], ["test.txt", "par3:5%"] })
        {
            string message = $"`held_out` {rules[^1]} names no file and no document of the data";
            Refusal.OfUsage(message, () => Train(rules));
            Refusal.OfUsage(message, () => SmallCorpus.Open(options with { HeldOut = string.Join(',', rules) }, folder));
        }
        Assert.False(Directory.Exists(folder["other"]));
        // A document of a file that is not read, since all of it is held out.
        Assert.InRange(Train("test.txt", "odd", "part3"), 257, 400);
        SmallCorpus.Open(options with { HeldOut = "test.txt,odd,part3" }, folder).Dispose();
    }

    [Fact]
    public void Bigrams_cost_what_their_counts_say()
    {
        PretrainingOptions options = SmallCorpus.Make(folder) with { HeldOut = "test.txt,part3" };
        int vocabulary = TokenizerFiles.Load(options.Tokenizer).VocabularySize;
        using PretrainingData data = SmallCorpus.Open(options, folder);
        var train = new long[data.Train.Length];
        data.Train.Read(0, train);
        ILookup<long, long> after = train.Zip(train.Skip(1)).ToLookup(pair => pair.First, pair => pair.Second);
        double[] expected = [.. data.HeldOut.Select(held =>
        {
            double bits = 0;
            foreach ((_, CorpusDocument document, long start) in held.Documents.Documents)
            {
                var ids = new long[document.Tokens + 1];
                held.Documents.Read(start, ids);
                for (int i = 1; i < ids.Length; i++)
                    bits -= Math.Log2((after[ids[i - 1]].LongCount(id => id == ids[i]) + 0.01) / (after[ids[i - 1]].LongCount() + 0.01 * vocabulary));
            }
            return bits / held.Documents.Bytes;
        })];
        Assert.Equal(2, expected.Length);
        double[] made = BigramBaseline.BitsPerByte(data.Train, [.. data.HeldOut.Select(pair => pair.Documents)], vocabulary);
        for (int i = 0; i < 2; i++) Assert.Equal(expected[i], made[i], 1e-9);
    }

    [Fact]
    public void What_is_held_out_is_not_in_the_training_stream()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        using PretrainingData whole = SmallCorpus.Open(options with { HeldOut = null }, folder), data = SmallCorpus.Open(options with { HeldOut = "test.txt,part3,train.txt:30%" }, folder);
        Assert.Equal(14, whole.Train.Count);
        Assert.Empty(whole.HeldOut);
        string[] held = [.. data.HeldOut.SelectMany(pair => pair.Documents.Documents.Select(one => $"{one.File.Name}/{one.Document.Name}"))];
        string[] trained = [.. data.Train.Documents.Select(one => $"{one.File.Name}/{one.Document.Name}")];
        Assert.Empty(held.Intersect(trained));
        Assert.Equal(14, held.Length + trained.Length);
        Assert.Contains("train.txt/part3", held);
        Assert.Contains("test.txt/part0", held);
        Assert.InRange(held.Count(name => name.StartsWith("train", StringComparison.Ordinal)), 2, 8);
        Refusal.OfUsage("`held_out` nothing*", () => SmallCorpus.Open(options with { HeldOut = "nothing*" }, folder));
        Refusal.OfUsage("`held_out` a:x%", () => HeldOut.Parse("a:x%"));
        Refusal.OfUsage("`held_out` :5%", () => HeldOut.Parse(":5%"));
    }

    [Fact]
    public void An_epoch_sees_every_window_once_in_an_order_of_its_own()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        using PretrainingData data = SmallCorpus.Open(options, folder);
        var all = new long[data.Train.Length];
        data.Train.Read(0, all);
        Assert.Equal(data.Train.Count, all.Count(id => id == 0));
        var packing = new Packing(data.Train, 20, 3, seed: 5);
        string Key(long[] window) => string.Join(' ', window);
        string[] first = [.. Enumerable.Range(0, (int)packing.StepsPerEpoch).SelectMany(step => packing.Step(step)).Select(Key)];
        string[] second = [.. Enumerable.Range(0, (int)packing.StepsPerEpoch).SelectMany(step => packing.Step(packing.StepsPerEpoch + step)).Select(Key)];
        Assert.Equal(first.Length, first.Distinct().Count());
        Assert.NotEqual(first, second);
        string stream = $" {Key(all)} ";
        Assert.All(first.Concat(second), window => Assert.Contains($" {window} ", stream, StringComparison.Ordinal));
        // A packing that begins in the middle sees what it would have seen.
        Assert.Equal(packing.Step(4).Select(Key), new Packing(data.Train, 20, 3, seed: 5).Step(4).Select(Key));
    }

    [Fact]
    public void Where_documents_share_no_window_each_is_cut_by_itself()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        using PretrainingData data = SmallCorpus.Open(options, folder);
        var packing = new Packing(data.Train, 50, 1, seed: 5, crossDocuments: false);
        long[][] windows = [.. Enumerable.Range(0, (int)packing.StepsPerEpoch).Select(step => packing.Step(step)[0])];
        Assert.All(windows, window => Assert.DoesNotContain(0L, window[1..]));
        Assert.Equal(data.Train.Length, windows.Sum(window => window.Count(id => id >= 0)));
        Assert.Equal(data.Train.Count, windows.Count(window => window[0] == 0));
    }

    [Fact]
    public void A_text_shorter_than_a_step_is_refused()
    {
        PretrainingOptions options = SmallCorpus.Make(folder);
        using PretrainingData data = SmallCorpus.Open(options, folder);
        Refusal.Of("tokens, and a step takes 4 windows of 100000", () => new Packing(data.Train, 100_000, 4, 0).Check());
    }
}
