using Permafrost.Data;
using Permafrost.Kernels;
using Permafrost.Tasks;

namespace Permafrost.Tests.Tasks;

/// <summary>The task of samples/OwnTask, which no registry knows, keeps every task's promises.</summary>
public class CommonestLetterContract : TaskContract
{
    protected internal override string Name => "commonest-letter";

    protected override TaskDefinition Task { get; } = new CommonestLetter();

    protected override string Line(Batch example) => string.Concat(example.Inputs.ToArray<long>().Select(id => "abc"[(int)id]));
}
