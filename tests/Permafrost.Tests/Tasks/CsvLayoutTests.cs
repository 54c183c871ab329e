using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>Tables as users' programs write them: quotes that are none, files without a header, commas before decimals, missing numbers, row numbers, quantities as answers.</summary>
public sealed class CsvLayoutTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void Quotes_that_hide_the_end_of_a_row_are_refused_and_read_as_characters_on_request()
    {
        // Two rows, which a reader of quotes would take for one.
        string path = folder.Write("reviews.tsv", "text\tlabel\nhe said \"never\tx\nshe said \"always\ty\nso\tx\n");
        string message = Refusal.Of("reviews.tsv:2: the column 'text'", () => Texts(path));
        Assert.Contains("task_options.quotes none", message, StringComparison.Ordinal);
        Assert.Equal(["he said \"never", "she said \"always", "so"], Texts(path, ("quotes", "none")));
        string open = folder.Write("open.tsv", "text\tlabel\nnow\ty\n\"never closed\tx\n");
        Assert.Contains("task_options.quotes none", Refusal.Of("open.tsv:3", () => Texts(open)), StringComparison.Ordinal);
        Assert.Equal(["now", "\"never closed"], Texts(open, ("quotes", "none")));
        string comma = folder.Write("comma.csv", "text,label\n\"a\" or \"b, c\",x\nd,y\n");
        Refusal.Of("comma.csv:2: the column 'text'", () => Texts(comma));
    }

    [Fact]
    public void Quotes_within_a_text_stay_and_those_around_it_go()
    {
        string path = folder.Write("own.csv", "text,label\n\"a \"\"b\"\", c\",x\n5\" by 3\" disk,y\n\"Jaws\" is old,x\n \"d, e\" ,y\n\"\"\"f\"\"\",x\n");
        Assert.Equal(["a \"b\", c", "5\" by 3\" disk", "\"Jaws\" is old", "d, e", "\"f\""], Texts(path));
    }

    [Theory]
    [InlineData("5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,3.4,virginica\n5.9,3.0,virginica\n")]
    [InlineData("1,1,setosa\n4.9,3.0,setosa\n6.2,3.4,virginica\n5.9,3.0,virginica\n")]
    [InlineData("\"5.1\",\"3.5\",\"setosa\"\n4.9,3.0,setosa\n6.2,3.4,virginica\n5.9,3.0,virginica\n")]
    public void A_first_line_with_measured_numbers_is_a_row_though_a_word_stands_in_it(string content)
    {
        using TaskData data = Load(folder.Write("iris.data", content), "3");
        Assert.Equal(4, data.Train.Count);
        Assert.Contains("has no header", data.Notes[0], StringComparison.Ordinal);
        Assert.Equal(["setosa", "virginica"], ((ClassOutput)data.Spec.Output).Labels);
    }

    [Theory]
    [InlineData("name,2019,2020\nx,1,2\ny,2,3\n", "name")]
    [InlineData("0,1,kind\n1,2,x\n2,3,y\n", "kind")]
    [InlineData("0.25,0.75,kind\n1,2,x\n2,3,y\n", "kind")]
    public void Years_and_counts_may_be_names_of_columns_and_so_may_anything_beside_the_labels_name(string content, string label)
    {
        using TaskData data = Load(folder.Write("own.csv", content), label);
        Assert.Equal(2, data.Train.Count);
    }

    [Fact]
    public void Whether_there_is_a_header_can_be_said()
    {
        string path = folder.Write("phrases.tsv", "a fine film\t1\na dull one\t0\nfine\t1\n");
        Assert.Contains("task_options.header false", Refusal.Of("no column '2'", () => Load(path, "2", "1")), StringComparison.Ordinal);
        Assert.Contains("task_options.header false", Refusal.OfUsage("`label_column`", () => Load(path, null, "1")), StringComparison.Ordinal);
        using TaskData data = Load(path, "2", "1", ("header", "false"));
        Assert.Equal(3, data.Train.Count);
        string counted = folder.Write("counted.csv", "1,2,3\n4,5,6\n7,8,9\n");
        using TaskData rows = Load(counted, "3", null, ("header", "false")), named = Load(counted, "3", null, ("header", "true"));
        Assert.Equal((3, 2), ((int)rows.Train.Count!, (int)named.Train.Count!));
    }

    [Fact]
    public void The_delimiter_is_that_which_all_lines_have_or_the_one_that_is_said()
    {
        string path = folder.Write("own.csv", "text, as written;label\none, two, three;x\nfour;y\n");
        using TaskData data = Load(path, "label", "text, as written");
        Assert.Equal(["one, two, three", "four"], ((TextRows)data.Train).Texts);
        string ragged = folder.Write("ragged.txt", "text|label,no\nthree, four|x\none, two|y\n");
        using TaskData bars = Load(ragged, "label,no", "text", ("delimiter", "bar"));
        Assert.Equal(["three, four", "one, two"], ((TextRows)bars.Train).Texts);
        Refusal.OfUsage("task_options.delimiter", () => Load(ragged, "label", "text", ("delimiter", "/")));
    }

    [Fact]
    public void Commas_before_decimals_are_read_where_that_is_said()
    {
        string path = folder.Write("own.csv", "a;b;kind\n0,5;1;x\n1,5;-2,5;y\n"), lines = folder.Write("lines.txt", "0,5;1\n"), points = folder.Write("points.txt", "0.5,1\n");
        Assert.Contains("task_options.decimal comma", Refusal.Of("own.csv:2: '0,5' in the column 'a' is not a number", () => Load(path, "kind")), StringComparison.Ordinal);
        using TaskData data = Load(path, "kind", null, ("decimal", "comma"));
        Assert.Equal([1, -0.75], Numbers(data.Spec.Preprocessing["means"]));
        float[] Read(string file) => Assert.Single(new CsvTask().ReadInputs(file, data.Spec, Options("", null, null, ("decimal", "comma")), 9)).Get([0]).Inputs.ToArray<float>();
        Assert.Equal(data.Train.Get([0]).Inputs.ToArray<float>(), Read(lines));
        Assert.Equal(Read(lines), Read(points));
        Refusal.Of("own.csv:2: '1.234,5' in the column 'a'", () => Load(folder.Write("own.csv", "a;kind\n1.234,5;x\n2;y\n"), "kind", null, ("decimal", "comma")));
    }

    [Fact]
    public void Semicolons_between_numbers_leave_no_comma_between_others()
    {
        using TaskData data = Load(folder.Write("own.csv", "a,b,c,d,kind\n1,2,3,4,x\n2,3,4,6,y\n"), "kind");
        Refusal.Of("lines.txt:1: 2 number(s)", () => new CsvTask().ReadInputs(folder.Write("lines.txt", "0,5;0,6\n"), data.Spec, Options("", null), 9).ToArray());
        // What is missing is filled in only where that was asked for.
        IDataset read = Assert.Single(new CsvTask().ReadInputs(folder.Write("lines.txt", "1,nan,3,4\n"), data.Spec, Options("", null), 9));
        Refusal.Of("lines.txt:1 holds NaN", () => read.Get([0]));
    }

    [Fact]
    public void Missing_numbers_are_refused_or_count_as_the_mean_in_training_and_in_predictions()
    {
        string path = folder.Write("own.csv", "a,b,kind\n1,NA,x\n,4,y\n3,8,x\n"), inputs = folder.Write("inputs.csv", "b,a\n?,\n");
        Assert.Contains("task_options.missing mean", Refusal.Of("own.csv:2: 'NA' in the column 'b' is not a number", () => Load(path, "kind")), StringComparison.Ordinal);
        using TaskData data = Load(path, "kind", null, ("missing", "mean"));
        Assert.Equal([2, 6], Numbers(data.Spec.Preprocessing["means"]));
        Assert.Contains("2 number(s) are missing", data.Notes[^1], StringComparison.Ordinal);
        Assert.Equal(0, data.Train.Get([0]).Inputs.ToArray<float>()[1]);
        Assert.Equal([0f, 0f], Assert.Single(new CsvTask().ReadInputs(inputs, data.Spec, Options("", null, null, ("missing", "mean")), 9)).Get([0]).Inputs.ToArray<float>());
        string empty = folder.Write("empty.csv", "a,b,kind\n1,,x\n2,,y\n");
        Refusal.Of("the column 'b' holds no number", () => Load(empty, "kind", null, ("missing", "mean")));
        Refusal.OfUsage("task_options.missing", () => Load(path, "kind", null, ("missing", "zero")));
    }

    [Theory]
    [InlineData(",a,kind\n0,1,x\n1,2,y\n")]
    [InlineData("\"\",\"a\",\"kind\"\n\"1\",1,\"x\"\n\"2\",2,\"y\"\n")]
    [InlineData("Unnamed: 0,a,kind,\n0,1,x,\n1,2,y,\n")]
    public void Row_numbers_without_a_name_are_not_fed(string content)
    {
        using TaskData data = Load(folder.Write("own.csv", content), "kind");
        Assert.Equal(new VectorInput(1, 1), data.Spec.Input);
        Assert.Contains("have no name", data.Notes[0], StringComparison.Ordinal);
        Assert.Equal(2, Assert.Single(new CsvTask().ReadInputs(folder["own.csv"], data.Spec, Options("", "kind"), 9)).Count);
    }

    [Fact]
    public void Numbers_can_be_asked_for_of_texts_and_of_numbers()
    {
        string path = folder.Write("own.csv", "words,a,price\nx,1,2.5\ny,2,-3\n"), numbers = folder.Write("numbers.csv", "a;price\n1;2,5\n2;-3\n");
        using TaskData texts = Load(path, "price", "words", ("answer", "number")), rows = Load(numbers, "price", null, ("answer", "number"), ("decimal", "comma"));
        foreach (TaskData data in new[] { texts, rows })
        {
            Assert.IsType<NumberOutput>(data.Spec.Output);
            Assert.Equal([2.5f, -3f], data.Train.Get([0, 1]).Targets.ToArray<float>());
        }
        Refusal.Of("own.csv:2: the answer 'x' is not a number", () => Load(path, "words", "price", ("answer", "number")));
        string many = folder.Write("many.csv", "a,price\n" + string.Concat(Enumerable.Range(0, 30).Select(i => $"{i},{i * 1.5}\n")));
        using TaskData classes = Load(many, "price");
        Assert.Contains(classes.Notes, note => note.Contains("task_options.answer number", StringComparison.Ordinal));
    }

    [Fact]
    public void A_row_that_no_reader_holds_is_refused_with_its_line()
    {
        string path = folder.Write("long.csv", $"text,label\n{new string('x', 17_000_000)},a\nb,b\n");
        Assert.Contains("16 million characters", Refusal.Of("long.csv:2: ", () => Load(path, "label", "text")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_pipe_is_refused_where_data_is_read_twice()
    {
        using var pipe = new System.IO.Pipes.AnonymousPipeServerStream();
        Refusal.Of("is a pipe", () => Permafrost.Formats.Gzip.Unpacked(pipe));
    }

    [Fact]
    public void A_row_may_have_none_of_several_labels()
    {
        using TaskData data = Load(folder.Write("own.csv", "text,tags\none,x;y\ntwo,\n"), "tags", "text", ("answer", "labels"));
        Assert.Equal([1L, 1, 0, 0], data.Train.Get([0, 1]).Targets.ToArray<long>());
    }

    [Fact]
    public void A_column_of_one_number_stays_nothing_whatever_a_mean_is_rounded_to()
    {
        using TaskData data = Load(folder.Write("own.csv", "a,b,kind\n" + string.Concat(Enumerable.Repeat("0.1,1,x\n0.1,2,y\n", 5))), "kind");
        Assert.Equal(0, Numbers(data.Spec.Preprocessing["deviations"])[0]);
    }

    private static double[] Numbers(string text) => [.. text.Split(' ').Select(number => double.Parse(number, System.Globalization.CultureInfo.InvariantCulture))];

    private static TaskOptions Options(string path, string? label, string? text = null, params (string Key, string Value)[] settings) =>
        new(path, Settings: settings.ToDictionary(pair => pair.Key, pair => pair.Value), ValidationFraction: 0, TestFraction: 0)
        { LabelColumn = label, TextColumn = text, Tokenizer = () => SmallTokenizer.Instance };

    private static TaskData Load(string path, string? label, string? text = null, params (string Key, string Value)[] settings) => new CsvTask().Load(Options(path, label, text, settings));

    private static IReadOnlyList<string> Texts(string path, params (string Key, string Value)[] settings)
    {
        using TaskData data = Load(path, "label", "text", settings);
        return ((TextRows)data.Train).Texts;
    }
}
