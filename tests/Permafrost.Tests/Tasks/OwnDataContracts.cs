using System.Globalization;
using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;
using Permafrost.Tests.Tokenizers;

namespace Permafrost.Tests.Tasks;

/// <summary>What tasks on a user's own data have in common: examples of noise, of two labels.</summary>
public abstract class OwnDataContract : TaskContract
{
    private protected const int Rows = 120;

    protected override TaskOptions With(TaskOptions options) => options with { Tokenizer = () => SmallTokenizer.Instance, MaxLength = 60, ValidationFraction = 0.2, TestFraction = 0.2 };

    private protected string Write(string name, Func<int, string> line, string header = "") => Folder.Write(name, header + string.Concat(Enumerable.Range(0, Rows).Select(i => line(i) + "\n")));

    private protected static string Label(int row) => row * row % 3 == 1 ? "up" : "down";

    private protected static float[] Numbers(int row, int count)
    {
        var random = new CounterRandom("own", row, 0);
        return [.. Enumerable.Range(0, count).Select(_ => (random.Next(2001) - 1000) / 1000f)];
    }

    private protected static string Joined(IEnumerable<float> numbers) => string.Join(',', numbers.Select(number => number.ToString("R", CultureInfo.InvariantCulture)));

    // The readings behind encoded tokens, step by step.
    private protected float[] Decoded(Batch example)
    {
        float[] Facts(string key) => [.. Spec.Preprocessing[key].Split(' ').Select(number => float.Parse(number, CultureInfo.InvariantCulture))];
        (float[] means, float[] deviations) = (Facts("means"), Facts("deviations"));
        return [.. example.Inputs.ToArray<float>().Select((value, i) => value * deviations[i % means.Length] + means[i % means.Length])];
    }
}

/// <summary>Series of one channel and one length keep every task's promises.</summary>
public class TimeSeriesContract : OwnDataContract
{
    protected internal override string Name => "timeseries";

    // Read back in float32, what was scaled differs in its last bits: the file itself is given.
    protected override void WriteInputs(string path, IDataset examples) =>
        File.WriteAllLines(path, Numbers(examples).Select(number => Joined(Rounded(Decoded(examples.Get([number]))))));

    protected override string MakeData() => Write("series.tsv", i => $"{Label(i)}\t{Joined(Numbers(i, 9)).Replace(',', '\t')}");

    // The series were written with three digits.
    private protected static IEnumerable<float> Rounded(IEnumerable<float> numbers) => numbers.Select(number => (float)Math.Round(number, 3));
}

/// <summary>So do series of two channels and differing lengths.</summary>
public class ChannelsContract : TimeSeriesContract
{
    protected override string MakeData() => Write(
        "series.ts", i => $"{Joined(Numbers(i, 4 + i % 5))}:{Joined(Numbers(1000 + i, 4 + i % 5))}:{Label(i)}", "#made up\n@problemName own\n@timeStamps false\n@classLabel true up down\n@data\n");

    protected override void WriteInputs(string path, IDataset examples) => File.WriteAllLines(path, Numbers(examples).Select(number =>
    {
        float[] steps = [.. Rounded(Decoded(examples.Get([number])))];
        return string.Join(':', Enumerable.Range(0, 2).Select(channel => Joined(steps.Where((_, i) => i % 2 == channel))));
    }));
}

/// <summary>So do numbers as answers.</summary>
public class SeriesWithNumbersContract : TimeSeriesContract
{
    protected override Dictionary<string, string> Settings => new() { ["answer"] = "number" };

    protected override string MakeData() => Write("series.tsv", i => $"{Numbers(i, 1)[0].ToString(CultureInfo.InvariantCulture)}\t{Joined(Numbers(i, 9)).Replace(',', '\t')}");
}

/// <summary>JSON lines of texts keep every task's promises.</summary>
public class JsonTextsContract : OwnDataContract
{
    private static readonly string[] Syllables = ["ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru"];

    protected internal override string Name => "jsonl";

