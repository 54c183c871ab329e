// Three classifiers over one body in memory: what each adds is its trained weights. They train side by side, on threads of their own.
using Permafrost;
using Permafrost.Adaptation;
using Permafrost.Kernels;
using Permafrost.Models;

using var body = FrozenWeights.Load("gpt2-mini", init: "random");
string[] questions = ["rises", "is spiky", "is high"];
SequenceClassifier[] classifiers = await Task.WhenAll(questions.Select((_, question) => SequenceClassifier.TrainAsync(body, Series(question), new() { Patience = 3, MaxSteps = 150 })));

for (int i = 0; i < questions.Length; i++)
    Console.WriteLine($"{questions[i]}: test accuracy {classifiers[i].Result.Test["accuracy"]:P1}, {classifiers[i].Model.Counts.Trained:N0} weights of its own");
Console.WriteLine($"body: {classifiers[0].Model.Counts.Total:N0} weights, SHA-256 {body.Sha256[..12]}..., process {ProcessMemory.Resident >> 20} MiB");

// One series, asked all three questions.
float[] series = [.. Enumerable.Range(0, 16).Select(t => 2 + 0.2f * t)];
foreach ((string question, SequenceClassifier classifier) in questions.Zip(classifiers))
{
    ClassPrediction answer = classifier.Predict(series);
    Console.WriteLine($"a rising, smooth, high series {question}? {answer}");
    classifier.Dispose();
}

// Made-up series of 16 numbers, with yes or no to one of the three questions.
static Dataset Series(int question)
{
    var random = new Random(question);
    (var rows, var labels) = (new List<float[]>(), new List<string>());
    for (int i = 0; i < 200; i++)
    {
        (bool rises, bool spiky, bool high) = (random.Next(2) == 1, random.Next(2) == 1, random.Next(2) == 1);
        rows.Add([.. Enumerable.Range(0, 16).Select(t => (high ? 3 : 0) + (rises ? 0.2f : -0.2f) * t + (spiky ? 1f : 0.1f) * (float)(random.NextDouble() - 0.5) * 4)]);
        labels.Add((question == 0 ? rises : question == 1 ? spiky : high) ? "yes" : "no");
    }
    return Dataset.FromRows(rows, labels);
}
