namespace Permafrost.Torch.Optimizers;

/// <summary>Operators on whole lists of tensors: one call for all parameters of a step.</summary>
internal static class ListOperators
{
    private static readonly Operator MulInPlace = new("aten::_foreach_mul_", "Scalar");
    private static readonly Operator AddScalarInPlace = new("aten::_foreach_add_", "Scalar");
    private static readonly Operator AddListInPlace = new("aten::_foreach_add_", "List");
    private static readonly Operator AddList = new("aten::_foreach_add", "List");
    private static readonly Operator AddcmulInPlace = new("aten::_foreach_addcmul_", "Scalar");
    private static readonly Operator AddcdivInPlace = new("aten::_foreach_addcdiv_", "Scalar");
    private static readonly Operator DivInPlace = new("aten::_foreach_div_", "Scalar");
    private static readonly Operator SqrtList = new("aten::_foreach_sqrt");
    private static readonly Operator NormList = new("aten::_foreach_norm", "Scalar");

    public static void Multiply(Tensor[] tensors, double factor) => MulInPlace.Run(tensors, factor);

    public static void Add(Tensor[] tensors, double number) => AddScalarInPlace.Run(tensors, number);

    public static void Add(Tensor[] tensors, Tensor[] others, double scale) => AddListInPlace.Run(tensors, others, scale);

    public static Tensor[] Plus(Tensor[] tensors, Tensor[] others, double scale) => AddList.CallList(tensors, others, scale);

    public static void AddProduct(Tensor[] tensors, Tensor[] first, Tensor[] second, double scale) => AddcmulInPlace.Run(tensors, first, second, scale);

    public static void AddQuotient(Tensor[] tensors, Tensor[] numerators, Tensor[] denominators, double scale) => AddcdivInPlace.Run(tensors, numerators, denominators, scale);

    public static void Divide(Tensor[] tensors, double number) => DivInPlace.Run(tensors, number);

    public static Tensor[] Sqrt(Tensor[] tensors) => SqrtList.CallList((Argument)tensors);

    public static Tensor[] Norm(Tensor[] tensors, double p) => NormList.CallList(tensors, p);
}
