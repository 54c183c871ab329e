namespace Permafrost.Runs;

/// <summary>A learning rate that was tried, and what it came to on the rows that were held out.</summary>
/// <param name="LearningRate">The rate.</param>
/// <param name="Step">The update at which the mean over the folds was best.</param>
/// <param name="Score">That mean, of the task's first metric.</param>
/// <param name="Loss">The mean loss there.</param>
public sealed record RunCandidate(double LearningRate, long Step, double Score, double Loss);

/// <summary>How a run's learning rate and length were chosen; part of results.json.</summary>
/// <param name="LearningRate">The rate that was chosen.</param>
/// <param name="Steps">The updates that were chosen; null where the run's own validation ends it.</param>
/// <param name="Rows">Different rows that were held out.</param>
/// <param name="Folds">Trainings for each rate: every row is held out in <paramref name="Rounds"/> of them; 1 where the task's own validation split was taken.</param>
/// <param name="Rounds">Rounds of folds.</param>
/// <param name="Candidates">What was tried.</param>
public sealed record RunChoice(double LearningRate, long? Steps, long Rows, int Folds, int Rounds, IReadOnlyList<RunCandidate> Candidates);
