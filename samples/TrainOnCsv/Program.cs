// Train on a CSV, look at the score, save, load and predict. readings.csv holds 24 readings of a sensor a row, made up for this sample, and what the wearer did.
using Permafrost;
using Permafrost.Adaptation;

string folder = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
var data = Dataset.FromCsv(Path.Combine(AppContext.BaseDirectory, "readings.csv"), label: "activity");

// The body is drawn at random here, because a pretrained one is not at hand everywhere; a model folder and Init "pretrained" use one.
using (SequenceClassifier classifier = await SequenceClassifier.TrainAsync("gpt2-tiny", data, new() { Policy = "fpt", Init = "random" }))
{
    Console.WriteLine($"{data.Rows.Count} rows, labels {string.Join(", ", data.Labels)}");
    Console.WriteLine($"test accuracy {classifier.Result.Test["accuracy"]:P1}, of {classifier.Result.Test.Count} rows that were held out");
    foreach ((string rule, double score) in classifier.Result.Baselines) Console.WriteLine($"  baseline {rule}: {score:P1}");
    classifier.Save(folder);
}

using SequenceClassifier loaded = SequenceClassifier.Load(folder);
ClassPrediction prediction = loaded.Predict(data.Rows[0]);
Console.WriteLine($"row 0 is {data.RowLabels[0]}, and the loaded classifier says {prediction}");
Directory.Delete(folder, recursive: true);
