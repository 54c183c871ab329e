using Permafrost;
using Permafrost.Models;

if (args is not [var name, var library, var folder])
{
    Console.Error.WriteLine("usage: Permafrost.Backbones NAME LIBRARY FOLDER");
    return 2;
}
try
{
    BundledBackbone body = BundledBackbone.Find(name)
        ?? throw new UsageException($"'{name}' is no body that a package carries; there are {string.Join(", ", BundledBackbone.All.Select(known => known.Name))}");
    body.Write(library, folder);
    return 0;
}
catch (PermafrostException error)
{
    Console.Error.WriteLine(error.Message);
    return error.ExitCode;
}
