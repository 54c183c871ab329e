using System.Security.Cryptography;
using System.Text;
using Permafrost.Kernels;
using Permafrost.Nn;

namespace Permafrost.Models;

/// <summary>What weights are known by.</summary>
public static class WeightHash
{
    /// <summary>SHA-256 over name, type, shape and bytes of a parameter as it is stored.</summary>
    public static byte[] Of(string name, Parameter parameter) => Of(name, parameter.Stored);

    /// <summary>SHA-256 over name, type, shape and bytes of a tensor.</summary>
    public static byte[] Of(string name, Tensor tensor)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{name}\0{tensor.Describe()}\0"));
        tensor.ReadBytes(bytes => hash.AppendData(bytes));
        return hash.GetHashAndReset();
    }

    /// <summary>SHA-256 over the parameters' own hashes, in the order of their names, as lower-case hex.</summary>
    public static string Of(IEnumerable<(string Name, byte[] Hash)> parameters)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((_, byte[] one) in parameters.OrderBy(pair => pair.Name, StringComparer.Ordinal)) hash.AppendData(one);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>SHA-256 over all parameters that have a value, in the order of their names, as lower-case hex.</summary>
    public static string Of(IEnumerable<(string Name, Parameter Parameter)> parameters) =>
        Of(parameters.Where(pair => pair.Parameter.HasValue).Select(pair => (pair.Name, Of(pair.Name, pair.Parameter))));
}
