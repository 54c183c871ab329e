// A training loop of one's own, in TorchSharp: the adapted model is an nn.Module, and its parameters are the trained ones.
// Which of four numbers is the largest? A number is a token.
using Permafrost.Adaptation;
using Permafrost.Models;
using Permafrost.Tasks;

var spec = new TaskSpec(new VectorInput(Size: 1, Length: 4), new ClassOutput(Classes: 4));
using var weights = FrozenWeights.Load("gpt2-tiny", init: "random");
using var model = new AdaptedModel(weights, spec);
Console.WriteLine(model.Counts);

using var optimizer = torch.optim.Adam(model.parameters(), lr: 2e-3);
model.train();
for (int step = 1; step <= 400; step++)
{
    using var scope = torch.NewDisposeScope();
    (Tensor inputs, Tensor targets) = Examples(32);
    Tensor loss = torch.nn.functional.cross_entropy(model.Forward(inputs, mask: null).squeeze(1), targets);
    optimizer.zero_grad();
    loss.backward();
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm: 1);
    optimizer.step();
    if (step % 100 == 0) Console.WriteLine($"step {step}: loss {loss.item<float>():F3}");
}

model.eval();
using (torch.no_grad())
using (torch.NewDisposeScope())
{
    (Tensor inputs, Tensor targets) = Examples(500);
    Console.WriteLine($"accuracy {model.Forward(inputs, mask: null).argmax(-1).squeeze(1).eq(targets).mean([0], type: ScalarType.Float32).item<float>():P1}");
}

static (Tensor Inputs, Tensor Targets) Examples(long count)
{
    Tensor numbers = torch.randn(count, 4);
    return (numbers.unsqueeze(2), numbers.argmax(1));
}
