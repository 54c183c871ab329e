return Permafrost.Cli.CommandLine.Run(args);
