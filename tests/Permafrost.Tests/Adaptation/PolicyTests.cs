using Permafrost.Adaptation;
using Permafrost.Models;

namespace Permafrost.Tests.Adaptation;

/// <summary>What trains, from what is written after --policy.</summary>
public class PolicyTests
{
    private const int Layers = 4;

    [Theory]
    [InlineData("fpt", "input output ln pos")]
    [InlineData("output", "output")]
    [InlineData("*", "input output ln pos attn ff embed cross conv recurrent")]
    [InlineData("input,output,ln", "input output ln")]
    [InlineData(" input , ff ", "input ff")]
    [InlineData("fpt,attn", "input output ln pos attn")]
    [InlineData("output,*", "input output ln pos attn ff embed cross conv recurrent")]
    [InlineData("ln,ln", "ln")]
    public void Groups_train_in_every_layer_and_outside_them(string text, string groups)
    {
        Policy policy = Policy.Parse(text);
        foreach (GroupName group in Enum.GetValues<GroupName>())
        {
            bool expected = groups.Split(' ').Contains(group.ToString().ToLowerInvariant());
            for (int layer = -1; layer < Layers; layer++) Assert.Equal(expected, policy.Trains(group, layer, Layers));
        }
    }

    [Theory]
    [InlineData("attn[0]", new[] { 0 })]
    [InlineData("attn[-1]", new[] { 3 })]
    [InlineData("attn[-4]", new[] { 0 })]
    [InlineData("attn[1..2]", new[] { 1, 2 })]
    [InlineData("attn[0..3]", new[] { 0, 1, 2, 3 })]
    [InlineData("attn[-2..-1]", new[] { 2, 3 })]
    [InlineData("attn[1..-1]", new[] { 1, 2, 3 })]
    [InlineData("attn[2..2]", new[] { 2 })]
    [InlineData("attn[0],attn[2]", new[] { 0, 2 })]
    [InlineData("output,attn[0],ff", new[] { 0 })]
    public void Layers_are_counted_from_either_end_and_both_ends_are_included(string text, int[] expected)
    {
        Policy policy = Policy.Parse(text);
        policy.CheckLayers(Layers);
        Assert.Equal(expected, Enumerable.Range(-1, Layers + 1).Where(layer => policy.Trains(GroupName.Attn, layer, Layers)));
    }

    [Fact]
    public void A_layers_choice_leaves_out_what_is_in_no_layer()
    {
        Policy policy = Policy.Parse("ln[0..3]");
        Assert.True(policy.Trains(GroupName.Ln, 0, Layers));
        Assert.False(policy.Trains(GroupName.Ln, -1, Layers));  // the final norm
    }

    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData("fpt,")]
    [InlineData(",")]
    [InlineData("norm")]
    [InlineData("layernorm")]
    [InlineData("LN")]
    [InlineData("3")]
    [InlineData("attn[]")]
    [InlineData("attn[x]")]
    [InlineData("attn[1.5]")]
    [InlineData("attn[1:3]")]
    [InlineData("attn[1..]")]
    [InlineData("attn[..3]")]
    [InlineData("attn[1,2]")]
    [InlineData("attn[1")]
    [InlineData("attn 1")]
    [InlineData("*[0]")]
    [InlineData("fpt[0]")]
    [InlineData("attn[0];ff")]
    public void What_is_no_selector_is_refused_with_the_groups(string text) =>
        Assert.Contains(Policy.GroupNames, Refusal.OfUsage($"`policy` '{text}'", () => Policy.Parse(text)), StringComparison.Ordinal);

    [Theory]
    [InlineData("attn[99999999999]")]
    [InlineData("attn[0..99999999999]")]
    [InlineData("attn[-99999999999]")]
    public void Numbers_beyond_all_layers_are_refused(string text) => Refusal.OfUsage($"`policy` '{text}'", () => Policy.Parse(text));

    [Theory]
    [InlineData("attn[4]")]
    [InlineData("attn[-5]")]
    [InlineData("ff[0..4]")]
    [InlineData("ff[2..1]")]
    [InlineData("ff[-1..0]")]
    [InlineData("output,ln[7]")]
    public void Layers_that_the_backbone_does_not_have_are_refused_with_those_it_has(string text)
    {
        Policy policy = Policy.Parse(text);
        Assert.Contains("a backbone of 4 layers (0 to 3, or -4 to -1)", Refusal.OfUsage($"`policy` '{text}'", () => policy.CheckLayers(Layers)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("input[0]")]
    [InlineData("output[-1],ln")]
    [InlineData("ln,input[0..3]")]
    public void Input_and_output_have_no_layers_to_choose_from(string text) => Refusal.OfUsage($"`policy` '{text}'", () => Policy.Parse(text).CheckLayers(Layers));

    [Fact]
    public void A_policy_prints_as_it_was_written_and_every_named_one_parses()
    {
        Assert.Equal("fpt, attn[-1]", Policy.Parse(" fpt, attn[-1] ").ToString());
        Assert.All(Policy.Named, named => Assert.Equal(Policy.Parse(named.Selectors).Selectors, Policy.Parse(named.Name).Selectors));
        Assert.Equal("input, output, ln, pos, attn, ff, embed, cross, conv, recurrent", Policy.GroupNames);
    }
}
