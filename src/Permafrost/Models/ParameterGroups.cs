using System.Text.RegularExpressions;

namespace Permafrost.Models;

/// <summary>The groups that every parameter is in exactly one of.</summary>
public enum GroupName
{
    /// <summary>The new map in front of the backbone.</summary>
    Input,
    /// <summary>The new map behind the backbone.</summary>
    Output,
    /// <summary>Layer norms, gain and bias.</summary>
    Ln,
    /// <summary>Position tables and relative position biases.</summary>
    Pos,
    /// <summary>Self-attention.</summary>
    Attn,
    /// <summary>Feed-forward layers.</summary>
    Ff,
    /// <summary>Token tables, poolers and language-model heads.</summary>
    Embed,
    /// <summary>Encoder-decoder attention.</summary>
    Cross,
    /// <summary>Convolution mixers.</summary>
    Conv,
    /// <summary>Recurrent layers.</summary>
    Recurrent,
}

/// <summary>One line of a model's declaration of groups.</summary>
/// <param name="Pattern">A parameter name; <c>{layer}</c> stands for a layer's number, a trailing <c>*</c> for any rest.</param>
/// <param name="Group">The group of the parameters that match.</param>
/// <param name="FirstLayer">What is added to the layer's number: of a decoder's layers the number of the encoder's, which come first.</param>
public sealed record GroupRule(string Pattern, GroupName Group, int FirstLayer = 0)
{
    private readonly Regex regex = new(
        "^" + Regex.Escape(Pattern).Replace(@"\{layer}", @"(?<layer>\d+)", StringComparison.Ordinal).Replace(@"\*", ".+", StringComparison.Ordinal) + "$");

    /// <summary>Whether a name matches, and the layer's number in it (-1 when there is none).</summary>
    public bool Matches(string name, out int layer)
    {
        Match match = regex.Match(name);
        layer = match.Groups["layer"].Success ? FirstLayer + int.Parse(match.Groups["layer"].ValueSpan) : -1;
        return match.Success;
    }
}
