namespace Permafrost.Pretraining;

/// <summary>All rules of a corpus; they remember which of them spoke of anything.</summary>
internal sealed class HeldOutRules(IReadOnlyList<HeldOut> rules)
{
    private readonly List<HeldOut> unused = [.. rules];

    /// <summary>Whether there are any.</summary>
    public bool Any => rules.Count > 0;

    /// <summary>Whether every rule spoke of something that was seen.</summary>
    public bool AllUsed => unused.Count == 0;

    /// <summary>Notes the rules that speak of a file or of one of its documents.</summary>
    /// <param name="file">The file.</param>
    /// <param name="documents">The names of its documents, which are asked for only where a rule is still unused.</param>
    public void See(CorpusFile file, IEnumerable<string> documents)
    {
        unused.RemoveAll(rule => rule.Matches(file));
        if (AllUsed) return;
        foreach (string name in documents)
            if (unused.RemoveAll(rule => rule.Matches(name)) > 0 && AllUsed) return;
    }

    /// <summary>Whether all of a file is held out, whatever it holds.</summary>
    public bool TakeWhole(CorpusFile file) => rules.Any(rule => rule.Share >= 1 && rule.Matches(file));

    /// <summary>Whether a document is held out.</summary>
    public bool Take(CorpusFile file, CorpusDocument document) => rules.Any(rule => rule.Takes(file, document));

    /// <summary>Refuses a rule that spoke of nothing: misspelt, it would let be trained on what was to be held out.</summary>
    /// <exception cref="UsageException">There is one.</exception>
    public void CheckUsed()
    {
        if (!AllUsed) throw new UsageException($"`held_out` {unused[0].Text} names no file and no document of the data");
    }
}