    protected override string MakeData() => Write("texts.jsonl", i => $$"""{"text": "{{Syllables[i % 10]}}{{Syllables[i / 10 % 10]}} {{Syllables[i * 7 / 100 % 10]}}", "label": "{{Label(i)}}"}""");

    protected override string Line(Batch example) => $$"""{"text": "{{SmallTokenizer.Instance.Decode([.. example.Inputs.ToArray<long>().Select(id => (int)id)])}}"}""";
}

/// <summary>JSON lines of ids keep every task's promises.</summary>
public class JsonTokensContract : OwnDataContract
{
    protected internal override string Name => "jsonl";

    protected override string MakeData() => Write("tokens.jsonl", i => $$"""{"tokens": [{{string.Join(", ", Numbers(i, 3 + i % 6).Select(number => (int)(100 + 50 * number)))}}], "label": {{i * i % 3}}}""");

    protected override string Line(Batch example) => $$"""{"tokens": [{{string.Join(", ", example.Inputs.ToArray<long>())}}]}""";
}

/// <summary>JSON lines of series keep every task's promises.</summary>
public class JsonValuesContract : TimeSeriesContract
{
    protected internal override string Name => "jsonl";

    protected override string MakeData() => Write(
        "values.jsonl", i => $$"""{"label": "{{Label(i)}}", "values": [{{string.Join(", ", Enumerable.Range(0, 3 + i % 4).Select(t => $"[{Joined(Numbers(100 * i + t, 2))}]"))}}]}""");

    protected override void WriteInputs(string path, IDataset examples) => File.WriteAllLines(path, Numbers(examples).Select(number =>
        $$"""{"values": [{{string.Join(", ", Rounded(Decoded(examples.Get([number]))).Chunk(2).Select(step => $"[{Joined(step)}]"))}}]}"""));
}

/// <summary>Pictures of IDX files keep every task's promises.</summary>
public class IdxContract : OwnDataContract
{
    private const int Side = 8;

    protected internal override string Name => "idx";

    protected override string MakeData()
    {
        Pictures("train-images-idx3-ubyte", 0, Rows);
        Write("train-labels-idx1-ubyte", [0, 0, 8, 1, 0, 0, 0, Rows, .. Enumerable.Range(0, Rows).Select(i => (byte)(i * i % 3))]);
        return Folder["train-images-idx3-ubyte"];
    }

    // The pixels behind the tokens of patches.
    protected override void WriteInputs(string path, IDataset examples)
    {
        float Fact(string key) => float.Parse(Spec.Preprocessing[key], CultureInfo.InvariantCulture);
        (float mean, float deviation, int patch) = (Fact("means"), Fact("deviations"), (int)Fact("patch"));
        var bytes = new List<byte> { 0, 0, 8, 3, 0, 0, 0, (byte)examples.Count!.Value, 0, 0, 0, Side, 0, 0, 0, Side };
        foreach (long number in Numbers(examples))
        {
            float[] tokens = examples.Get([number]).Inputs.ToArray<float>();
            for (int y = 0; y < Side; y++)
                for (int x = 0; x < Side; x++)
                    bytes.Add((byte)Math.Round(255 * (mean + deviation * tokens[(y / patch * (Side / patch) + x / patch) * patch * patch + y % patch * patch + x % patch])));
        }
        File.WriteAllBytes(path, [.. bytes]);
    }

    private void Pictures(string name, int seed, int count)
    {
        var random = new CounterRandom("pictures", seed, 0);
        Write(name, [0, 0, 8, 3, 0, 0, 0, (byte)count, 0, 0, 0, Side, 0, 0, 0, Side, .. Enumerable.Range(0, count * Side * Side).Select(_ => (byte)random.Next(256))]);
    }

    private void Write(string name, byte[] bytes)
    {
        Folder.Write(name, "");
        File.WriteAllBytes(Folder[name], bytes);
    }
}

/// <summary>Sequences of FASTA files keep every task's promises.</summary>
public class FastaContract : OwnDataContract
{
    private const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ*-";

    protected internal override string Name => "fasta";

