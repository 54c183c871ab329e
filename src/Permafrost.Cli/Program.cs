using Permafrost.Cli.Terminal;

// A full disk behind a log must not end what is logged.
Console.SetError(new SteadyWriter(Console.Error, told: null));
Console.SetOut(new SteadyWriter(Console.Out, "standard output"));
return Permafrost.Cli.CommandLine.Run(args);
