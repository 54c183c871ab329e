using Permafrost.Tasks;
using Permafrost.Tokenizers;

namespace Permafrost.Tests.Tokenizers;

/// <summary>A tokenizer of letters, and data tokenised by it.</summary>
internal static class SmallTokenizer
{
    /// <summary>Cuts texts into letters.</summary>
    public static Tokenizer Instance { get; } = new WordPiece(SmallBert.Vocabulary);

    /// <summary>Texts as data of a task.</summary>
    public static TaskData Data(
        IReadOnlyList<string> labels, IReadOnlyList<LabelledText> train, IReadOnlyList<LabelledText>? validation, IReadOnlyList<LabelledText>? test, int? maxLength = null) =>
        TextTask.Make("a test", new TaskOptions { Tokenizer = () => Instance, MaxLength = maxLength }, labels, train, validation, test);
}