    protected override string MakeData() => Write(
        "own.fasta", i => $">p{i} of nobody {Label(i)}\n{string.Concat(Numbers(i, 6 + i % 9).Select(number => Letters[(int)(13 + 12 * number)]))}\n{(i % 2 == 0 ? "acdc" : "GG")}");

    protected override string Line(Batch example) => string.Concat(example.Inputs.ToArray<long>().Select(id => Letters[(int)id - 1]));
}

/// <summary>Pictures in folders keep every task's promises.</summary>
public class ImagesContract : OwnDataContract
{
    private const int Side = 8;

    protected internal override string Name => "images";

    protected override string MakeData()
    {
        var random = new CounterRandom("pictures", 1, 0);
        for (int i = 0; i < Rows; i++)
            TestImages.Write(Folder, Path.Combine("own", Label(i), $"{i:D3}.png"), Side, Side, [.. Enumerable.Range(0, Side * Side * 3).Select(_ => (byte)random.Next(256))]);
        return Folder["own"];
    }

    protected override void WriteInputs(string path, IDataset examples)
    {
        float[] Facts(string key) => [.. Spec.Preprocessing[key].Split(' ').Select(number => float.Parse(number, CultureInfo.InvariantCulture))];
        (float[] means, float[] deviations, int patch) = (Facts("means"), Facts("deviations"), (int)Facts("patch")[0]);
        foreach (long number in Numbers(examples))
        {
            float[] tokens = examples.Get([number]).Inputs.ToArray<float>();
            byte Byte(int y, int x, int c) =>
                (byte)Math.Round(255 * (means[c] + deviations[c] * tokens[((y / patch * (Side / patch) + x / patch) * patch * patch + y % patch * patch + x % patch) * 3 + c]));
            TestImages.Write(Folder, Path.Combine(path, $"{number:D3}.png"), Side, Side, [.. Enumerable.Range(0, Side * Side * 3).Select(i => Byte(i / 3 / Side, i / 3 % Side, i % 3))]);
        }
    }
}

/// <summary>Numbers of a Parquet file keep every task's promises.</summary>
public class ParquetContract : OwnDataContract
{
    protected internal override string Name => "parquet";

    protected override TaskOptions With(TaskOptions options) => base.With(options) with { LabelColumn = "label" };

    protected override string MakeData()
    {
        float[][] rows = [.. Enumerable.Range(0, Rows).Select(row => Numbers(row, 3))];
        TestParquet.Write(
            Folder["own.parquet"], ("a", rows.Select(row => row[0]).ToArray()), ("label", Enumerable.Range(0, Rows).Select(Label).ToArray()),
            ("b", rows.Select(row => (double)row[1]).ToArray()), ("c", rows.Select(row => (int)(1000 * row[2])).ToArray()));
        return Folder["own.parquet"];
    }

    // One number a token: the last column was written in thousands, the others with three digits.
    protected override void WriteInputs(string path, IDataset examples)
    {
        double[][] rows = [.. Numbers(examples).Select(number => Decoded(examples.Get([number])).ToArray())];
        TestParquet.Write(
            path + ".parquet", ("c", rows.Select(row => (long)Math.Round(row[2])).ToArray()), ("a", rows.Select(row => (float)Math.Round(row[0], 3)).ToArray()),
            ("b", rows.Select(row => Math.Round(row[1], 3)).ToArray()));
        File.Move(path + ".parquet", path);
    }

    private new IEnumerable<double> Decoded(Batch example)
    {
        double[] Facts(string key) => [.. Spec.Preprocessing[key].Split(' ').Select(number => double.Parse(number, CultureInfo.InvariantCulture))];
        (double[] means, double[] deviations) = (Facts("means"), Facts("deviations"));
        return example.Inputs.ToArray<float>().Select((value, i) => value * deviations[i] + means[i]);
    }
}

/// <summary>What is read where nobody named the task keeps its promises.</summary>
public class AutoContract : TimeSeriesContract
{
    protected internal override string Name => "auto";

    protected override string MakeData() => Write("series.ts", i => $"{Joined(Numbers(i, 9))}:{Label(i)}", "@data\n");
}
