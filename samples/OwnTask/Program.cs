// A task of one's own, in CommonestLetter.cs: what it feeds, what it asks for, where its examples come from; here it is trained on, and trivial rules are scored beside it.
using Permafrost.Adaptation;
using Permafrost.Models;
using Permafrost.Tasks;
using Permafrost.Tasks.Baselines;
using Permafrost.Training;
using Permafrost.Training.Options;

var task = new CommonestLetter();
using TaskData data = task.Load(new TaskOptions());
using FrozenWeights weights = FrozenWeights.Load("gpt2-tiny", init: "random");
using var model = new AdaptedModel(weights, data.Spec);
var options = new TrainerOptions { Schedule = new ScheduleOptions { MaxSteps = 300 }, Optimizer = new OptimizerOptions { LearningRate = 3e-3 } };
Trainer.Fit(model, new TrainingData(data.Train, data.Validation), options);

Console.WriteLine($"accuracy {Evaluator.Evaluate(model, data.Test!, 100, torch.CPU)["accuracy"]:P1}");
foreach ((string rule, double score) in TrivialBaselines.Measure(data, task)) Console.WriteLine($"  baseline {rule}: {score:P1}");
