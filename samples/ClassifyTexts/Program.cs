// A CSV of texts becomes a saved classifier, on a language-pretrained body. messages.csv holds 80 messages to a shop, made up for this sample, and what each is about.
using Permafrost;

string csv = Path.Combine(AppContext.BaseDirectory, "messages.csv"), folder = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());

var data = Dataset.FromCsv(csv, label: "topic", text: "message");
using SequenceClassifier classifier = await SequenceClassifier.TrainAsync("all-MiniLM-L6-v2", data);
Console.WriteLine($"test accuracy {classifier.Result.Test["accuracy"]:P1}, of {classifier.Result.Test.Count} messages that were held out");
classifier.Save(folder);
using var loaded = SequenceClassifier.Load(folder);
Console.WriteLine(loaded.Predict("the postman gave my order to a stranger"));

Directory.Delete(folder, recursive: true);
