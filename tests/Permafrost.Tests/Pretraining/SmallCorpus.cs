using System.Text;
using Permafrost.Pretraining;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Pretraining;

/// <summary>A small text with a tokenizer of its own.</summary>
internal static class SmallCorpus
{
    private static readonly string[] Words = ["the", "cat", "sat", "on", "a", "mat", "while", "rain", "fell", "over", "old", "roofs", "and", "nobody's", "dog", "barked"];

    /// <summary>Documents of sentences, told apart by <c>&lt;doc NAME&gt;</c>.</summary>
    public static string Text(int documents, int lines, int seed = 0)
    {
        var text = new StringBuilder();
        var random = new Random(seed);
        for (int document = 0; document < documents; document++)
        {
            text.Append($"<doc part{document}>\n");
            for (int line = 0; line < lines; line++) text.AppendJoin(' ', Enumerable.Range(0, 12).Select(_ => Words[random.Next(Words.Length)])).Append(".\n");
            text.Append('\n');
        }
        return text.ToString();
    }

    /// <summary>Writes <c>text/train.txt</c> and <c>text/test.txt</c>, trains <c>tokenizer</c>, and gives the options of a tiny pretraining on them.</summary>
    public static PretrainingOptions Make(TemporaryFolder folder, string style = "gpt2", int size = 400)
    {
        folder.Write("text/train.txt", Text(12, 20));
        folder.Write("text/test.txt", Text(2, 10, seed: 9));
        new TokenizerCorpus([folder["text"]], ["test.txt"]).Train(size, style, folder["tokenizer"], 2, null, CancellationToken.None);
        return new PretrainingOptions
        {
            Architecture = style,
            Layers = 1,
            Width = 32,
            Heads = 2,
            Data = folder["text"],
            Tokenizer = folder["tokenizer"],
            HeldOut = "test.txt",
            Context = 32,
            BatchSize = 4,
            MicroBatchSize = 2,
            MaxSteps = 12,
            WarmupSteps = 2,
            LearningRate = 3e-3,
            EvalSteps = 0,
            LoggingSteps = 1,
            SaveMinutes = 0,
            OutputDir = folder["run"],
        };
    }

    /// <summary>Opens the text of options, with a cache in the folder.</summary>
    public static PretrainingData Open(PretrainingOptions options, TemporaryFolder folder) =>
        PretrainingData.Open(options, TokenizerFiles.Load(options.Tokenizer), 0, folder["cache"]);
}
