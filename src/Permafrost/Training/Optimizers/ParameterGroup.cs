namespace Permafrost.Training.Optimizers;

/// <summary>Tensors that are updated under the same settings.</summary>
/// <param name="Parameters">Name and tensor; the names are the keys of the optimiser's saved state.</param>
/// <param name="LearningRateScale">Multiplies the step's learning rate.</param>
/// <param name="WeightDecay">Overrides the optimiser's weight decay where given.</param>
public sealed record ParameterGroup(IReadOnlyList<(string Name, Tensor Tensor)> Parameters, double LearningRateScale = 1, double? WeightDecay = null);
