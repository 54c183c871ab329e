using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Tests.Nn;

/// <summary>Lightweight and dynamic convolutions against fairseq's: outputs and every gradient.</summary>
public class TimeConvolutionGoldenTests
{
    private static readonly string[] Light =
    [
        "00_light_k3_h3_p1", "01_light_k3_h3_p2", "02_light_k7_h4_p3", "03_light_k7_h4_p6", "04_light_k7_h16_p6_bias", "05_light_k3_h1_p2", "06_light_k7_h2_p6_nosoftmax_bias",
        "07_light_k7_h2_p6_short", "08_light_k7_h2_p3_short", "09_light_k1_h2_p0", "10_light_bct_k3_h3_p1", "11_light_bct_k7_h4_p3_bias",
    ];

    private static readonly string[] Dynamic =
    [
        "00_dynamic_k3_h3_p1", "01_dynamic_k3_h3_p2", "02_dynamic_k7_h4_p3_bias", "03_dynamic_k7_h4_p6", "04_dynamic_k7_h8_p6_bias", "05_dynamic_k7_h2_p6_nosoftmax",
        "06_dynamic_k7_h2_p6_short", "07_dynamic_k7_h2_p3_short", "08_dynamic_k3_h4_p2_renorm", "09_dynamic_k7_h3_p3_renorm", "10_dynamic_k3_h4_p2_inproj", "11_dynamic_k3_h2_p2_query",
    ];

    public static TheoryData<string, string> Cases()
    {
        var cases = new TheoryData<string, string>();
        foreach (string name in Light) cases.Add("lightconv", name);
        foreach (string name in Dynamic) cases.Add("dynamicconv", name);
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Outputs_and_gradients_are_those_of_fairseq(string fixture, string name)
    {
        using var scope = torch.NewDisposeScope();
        using var expected = new SafetensorsFile(Repository.Fixture(fixture, "expected.safetensors"));
        JsonObject cases = JsonNode.Parse(File.ReadAllText(Repository.Fixture(fixture, "expected.json")))!["cases"]!.AsObject();
        Assert.Equal(fixture == "lightconv" ? Light : Dynamic, cases.Select(pair => pair.Key).Order());
        var about = new HfConfig(cases[name]!.AsObject(), name);
        bool channelsFirst = about.Text("layout", null) == "B,C,T";
        using TimeConvolution layer = fixture == "lightconv" ? Lightweight(about, channelsFirst) : Dynamical(about);
        Dictionary<string, Tensor> inputs = Golden.Case(expected, $"{name}/in."), weights = Golden.Case(expected, $"{name}/param.");
        Dictionary<string, Parameter> parameters = layer.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter);
        Assert.Equal(weights.Keys.Order(), parameters.Keys.Order());
        foreach ((string parameter, Tensor value) in weights) parameters[parameter].Value = value.requires_grad_(true);

        // fairseq's layers take (T, B, C), its example (B, C, T).
        Tensor Turned(Tensor tensor) => channelsFirst ? tensor.transpose(1, 2) : tensor.transpose(0, 1);
        Tensor x = inputs["x"].requires_grad_(true);
        Tensor? query = inputs.TryGetValue("query", out Tensor? asked) ? asked.requires_grad_(true) : null;
        Tensor y = Turned(Segment.Run(
            given => [layer.Forward(given[0]!, new TimeConvolutionInputs(Query: given[1]))], Turned(x).contiguous(), query is null ? null : Turned(query).contiguous())[0]);
        Golden.Forward($"{name}/y", y, expected.Read($"{name}/out.y"));
        Tensor loss = (y * inputs["loss_weight.y"]).sum();
        Golden.Loss($"{name}/loss", loss.detach().Number(), expected.Read($"{name}/out.loss").Number());
        Segment.Backward(loss);
        Dictionary<string, Tensor> gradients = Golden.Case(expected, $"{name}/grad.");
        double largest = gradients.Values.Max(Golden.Largest);
        foreach ((string parameter, Tensor reference) in gradients)
        {
            Tensor? actual = parameter switch { "in.x" => x.grad, "in.query" => query!.grad, _ => parameters[parameter].Value.grad };
            Assert.True(actual is not null, $"{name}: no gradient of {parameter}");
            Golden.Gradient($"{name}/grad.{parameter}", actual, reference, largest);
        }
    }

    private static LightweightConv Lightweight(HfConfig about, bool channelsFirst) => new(
        about.Int("input_size", 0), about.Int("num_heads", 0), new TapWindow(about.Int("kernel_size", 0), about.Flag("causal", false)), alternating: channelsFirst,
        about.Flag("weight_softmax", true), about.Flag("bias", false));

    private static DynamicConv Dynamical(HfConfig about) => new(
        about.Int("input_size", 0), about.Int("num_heads", 0), new TapWindow(about.Int("kernel_size", 0), about.Flag("causal", false)), new DynamicTaps
        {
            Softmax = about.Flag("weight_softmax", true),
            Renormalise = about.Flag("renorm_padding", false),
            Bias = about.Flag("weight_linear_bias", false),
            OutputBias = about.Flag("bias", false),
            ProjectsInputs = about.Flag("in_proj", false),
            QueryWidth = about.OptionalInt("query_size"),
        });
}
