using Permafrost.Kernels;

namespace Permafrost.Nn;

/// <summary>One pass of an LSTM layer over a batch, and back: what <see cref="LstmRecurrence"/> records.</summary>
internal sealed unsafe class LstmSteps
{
    private readonly long B, T, H;
    private readonly LstmWeights weights;
    private readonly bool reverse;
    private readonly Tensor gates;
    private readonly Tensor activated;  // (B, T, 4 H), or (B, 1, 4 H) where nothing is kept
    private readonly Tensor? gateNormed, gateInverse, cellNormed, cellInverse;
    private readonly byte[]? mask;
    private Tensor? state, cell, factors;

    /// <summary>Makes room.</summary>
    /// <param name="gates">(B, T, 4 H).</param>
    /// <param name="weights">What the state is multiplied with.</param>
    /// <param name="state">(B, H), or null for zeros.</param>
    /// <param name="cell">(B, H), or null for zeros.</param>
    /// <param name="sweep">How the steps are taken.</param>
    /// <param name="keep">Whether <see cref="Backward"/> is to be called.</param>
    public LstmSteps(Tensor gates, LstmWeights weights, Tensor? state, Tensor? cell, LstmSweep sweep, bool keep)
    {
        (B, T, H) = (gates.size(0), gates.size(1), gates.size(2) / 4);
        (this.weights, reverse, Keeps) = (weights, sweep.Reverse, keep);
        this.gates = Dense(gates);
        (this.state, this.cell) = (state is null ? null : Dense(state), cell is null ? null : Dense(cell));
        factors = sweep.Factors is null ? null : Dense(sweep.Factors);
        mask = sweep.Mask?.ToArray<byte>();
        (States, Cells) = (Workspace.Empty([B, T, H]), Workspace.Empty([B, T, H]));
        long steps = keep ? T : 1;
        activated = Workspace.Empty([B, steps, 4 * H]);
        if (weights.Norms is null) return;
        (gateNormed, gateInverse) = (Workspace.Empty([B, steps, 4 * H]), torch.empty(B, steps));
        (cellNormed, cellInverse) = (Workspace.Empty([B, steps, H]), torch.empty(B, steps));
    }

    /// <summary>(B, T, H).</summary>
    public Tensor States { get; }

    /// <summary>(B, T, H).</summary>
    public Tensor Cells { get; }

    /// <summary>Whether what the gradient needs is kept.</summary>
    public bool Keeps { get; }

    /// <summary>What the gradient needs beside states and cells.</summary>
    public IEnumerable<Tensor> Kept => new[] { activated, gateNormed, gateInverse, cellNormed, cellInverse }.OfType<Tensor>();

    /// <summary>Takes what was given from where it is kept until the gradient is computed.</summary>
    public void HoldGiven(Func<Tensor, Tensor> hold) =>
        (state, cell, factors) = (state is null ? null : hold(state), cell is null ? null : hold(cell), factors is null ? null : hold(factors));

    /// <summary>Computes states and cells.</summary>
    public void Forward()
    {
        Tensor matrix = ForProducts(weights.Matrix);
        Tensor h = state is null ? torch.zeros(B, H) : state.clone();
        Places at = Addresses();
        float* hidden = Address(h), x = Address(gates);
        var rows = new LstmRows((int)H, weights.CandidateLast);
        float[] zeros = new float[H];
        fixed (float* none = zeros)
        {
            for (long step = 0; step < T; step++)
            {
                using DisposeScope scope = torch.NewDisposeScope();
                long t = reverse ? T - 1 - step : step;
                Tensor product = h.FusedLinear(matrix, weights.Bias, 4 * H, FusedActivation.None, ScalarType.Float32);
                float* own = Address(product);
                for (long b = 0; b < B; b++)
                {
                    long row = b * T + t, kept = Keeps ? row : b;
                    float* last = hidden + b * H, before = Before(at, b, t, none), y = at.States + row * H, c = at.Cells + row * H;
                    if (mask is not null && mask[row] == 0)
                    {
                        Copy(last, y, H);
                        Copy(before, c, H);
                        continue;
                    }
                    float* made = at.Activated + kept * 4 * H, z = own + b * 4 * H;
                    if (weights.Norms is { } norms) LstmRows.Norm(z, (int)(4 * H), at.GateGain, at.GateBias, norms.Epsilon, at.GateNormed + kept * 4 * H, at.GateInverse + kept);
                    rows.Gates(x + row * 4 * H, z, before, made, c);
                    if (weights.Norms is { } inner) LstmRows.Norm(c, (int)H, at.CellGain, at.CellBias, inner.Epsilon, at.CellNormed + kept * H, at.CellInverse + kept);
                    rows.State(made, c, at.Factors is null ? null : at.Factors + row * H, y);
                    Copy(y, last, H);
                }
                GC.KeepAlive(product);
            }
        }
        GC.KeepAlive(h);
        KeepAlive();
    }

