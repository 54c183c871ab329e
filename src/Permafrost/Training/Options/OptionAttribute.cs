namespace Permafrost.Training.Options;

/// <summary>What it would mean to go on with a training under another value of an option.</summary>
public enum Affects
{
    /// <summary>Another result: it would be another training.</summary>
    Result,
    /// <summary>Only how long it trains, where the learning rate does not depend on that.</summary>
    Length,
    /// <summary>Only where something lies, which is known by its checksum.</summary>
    Place,
    /// <summary>Nothing that is computed.</summary>
    Nothing,
}

/// <summary>
/// Makes a property an option of a run: flag, YAML key, documentation and the check of a resumed run follow from it.
/// Names of options in the help text stand in backticks, as in YAML.
/// </summary>
/// <param name="help">One line.</param>
/// <param name="affects">What another value would change.</param>
[AttributeUsage(AttributeTargets.Property)]
public sealed class OptionAttribute(string help, Affects affects = Affects.Result) : Attribute
{
    /// <summary>One line.</summary>
    public string Help { get; } = help;

    /// <summary>What another value would change.</summary>
    public Affects Affects { get; } = affects;

    /// <summary>The YAML key, where it is not the property's name in snake case.</summary>
    public string? Key { get; init; }
}
