using Permafrost.Cli.Terminal;
using Permafrost.Kernels;



// A full disk behind a log must not end what is logged.
Console.SetError(new SteadyWriter(Console.Error, told: null));
Console.SetOut(new SteadyWriter(Console.Out, "standard output"));
Engine.KeepLibtorchFromSpinning();
return Processes.End(Permafrost.Cli.CommandLine.Run(args));