    /// <summary>
    /// The gradients of gates, matrix, bias, starting state and cell, and the norms' gains and biases, in this order; those that are not wanted may be null.
    /// </summary>
    /// <param name="dStates">(B, T, H), or null for zeros.</param>
    /// <param name="dCells">(B, T, H), or null for zeros.</param>
    /// <param name="wants">Which are wanted.</param>
    public Tensor?[] Backward(Tensor? dStates, Tensor? dCells, bool[] wants)
    {
        (dStates, dCells) = (dStates is null ? null : Dense(dStates), dCells is null ? null : Dense(dCells));
        LstmNorms? norms = weights.Norms;
        Tensor dGates = Workspace.Empty([B, T, 4 * H]);
        // What reaches the state's own product: the same as what reaches the gates, unless there is a norm between.
        Tensor dOwn = norms is null ? dGates : Workspace.Empty([B, T, 4 * H]);
        Tensor dState = torch.zeros(B, H), dCell = torch.zeros(B, H), now = torch.empty(B, 4 * H);
        Tensor? dGateGain = Sums(norms?.GateGain), dGateBias = Sums(norms?.GateBias), dCellGain = Sums(norms?.CellGain), dCellBias = Sums(norms?.CellBias);
        Tensor back = Backwards(weights.Matrix);
        Places at = Addresses();
        float* givenStates = Address(dStates), givenCells = Address(dCells), toState = Address(dState), toCell = Address(dCell), toNow = Address(now);
        float* toGates = Address(dGates), toOwn = Address(dOwn);
        var rows = new LstmRows((int)H, weights.CandidateLast);
        float[] zeros = new float[H];
        fixed (float* none = zeros)
        {
            for (long step = T - 1; step >= 0; step--)
            {
                using DisposeScope scope = torch.NewDisposeScope();
                long t = reverse ? T - 1 - step : step;
                for (long b = 0; b < B; b++)
                {
                    long row = b * T + t;
                    float* dh = toState + b * H, dc = toCell + b * H, dz = toNow + b * 4 * H, dx = toGates + row * 4 * H;
                    if (givenStates is not null) LstmRows.Add(givenStates + row * H, dh, (int)H);
                    if (givenCells is not null) LstmRows.Add(givenCells + row * H, dc, (int)H);
                    if (mask is not null && mask[row] == 0)
                    {
                        // State and cell were passed on, and so are their gradients.
                        foreach (nint clear in new[] { (nint)dz, (nint)dx, (nint)(toOwn + row * 4 * H) }) new Span<float>((void*)clear, (int)(4 * H)).Clear();
                        continue;
                    }
                    float* made = at.Activated + row * 4 * H;
                    rows.StateBack(made, at.Cells + row * H, at.Factors is null ? null : at.Factors + row * H, dh, dc, dx);
                    if (norms is not null) LstmRows.NormBack(dc, (int)H, at.CellGain, at.CellNormed + row * H, at.CellInverse[row], dc, Address(dCellGain), Address(dCellBias));
                    rows.GatesBack(made, Before(at, b, t, none), dc, dx);
                    if (norms is null) Copy(dx, dz, 4 * H);
                    else
                    {
                        LstmRows.NormBack(dx, (int)(4 * H), at.GateGain, at.GateNormed + row * 4 * H, at.GateInverse[row], dz, Address(dGateGain), Address(dGateBias));
                        Copy(dz, toOwn + row * 4 * H, 4 * H);
                    }
                    new Span<float>(dh, (int)H).Clear();
                }
                Elementwise.AddTo(dState, now.FusedLinear(back, null, H, FusedActivation.None, ScalarType.Float32));
            }
        }
        KeepAlive();
        GC.KeepAlive(dStates);
        GC.KeepAlive(dCells);
        Tensor products = dOwn.view(B * T, 4 * H);
        // (4 H, B T) (B T, H).
        Tensor? dMatrix = wants[1] ? products.transpose(0, 1).contiguous().FusedLinear(StatesBefore(), null, H, FusedActivation.None, ScalarType.Float32) : null;
        return [dGates, dMatrix, wants[2] ? LinearKernel.ColumnSums(products) : null, dState, dCell, dGateGain, dGateBias, dCellGain, dCellBias];
    }

