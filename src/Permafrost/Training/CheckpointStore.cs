using Permafrost.Adaptation;
using Permafrost.Training.Optimizers;

namespace Permafrost.Training;

/// <summary>Where a training keeps what it can go on from, and its best weights.</summary>
public interface ICheckpointStore
{
    /// <summary>Puts back what a training goes on from.</summary>
    /// <returns>Its state; null where it begins.</returns>
    TrainerState? Restore(AdaptedModel model, Optimizer optimizer);

    /// <summary>Keeps what the training can go on from. Called between steps.</summary>
    void Save(TrainerState state, AdaptedModel model, Optimizer optimizer);

    /// <summary>Keeps the weights as those of the best validation so far.</summary>
    void SaveBest(TrainerState state, AdaptedModel model);

    /// <summary>Puts the weights of the best validation back.</summary>
    void RestoreBest(AdaptedModel model);
}

/// <summary>Keeps the best weights in memory, and no checkpoints: for trainings that need not outlive the process.</summary>
public sealed class MemoryCheckpoints : ICheckpointStore, IDisposable
{
    private Dictionary<string, Tensor> best = [];

    /// <inheritdoc/>
    public TrainerState? Restore(AdaptedModel model, Optimizer optimizer) => null;

    /// <inheritdoc/>
    public void Save(TrainerState state, AdaptedModel model, Optimizer optimizer) { }

    /// <inheritdoc/>
    public void SaveBest(TrainerState state, AdaptedModel model)
    {
        Dispose();
        using var noGrad = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        best = model.Adapter().ToDictionary(pair => pair.Key, pair => pair.Value.detach().clone().DetachFromDisposeScope());
    }

    /// <inheritdoc/>
    public void RestoreBest(AdaptedModel model) => model.LoadAdapter(best, "the best validation", complete: true);

    /// <summary>Frees the weights.</summary>
    public void Dispose()
    {
        foreach (Tensor tensor in best.Values) tensor.Dispose();
        best = [];
    }
}
