using Permafrost.Adaptation;
using Permafrost.Formats;
using Permafrost.Models;

namespace Permafrost.Runs;

/// <summary>A run's adapter as one of PEFT's LN_TUNING, which Hugging Face's PEFT loads onto the body without a head (<c>AutoModel</c>).</summary>
/// <param name="Folder">Where it is.</param>
/// <param name="Config">What it says of itself.</param>
/// <param name="Beside">Names of the tensors that PEFT cannot name, which are in a file of their own.</param>
public sealed record PeftExport(string Folder, PeftConfig Config, IReadOnlyList<string> Beside)
{
    /// <summary>Writes a run's adapter.</summary>
    /// <param name="run">A finished run.</param>
    /// <param name="folder">Where to.</param>
    /// <exception cref="PermafrostException">Its body is drawn, so that nobody else has it, or no norm trains, or the folder cannot be written.</exception>
    public static PeftExport Write(Finetuning run, string folder)
    {
        ModelOptions options = run.Options.Model;
        if (options.Init != "pretrained")
            throw new PermafrostException($"the body of this run is drawn (`init` {options.Init}); a PEFT adapter goes onto a body that others can load");
        AdaptedModel model = run.Model;
        AdaptedParameter[] trained = [.. model.Trained.Where(parameter => !IsNew(parameter))];
        IReadOnlyDictionary<string, Tensor> adapter = model.Adapter();
        HashSet<string> broken = [.. model.Frozen.Select(parameter => PeftAdapter.Module(parameter.Name))];
        bool IsModules(AdaptedParameter parameter) =>
            (parameter.Name.EndsWith(".weight", StringComparison.Ordinal) || parameter.Name.EndsWith(".bias", StringComparison.Ordinal))
            && !broken.Contains(PeftAdapter.Module(parameter.Name));
        ILookup<bool?, string> kinds = trained.ToLookup(parameter => IsModules(parameter) ? parameter.Group == GroupName.Ln : (bool?)null, parameter => parameter.Name);
        if (!kinds[true].Any())
            throw new PermafrostException($"`policy` {model.Policy} trains no whole norm here, and PEFT's LN_TUNING is an adapter of norms; there is nothing to export");
        string[] beside = [.. adapter.Keys.Where(name => !kinds[true].Contains(name) && !kinds[false].Contains(name))];
        static string[] Modules(IEnumerable<string> names) => [.. names.Select(PeftAdapter.Module).Distinct()];
        var config = new PeftConfig(options.Backbone, Modules(kinds[true]), Modules(kinds[false]));
        Dictionary<string, Tensor> Named(IEnumerable<string> names) => names.ToDictionary(name => name, name => adapter[name]);
        PeftAdapter.Write(folder, config, Named(kinds[true]), Named(kinds[false]), Named(beside));
        return new PeftExport(folder, config, beside);
    }

    private static bool IsNew(AdaptedParameter parameter) => parameter.Group is GroupName.Input or GroupName.Output;
}
