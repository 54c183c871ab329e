using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Tokenizers;

/// <summary>Thousands of tokenizer files with mistakes in them: each is read or refused in a sentence, and what is read tokenises texts and gives them back.</summary>
public sealed class TokenizerFuzzTests(ITestOutputHelper output) : IDisposable
{
    private const int Files = 3000;
    private const int FewestFiles = 600;
    private const string Text = "The lower newer thing's café 12345 <s> 😀\u0301 \u0001ﬁ\n\ta▁b \uD800";

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Mutated_files_are_read_or_refused_in_a_sentence()
    {
        var random = new Random(20261127);
        string[] json = [.. PipelineFile.Names.Select(name => PipelineFile.Json(name).ToJsonString())];
        byte[][] models = [.. PipelineFile.Models.Select(PipelineFile.Model)];
        JsonNode gpt2 = PipelineFile.Json("GPT-2")["model"]!;
        byte[] vocabulary = Encoding.UTF8.GetBytes(gpt2["vocab"]!.ToJsonString()), merges = Encoding.UTF8.GetBytes(string.Join('\n', gpt2["merges"]!.AsArray().Select(merge => (string)merge!)));
        var outcomes = new Dictionary<bool, int> { [true] = 0, [false] = 0 };
        var watch = Stopwatch.StartNew();
        for (int i = 0; i < Files && watch.Elapsed < TimeSpan.FromSeconds(60); i++)
        {
            string where = folder[$"{i}"];
            string path = (i % 4) switch
            {
                0 => folder.Write($"{i}/tokenizer.json", Mutated(Encoding.UTF8.GetBytes(json[random.Next(json.Length)]), random)),
                1 => folder.Write($"{i}/tokenizer.json", Rewritten(JsonNode.Parse(json[random.Next(json.Length)])!, random).ToJsonString()),
                2 => folder.Write($"{i}/spiece.model", Mutated(models[random.Next(models.Length)], random)),
                _ => folder.Write($"{i}/vocab.json", random.Next(2) == 0 ? vocabulary : Mutated(vocabulary, random)),
            };
            if (i % 4 == 3) folder.Write($"{i}/merges.txt", Mutated(merges, random));
            outcomes[IsRead(where, path)]++;
            Directory.Delete(where, recursive: true);
        }
        int count = outcomes[true] + outcomes[false];
        output.WriteLine($"{count} of {Files} files: {outcomes[true]} read, {outcomes[false]} refused");
        Assert.True(count >= FewestFiles, $"only {count} of {Files} files were looked at within a minute");
        Assert.True(outcomes[true] > 50 && outcomes[false] > 500, $"{outcomes[true]} read, {outcomes[false]} refused");
    }

    private static bool IsRead(string where, string path)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        var watch = Stopwatch.StartNew();
        try
        {
            Tokenizer tokenizer = TokenizerFiles.Load(where);
            TokenizedText tokens = tokenizer.Encode(Text);
            tokenizer.Decode(tokens.Ids);
            return true;
        }
        catch (PermafrostException error)
        {
            Assert.DoesNotContain(error.Message, char.IsControl);
            return false;
        }
        catch (Exception error)
        {
            string kept = Path.Combine(Path.GetTempPath(), $"permafrost-fuzz{Path.GetExtension(path)}");
            File.Copy(path, kept, overwrite: true);
            throw new InvalidOperationException($"{kept} ends in {error.GetType().Name}: {error.Message}", error);
        }
        finally
        {
            Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 1L << 28, $"{path} took {GC.GetAllocatedBytesForCurrentThread() - before:N0} bytes");
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(30), $"{path} took {watch.Elapsed}");
        }
    }

    // Bytes changed, left out, doubled; or the file cut.
    private static byte[] Mutated(byte[] file, Random random)
    {
        List<byte> bytes = [.. file];
        for (int n = random.Next(1, 6); n > 0 && bytes.Count > 1; n--)
        {
            int at = random.Next(bytes.Count), length = Math.Min(random.Next(1, 20), bytes.Count - at);
            switch (random.Next(5))
            {
                case 0:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 1:
                    bytes.RemoveRange(at, length);
                    break;
                case 2:
                    bytes.InsertRange(at, bytes.GetRange(at, length));
                    break;
                case 3:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                default:
                    if (random.Next(4) == 0) bytes.RemoveRange(at, bytes.Count - at);
                    break;
            }
        }
        return [.. bytes];
    }

    // Some values become others.
    private static JsonNode Rewritten(JsonNode json, Random random)
    {
        string[] odd = ["null", "true", "-1", "1e300", "4194303", "\"\"", "\"a\"", "[]", "{}", "[[\"a\", \"b\"]]", "\"\\u2581\"", "{\"type\": \"Sequence\"}", "{\"String\": \" \"}", "{\"Regex\": \"(a|b)*\"}"];
        for (int n = random.Next(1, 4); n > 0; n--)
        {
            JsonNode at = json;
            for (int depth = random.Next(1, 6); depth > 0; depth--)
            {
                if (at is JsonObject { Count: > 0 } map)
                {
                    string key = map.ElementAt(random.Next(map.Count)).Key;
                    if (map[key] is { } inner and (JsonObject or JsonArray) && depth > 1) at = inner;
                    else map[key] = JsonNode.Parse(odd[random.Next(odd.Length)]);
                }
                else if (at is JsonArray { Count: > 0 } list)
                {
                    int index = random.Next(list.Count);
                    if (list[index] is { } inner and (JsonObject or JsonArray) && depth > 1) at = inner;
                    else list[index] = JsonNode.Parse(odd[random.Next(odd.Length)]);
                }
            }
        }
        return json;
    }
}