    // (B T, H): the state that each step began with.
    private Tensor StatesBefore()
    {
        Tensor first = (state ?? torch.zeros(B, H)).unsqueeze(1);
        Tensor others = States.narrow(1, reverse ? 1 : 0, T - 1);
        return torch.cat(reverse ? [others, first] : [first, others], 1).reshape(B * T, H);
    }

    // The weight as the products of a whole sequence read it: put in order (H, 4 H), and widened where nothing multiplies bfloat16, once and not at every step.
    private Tensor ForProducts(Tensor matrix)
    {
        if (matrix.Dimensions == 2) return Elementwise.As(matrix.transpose(0, 1), ScalarType.Float32);
        return KernelSet.MultipliesBFloat16 ? matrix : matrix.Unpack(H, 4 * H);
    }

    // The map from 4 H numbers to H, in the weight's own type.
    private Tensor Backwards(Tensor matrix)
    {
        if (matrix.Dimensions == 2) return Elementwise.As(matrix, ScalarType.Float32);
        Tensor plain = matrix.Unpack(H, 4 * H);
        return KernelSet.MultipliesBFloat16 ? plain.Pack(transposed: true) : plain.transpose(0, 1).contiguous();
    }

    private static Tensor? Sums(Tensor? parameter) => parameter is null ? null : torch.zeros(parameter.shape);

    private static Tensor Dense(Tensor tensor) => tensor.is_contiguous() ? tensor : tensor.contiguous();

    private static float* Address(Tensor? tensor) => tensor is null ? null : (float*)tensor.Address();

    private static void Copy(float* from, float* to, long count) => new Span<float>(from, (int)count).CopyTo(new Span<float>(to, (int)count));

    // Asked for once a pass, since the answer comes from libtorch.
    private struct Places
    {
        public float* Activated, GateNormed, GateInverse, CellNormed, CellInverse, Factors, States, Cells, StartCell, GateGain, GateBias, CellGain, CellBias;
    }

    private Places Addresses() => new()
    {
        Activated = Address(activated),
        GateNormed = Address(gateNormed),
        GateInverse = Address(gateInverse),
        CellNormed = Address(cellNormed),
        CellInverse = Address(cellInverse),
        Factors = Address(factors),
        States = Address(States),
        Cells = Address(Cells),
        StartCell = Address(cell),
        GateGain = Address(weights.Norms?.GateGain),
        GateBias = Address(weights.Norms?.GateBias),
        CellGain = Address(weights.Norms?.CellGain),
        CellBias = Address(weights.Norms?.CellBias),
    };

    // The cell that a step begins with.
    private float* Before(in Places at, long b, long t, float* none)
    {
        long previous = reverse ? t + 1 : t - 1;
        if (previous >= 0 && previous < T) return at.Cells + (b * T + previous) * H;
        return at.StartCell is null ? none : at.StartCell + b * H;
    }

    private void KeepAlive()
    {
        foreach (Tensor? tensor in new[] { gates, state, cell, factors, activated, gateNormed, gateInverse, cellNormed, cellInverse, States, Cells }) GC.KeepAlive(tensor);
        GC.KeepAlive(weights);
    }
}
