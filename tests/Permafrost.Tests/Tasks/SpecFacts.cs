using Permafrost.Data;
using Permafrost.Tasks;

namespace Permafrost.Tests.Tasks;

/// <summary>What tests ask of a task whose kind they know.</summary>
internal static class SpecFacts
{
    extension(TaskSpec spec)
    {
        public int? VectorSize => (spec.Input as VectorInput)?.Size;

        public int? Vocabulary => (spec.Input as IdInput)?.Vocabulary;

        public int SequenceLength => spec.Input.Length;

        public int Targets => spec.Output.Answers;

        public int Classes => ((ClassOutput)spec.Output).Classes;

        public IReadOnlyList<string> Labels => ((ClassOutput)spec.Output).Labels;
    }

    extension(TaskDefinition task)
    {
        /// <summary>The inputs of a file that comes in one part.</summary>
        public IDataset ReadInputs(string path, TaskSpec spec, TaskOptions options) => Assert.Single(task.ReadInputs(path, spec, options, 1000));
    }
}
