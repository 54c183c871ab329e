using System.CommandLine;

namespace Permafrost.Cli.Commands;

internal static class BenchCommand
{
    public static Command Create() => new("bench", "x");
}
