using System.Text.Json;
using Permafrost.Data;
using Permafrost.Data.Csv;
using Permafrost.Formats;

namespace Permafrost.Tasks;

/// <summary>SQuAD (Rajpurkar et al. 2016, 2018), without its spans: does the paragraph answer the question?</summary>
public sealed class Squad : PairTask
{
    // Of the articles, in percent.
    private const int HeldOut = 5;

    private static readonly string[] Labels = ["unanswered", "answered"];

    /// <inheritdoc/>
    public override string Name => "squad";

    /// <inheritdoc/>
    public override int Version => 1;

    /// <inheritdoc/>
    public override string Summary => "does the paragraph answer the question? (pairs of texts; SQuAD without its spans)";

    /// <inheritdoc/>
    public override string Description => $"""
        Input    {Name}: question and paragraph through the backbone's own tokenizer and token table, with the token between that ends a text; read as the mean over the tokens.
                 The question comes first, since `max_length` cuts the end; of a paragraph that is cut, the answer may be lost.
        Output   {string.Join(" or ", Labels)}. Nobody looks for where the answer stands: this is a classification, and its scores are not SQuAD's F1.
                 SQuAD 2.0 says itself which questions have no answer (is_impossible). For SQuAD 1.1, where all have one, every question is also asked of another paragraph of
                 its article, drawn the same for every run, so that half of the pairs are unanswered (now and then one of those answers all the same).
        Splits   {HeldOut} % of the articles of the training file validate, the same for every run, and the others train; the published dev file tests (the test file is not
                 public).
        Data     train-v2.0.json and dev-v2.0.json, or train-v1.1.json and dev-v1.1.json, each plain or .gz
        Baselines   majority class; beside a run a linear model of n-grams, which knows no pair, and a linear probe of the same body
        Source   Rajpurkar et al. 2016, arXiv 1606.05250, and 2018, arXiv 1806.03822; Tay et al. 2021, arXiv 2105.03322, section 5
        """;

    /// <inheritdoc/>
    public override TaskData Load(TaskOptions options)
    {
        options.CheckSettings(Name);
        string folder = DataHome.Find("squad", options.DataPath);
        string trainPath = DataSetTable.Find(folder, "train-v2.0.json", "train-v1.1.json");
        TextPair[] Split(string path) => [.. Pairs(path, Read(path))];
        (TextPair[] train, TextPair[] validation) = HoldOutGroups(Split(trainPath), HeldOut);
        string dev = trainPath.Contains("v2.0", StringComparison.Ordinal) ? "dev-v2.0.json" : "dev-v1.1.json";
        return MakePairs(options, Labels, train, validation, Split(DataSetTable.Find(folder, dev)));
    }

    private static IEnumerable<TextPair> Pairs(string path, Question[] questions)
    {
        if (questions.Length == 0) throw new PermafrostException($"{path} holds no question");
        bool decided = questions.Any(question => question.IsImpossible is not null);
        Dictionary<string, string[]> paragraphs = questions.GroupBy(question => question.Title)
            .ToDictionary(article => article.Key, article => article.Select(question => question.Context).Distinct().ToArray());
        foreach ((int number, Question question) in questions.Index())
        {
            TextPair Pair(string context, int answered) => new(question.Text, context, answered, question.Title, question.Where);
            yield return Pair(question.Context, question.IsImpossible == true ? 0 : 1);
            string[] others = paragraphs[question.Title];
            if (decided || others.Length < 2) continue;
            int own = Array.IndexOf(others, question.Context), other = new CounterRandom("squad/unanswered", 0, number).Next(others.Length - 1);
            yield return Pair(others[other < own ? other : other + 1], 0);
        }
    }

    // data: articles with a title and paragraphs; those with a context and qas; those with a question and perhaps is_impossible.
    private static Question[] Read(string path)
    {
        try
        {
            using Stream stream = Gzip.Unpacked(File.OpenRead(path));
            using var json = JsonDocument.Parse(stream);
            var questions = new List<Question>();
            foreach ((int number, JsonElement article) in json.RootElement.GetProperty("data").EnumerateArray().Index())
            {
                string title = article.TryGetProperty("title", out JsonElement named) ? named.GetString() ?? "" : $"{number}";
                foreach (JsonElement paragraph in article.GetProperty("paragraphs").EnumerateArray())
                {
                    string context = Text(path, title, paragraph, "context");
                    foreach (JsonElement question in paragraph.GetProperty("qas").EnumerateArray())
                    {
                        bool? impossible = question.TryGetProperty("is_impossible", out JsonElement flag) ? flag.GetBoolean() : null;
                        questions.Add(new Question(Text(path, title, question, "question"), context, title, impossible, $"{path}, article {title}"));
                    }
                }
            }
            return [.. questions];
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or KeyNotFoundException or InvalidDataException)
        {
            throw new PermafrostException($"{path} is no SQuAD file (data, paragraphs, context, qas, question): {JsonFile.Reason(error)}");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    private static string Text(string path, string title, JsonElement of, string key) =>
        of.GetProperty(key).GetString()?.Trim() is { Length: > 0 } text ? text : throw new PermafrostException($"{path}, article {title}: a {key} is empty");

    private sealed record Question(string Text, string Context, string Title, bool? IsImpossible, string Where);
}
