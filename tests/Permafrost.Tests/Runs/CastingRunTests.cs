using System.Text.Json.Nodes;
using Permafrost.Adaptation;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Runs;
using Permafrost.Training.Options;

namespace Permafrost.Tests.Runs;

/// <summary>Runs that write their examples as texts, or their classes as labels: trained, scored again, and answering new inputs.</summary>
[Collection(ProcessWide.Name)]
public sealed class CastingRunTests : IDisposable
{
    private readonly TinyRun tiny = new();

    public void Dispose() => tiny.Dispose();

    private string T5(bool tied = true)
    {
        Directory.CreateDirectory(tiny["t5"]);
        File.WriteAllText(Path.Combine(tiny["t5"], "config.json"), $$"""
            {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
             "vocab_size": {{SmallBert.Vocabulary.Count}}, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "decoder_start_token_id": 0,
             "eos_token_id": 3, "pad_token_id": 0, "tie_word_embeddings": {{(tied ? "true" : "false")}} }
            """);
        File.WriteAllText(Path.Combine(tiny["t5"], "vocab.txt"), string.Join('\n', SmallBert.Vocabulary) + "\n");
        return tiny["t5"];
    }

    private RunOptions Labels()
    {
        File.WriteAllText(tiny["data.csv"], "text,label\n" + string.Join('\n', Enumerable.Range(0, 60).Select(i => $"{(i % 2 == 0 ? "aaaab" : "abbbb")} {i},{(i % 2 == 0 ? "no" : "yes")}")) + "\n");
        return tiny.Options with
        {
            Model = tiny.Options.Model with { Backbone = T5(), Dropout = 0, FrozenDtype = "float32", Policy = "*" },
            Data = new DataOptions { Task = "csv", Path = tiny["data.csv"], TextColumn = "text", LabelColumn = "label", MaxLength = 20, Casting = "text" },
            Optimizer = new OptimizerOptions { LearningRate = 0.01 },
            Schedule = new ScheduleOptions { MaxSteps = 120 },
            Evaluation = new EvaluationOptions { EvalSteps = 40 },
        };
    }

    [Fact]
    public void A_decoder_writes_labels_whose_score_is_an_accuracy()
    {
        (RunFolder folder, JsonObject results) = tiny.Train(Labels());
        JsonObject test = results["metrics"]!["test"]!.AsObject();
        Assert.Equal(["accuracy", "loss", "count"], test.Select(pair => pair.Key));
        Assert.InRange((double)test["accuracy"]!, 0.8, 1);
        // The baselines are those of the classes.
        Assert.Equal(0.5, (double)results["baselines"]!["trivial"]!["majority"]!);
        Assert.NotNull(results["intervals"]!["test"]);
        JsonObject[] written = [.. File.ReadLines(Path.Combine(folder.Path, "predictions.jsonl")).Select(line => JsonNode.Parse(line)!.AsObject())];
        Assert.All(written, line => Assert.Contains((string?)line["target_label"], new[] { "no", "yes" }));
        Assert.Equal((double)test["accuracy"]!, written.Average(line => (string?)line["label"] == (string?)line["target_label"] ? 1.0 : 0), 1e-9);

        using var opened = Finetuning.Open(folder.Path, withData: true);
        Assert.Equal((double)test["accuracy"]!, opened.Score("test", 7, TestContext.Current.CancellationToken)!["accuracy"]);
        File.WriteAllText(tiny["new.txt"], "aaaab 99\nabbbb 98\n");
        SequencePrediction[] answers = [.. opened.Predict(tiny["new.txt"], 2).Cast<SequencePrediction>()];
        Assert.All(answers, answer => Assert.Contains(answer.ToString(), new[] { "no", "yes" }));
    }

    [Fact]
    public void It_starts_from_the_bodys_own_head_where_that_is_its_token_table()
    {
        using (var run = Finetuning.Prepare(Labels()))
        using (torch.NewDisposeScope())
        {
            long V = SmallBert.Vocabulary.Count;
            float[] table = run.Model.Backbone.EmbedTokens(torch.arange(V, dtype: ScalarType.Int64).view(1, V)).detach().contiguous().ToArray<float>();
            float[] head = run.Model.Adapter()["output_layer.weight"].ToArray<float>();
            Assert.All(table.Zip(head).Where((_, i) => i % 97 == 0), pair => Assert.Equal(pair.First * Math.Pow(32, -0.5), pair.Second, 1e-5));
            Assert.All(run.Model.Adapter()["output_layer.bias"].ToArray<float>(), bias => Assert.Equal(0, bias));
        }
        T5(tied: false);
        RunOptions untied = Labels();
        T5(tied: false);
        using var other = Finetuning.Prepare(untied);
        Assert.Contains(other.Model.Adapter()["output_layer.bias"].ToArray<float>(), bias => bias != 0);
    }

    [Fact]
    public void Casting_to_labels_is_refused_where_nothing_can_write_them()
    {
        RunOptions labels = Labels();
        Refusal.OfUsage("no decoder", () => Finetuning.Prepare(labels with { Model = labels.Model with { Backbone = SmallBertWithEnd() } }).Dispose());
        Refusal.OfUsage("`input_layer` pretrained-embedding", () => Finetuning.Prepare(labels with { Model = labels.Model with { InputLayer = "new" } }).Dispose());
        Refusal.OfUsage("`casting` 'words'", () => (labels with { Data = labels.Data with { Casting = "words" } }).Validate());
    }

    private string SmallBertWithEnd()
    {
        string folder = SmallBert.Write(tiny["bert"]), config = Path.Combine(folder, "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"pad_token_id\": 0", "\"pad_token_id\": 0, \"eos_token_id\": 3", StringComparison.Ordinal));
        return folder;
    }

    [Theory]
    [InlineData("pretrained-embedding", 0)]
    [InlineData("fresh-embedding", 32 * 90)]
    public void Bits_are_read_as_digits_by_a_body_of_words(string layer, long inputWeights)
    {
        RunOptions options = tiny.Options with
        {
            Model = tiny.Options.Model with { Backbone = SmallBert.Write(tiny["body"]), InputLayer = layer, Dropout = 0, FrozenDtype = "float32" },
            Schedule = new ScheduleOptions { MaxSteps = 6 },
        };
        (RunFolder folder, JsonObject results) = tiny.Train(options);
        Assert.Contains(tiny.Notes, note => note.StartsWith("examples are written as texts: a digit for each", StringComparison.Ordinal));
        using var opened = Finetuning.Open(folder.Path, withData: true);
        Assert.Equal(inputWeights, opened.Model.Parameters.Where(p => p.Group == GroupName.Input).Sum(p => p.Parameter.Elements));
        Assert.Equal((double)results["metrics"]!["test"]!["accuracy"]!, opened.Score("test", 64, TestContext.Current.CancellationToken)!["accuracy"]);
        File.WriteAllText(tiny["bits.txt"], "0110110001\n1111100000\n");
        ClassPrediction[] answers = [.. opened.Predict(tiny["bits.txt"], 2).Cast<ClassPrediction>()];
        Assert.Equal([5, 5], answers.Select(answer => answer.Classes.Count));
    }

    [Fact]
    public void A_body_without_a_tokenizer_is_refused_and_so_are_answers_of_tokens()
    {
        RunOptions options = tiny.Options with { Model = tiny.Options.Model with { InputLayer = "pretrained-embedding" } };
        Refusal.OfUsage("no tokenizer", () => Finetuning.Prepare(options).Dispose());
    }
}
