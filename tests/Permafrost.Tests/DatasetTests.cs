using System.Text;
using Permafrost.Data.Csv;

namespace Permafrost.Tests;

/// <summary>Labelled rows: what is read from a file, what is refused and where the error says it is, and how rows are split.</summary>
public sealed class DatasetTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(",")]
    [InlineData(";")]
    [InlineData("\t")]
    [InlineData("|")]
    public void The_delimiter_is_found_in_the_header(string delimiter)
    {
        Dataset data = Read("x,y,kind\n1,2.5,cat\n-3e2,4,dog\n".Replace(",", delimiter, StringComparison.Ordinal));
        Assert.Equal(["x", "y"], data.Columns);
        Assert.Equal([[1f, 2.5f], [-300f, 4f]], data.Rows);
        Assert.Equal(["cat", "dog"], data.RowLabels);
    }

    [Theory]
    [InlineData("kind,x,y\ncat,1,2\ndog,3,4\n")]
    [InlineData("x,kind,y\n1,cat,2\n3,dog,4\n")]
    [InlineData("x,y,kind\n1,2,cat\n3,4,dog\n")]
    [InlineData("x,y,kind\n1,2,cat\n3,4,dog")]
    [InlineData("x,y,kind\r\n1,2,cat\r\n3,4,dog\r\n")]
    [InlineData("\uFEFFkind,x,y\ncat,1,2\ndog,3,4\n")]
    [InlineData("x,y,kind\n\n1,2,cat\n   \n3,4,dog\n\n\n")]
    [InlineData("x,y,kind\n 1 ,2 , cat\n3, 4,dog \n")]
    [InlineData("x,\"y\",kind\n\"1\",2,\"cat\"\n3,\"4\",dog\n")]
    public void Files_of_any_layout_hold_the_same(string text)
    {
        Dataset data = Read(text);
        Assert.Equal(["x", "y"], data.Columns);
        Assert.Equal([[1f, 2f], [3f, 4f]], data.Rows);
        Assert.Equal(["cat", "dog"], data.RowLabels);
    }

    [Fact]
    public void Quoted_labels_may_hold_delimiters_quotes_and_line_breaks()
    {
        Dataset data = Read("x,kind\n1,\"cat, grey\"\n2,\"a \"\"dog\"\"\"\n3,\"two\nlines\"\n4,æ\n");
        Assert.Equal(["cat, grey", "a \"dog\"", "two\nlines", "æ"], data.RowLabels);
        Assert.Equal(data.RowLabels.Order(StringComparer.Ordinal), data.Labels);
    }

    [Fact]
    public void Classes_are_the_labels_in_the_order_of_their_characters() => Assert.Equal(["10", "9", "B", "a"], Read("x,kind\n1,a\n2,B\n3,9\n4,10\n5,a\n").Labels);

    [Theory]
    [InlineData("", "is empty")]
    [InlineData("x,kind\n", "a header and no rows")]
    [InlineData("x,y\n1,2\n", "no column 'kind'; it has x, y")]
    [InlineData("kind\ncat\n", "no column of numbers")]
    [InlineData("x,y,kind\n1,2,cat\n3,dog\n", ":3: 2 columns, where the header has 3")]
    [InlineData("x,y,kind\n1,2,cat\n3,4,dog,5\n", ":3: 4 columns, where the header has 3")]
    [InlineData("x,kind\n1,cat\nsmall,dog\n", ":3: 'small' in the column 'x' is not a number")]
    [InlineData("x,kind\n1,cat\n,dog\n", ":3: '' in the column 'x' is not a number")]
    [InlineData("x;kind\n1;cat\n2,5;dog\n", ":3: '2,5' in the column 'x' is not a number")]
    [InlineData("x,kind\n\"1\",\"c\nat\"\nsmall,dog\n", ":4: 'small'")]
    [InlineData("x,kind\n1,cat\nNaN,dog\n", ":3: the column 'x' holds NaN")]
    [InlineData("x,kind\n1,cat\n-Infinity,dog\n", ":3: the column 'x' holds -Infinity")]
    [InlineData("x,kind\n1,cat\n1e99,dog\n", ":3: the column 'x' holds 1e99")]
    [InlineData("x,kind\n1,cat\n2,\n", ":3: the column 'kind' is empty")]
    [InlineData("x,kind\n1,cat\n2,\"  \"\n", ":3: the column 'kind' is empty")]
    [InlineData("x,kind\n1,cat\n2,cat\n", "every row has the label 'cat'")]
    [InlineData("x,x,kind\n1,2,cat\n3,4,dog\n", "'x'")]
    [InlineData("kind,x,kind\ncat,1,cat\ndog,2,dog\n", "'kind'")]
    [InlineData("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "is a Git LFS pointer")]
    public void Files_that_do_not_do_are_refused_with_their_name_and_line(string text, string mention)
    {
        string path = folder.Write("rows.csv", text);
        string message = Refusal.Of(path, () => Dataset.FromCsv(path, "kind"));
        Assert.Contains(mention, message, StringComparison.Ordinal);
        Assert.DoesNotContain(". ", message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_no_file_is_refused_by_name()
    {
        Assert.Contains("does not exist", Refusal.Of(folder["none.csv"], () => Dataset.FromCsv(folder["none.csv"], "kind")), StringComparison.Ordinal);
        Assert.Contains("does not exist", Refusal.Of(folder["none", "rows.csv"], () => Dataset.FromCsv(folder["none", "rows.csv"], "kind")), StringComparison.Ordinal);
        Assert.Contains("is a folder", Refusal.Of(folder.Path, () => Dataset.FromCsv(folder.Path, "kind")), StringComparison.Ordinal);
    }

    [Fact]
    public void Binary_files_are_refused_whatever_they_hold()
    {
        byte[] noise = new byte[5000];
        for (int seed = 0; seed < 20; seed++)
        {
            new Random(seed).NextBytes(noise);
            string path = folder.Write("rows.csv", noise);
            Refusal.Of(path, () => Dataset.FromCsv(path, "kind"));
        }
        string zipped = folder.Write("rows.zip", [.. "PK\u0003\u0004"u8, .. new byte[300]]);
        Assert.Contains("no table of delimited text", Refusal.Of(zipped, () => Dataset.FromCsv(zipped, "kind")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_in_UTF16_is_read_by_its_byte_order_mark()
    {
        string path = folder.Write("rows.csv", [.. Encoding.Unicode.GetPreamble(), .. Encoding.Unicode.GetBytes("x,kind\n1,cat\n2,æ\n")]);
        Assert.Equal(["cat", "æ"], Dataset.FromCsv(path, "kind").RowLabels);
    }

    [Fact]
    public void Rows_in_memory_are_taken_as_they_are()
    {
        var data = Dataset.FromRows([[1, 2], [3, 4], [5, 6]], ["b", "a", "b"]);
        Assert.Empty(data.Columns);
        Assert.Equal([[1f, 2f], [3f, 4f], [5f, 6f]], data.Rows);
        Assert.Equal(["a", "b"], data.Labels);
        Assert.Equal(["b", "a", "b"], data.RowLabels);
    }

    [Fact]
    public void Rows_in_memory_that_do_not_do_are_refused_by_number()
    {
        Refusal.Of("there are no rows", () => Dataset.FromRows([], []));
        Refusal.Of("2 rows and 1 labels", () => Dataset.FromRows([[1], [2]], ["a"]));
        Refusal.Of("row 1 has 2 numbers, where row 0 has 1", () => Dataset.FromRows([[1], [2, 3]], ["a", "b"]));
        Refusal.Of("row 0 has 0 numbers", () => Dataset.FromRows([[], []], ["a", "b"]));
        Refusal.Of("row 1 holds NaN or infinity", () => Dataset.FromRows([[1], [float.NaN]], ["a", "b"]));
        Refusal.Of("row 0 holds NaN or infinity", () => Dataset.FromRows([[float.NegativeInfinity], [1]], ["a", "b"]));
        Refusal.Of("every row has the label 'a'", () => Dataset.FromRows([[1], [2]], ["a", "a"]));
    }

    [Theory]
    [InlineData(0.15, 0.15)]
    [InlineData(0.3, 0)]
    [InlineData(0, 0.25)]
    [InlineData(0, 0)]
    [InlineData(0.6, 0.3)]
    public void A_split_takes_the_same_share_of_every_label_and_every_row_once(double validation, double test)
    {
        Dataset data = Labelled(("a", 100), ("b", 40), ("c", 20));
        (int[] train, int[] held, int[] scored) = data.Split(validation, test, 7);
        Assert.Equal(Enumerable.Range(0, 160), train.Concat(held).Concat(scored).Order());
        foreach ((string label, int count) in new[] { ("a", 100), ("b", 40), ("c", 20) })
        {
            Assert.Equal((int)Math.Round(validation * count), held.Count(row => data.RowLabels[row] == label));
            Assert.Equal((int)Math.Round(test * count), scored.Count(row => data.RowLabels[row] == label));
        }
        Assert.All(new[] { train, held, scored }, part => Assert.Equal(part.Order(), part));
    }

    [Fact]
    public void The_seed_decides_the_split()
    {
        Dataset data = Labelled(("a", 50), ("b", 50));
        StratifiedSplit one = data.Split(0.2, 0.2, 1), again = data.Split(0.2, 0.2, 1), other = data.Split(0.2, 0.2, 2);
        Assert.Equal(one.Validation, again.Validation);
        Assert.Equal(one.Test, again.Test);
        Assert.NotEqual(one.Validation, other.Validation);
        Assert.NotEqual(one.Test, other.Test);
    }

    [Theory]
    [InlineData(1, 1, 0, 0)]
    [InlineData(2, 2, 0, 0)]
    [InlineData(3, 1, 1, 1)]
    [InlineData(4, 2, 1, 1)]
    [InlineData(10, 6, 2, 2)]
    public void A_small_class_gives_a_row_to_each_part_where_it_has_enough_and_else_trains_with_all(int rows, int train, int validation, int test)
    {
        Dataset data = Labelled(("big", 40), ("small", rows));
        (int[] trained, int[] held, int[] scored) = data.Split(0.15, 0.15, 0);
        int Small(int[] part) => part.Count(row => data.RowLabels[row] == "small");
        Assert.Equal((train, validation, test), (Small(trained), Small(held), Small(scored)));
    }

    private Dataset Read(string text) => Dataset.FromCsv(folder.Write("rows.csv", text), "kind");

    // The labels take turns.
    private static Dataset Labelled(params (string Label, int Count)[] labels)
    {
        string[] rows = [.. labels.SelectMany(label => Enumerable.Range(0, label.Count).Select(i => (Key: (double)i / label.Count, label.Label))).OrderBy(row => row.Key).Select(row => row.Label)];
        return Dataset.FromRows([.. rows.Select((_, i) => new float[] { i })], rows);
    }
}
