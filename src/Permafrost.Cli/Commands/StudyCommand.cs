using System.CommandLine;
using System.Text.Json.Nodes;
using Permafrost.Cli.Figures;
using Permafrost.Cli.Terminal;
using Permafrost.Runs;
using Permafrost.Studies;

namespace Permafrost.Cli.Commands;

internal static class StudyCommand
{
    private static readonly Argument<string> Name = new("NAME") { Description = "a study (`permafrost ls studies`), or a .yaml file" };
    private static readonly Option<string> Root = new("--output-dir")
    {
        Description = "the folder of all studies' runs, which may be shared by any number of processes",
        DefaultValueFactory = _ => Path.Combine("runs", "studies"),
    };

    public static Command Create(StopRequest stop) => new("study", "run the tables of the papers again, with the controls that they lacked")
    {
        RunCommand(stop), Report(), Script(), Collect(),
    };

    private static Option<string> Scale() => new("--scale")
    {
        Description = "smoke (a few updates, to see that it runs), small (made for a laptop and hours) or paper (real checkpoints, a GPU)",
        DefaultValueFactory = _ => "small",
    };

    private static Command RunCommand(StopRequest stop)
    {
        Option<string> scale = Scale();
        var index = new Option<string>("--index") { Description = "only the i-th of n parts, as 3/16: for an array of jobs", HelpName = "i/n", DefaultValueFactory = _ => "1/1" };
        var time = new Option<string?>("--max-time") { Description = "stop after this time, as 30m or 2h, with a checkpoint and exit code 75" };
        var dry = new Option<bool>("--dry-run") { Description = "print what would run, how long it would take, and run nothing" };
        var unmeasured = new Option<bool>("--no-estimate") { Description = "do not time an update of each body and task first" };
        var jobs = new Option<int>("--jobs") { Description = "runs at once, each in a process of its own; results are those of one", HelpName = "N", DefaultValueFactory = _ => 1 };
        Option<bool> json = CommonOptions.Json();
        var command = new Command("run", "run what has not finished yet, then print the table") { Name, scale, Root, index, jobs, time, unmeasured, dry, json };
        command.SetAction(parsed =>
        {
            StudyPlan plan = StudyPlan.Of(StudyCatalog.Find(parsed.GetRequiredValue(Name)), parsed.GetRequiredValue(scale));
            (int part, int parts) = StudyText.Part(parsed.GetRequiredValue(index));
            string root = parsed.GetRequiredValue(Root);
            int processes = parsed.GetValue(jobs) is var many and >= 1 and <= 256 ? many : throw new UsageException("--jobs must be from 1 to 256");
            Output.Note(StudyText.Plan(plan, root, part, parts));
            using IDisposable? timer = parsed.GetValue(time) is { } limit ? StudyText.Timer(limit, stop) : null;
            if (!parsed.GetValue(unmeasured)) Output.Note(StudyText.Estimate(StudyEstimate.Of(plan, root, stop, part, parts)));
            if (parsed.GetValue(dry)) return StudyText.Print(StudyText.Report(plan, root), [], parsed.GetValue(json));
            IReadOnlyList<StudyFailure> failures = StudyText.Run(plan, root, stop, part, parts, processes);
            var report = StudyText.Report(plan, root);
            if (parts == 1) Write(report, plan, root);
            StudyText.Print(report, failures, parsed.GetValue(json));
            return failures.Count == 0 ? 0 : 1;
        });
        return command;
    }

    private static Command Report()
    {
        Option<string> scale = Scale();
        Option<bool> json = CommonOptions.Json();
        var command = new Command("report", "write the table of what has finished: report.html, results.md, results.csv") { Name, scale, Root, json };
        command.SetAction(parsed =>
        {
            StudyPlan plan = StudyPlan.Of(StudyCatalog.Find(parsed.GetRequiredValue(Name)), parsed.GetRequiredValue(scale));
            string root = parsed.GetRequiredValue(Root);
            var report = StudyText.Report(plan, root);
            Write(report, plan, root);
            return StudyText.Print(report, [], parsed.GetValue(json));
        });
        return command;
    }

    private static Command Script()
    {
        Option<string> scale = Scale();
        var slurm = new Option<bool>("--slurm") { Description = "a Slurm array job" };
        var kubernetes = new Option<bool>("--kubernetes") { Description = "a Kubernetes Indexed Job" };
        var jobs = new Option<int>("--jobs") { Description = "into how many jobs it is cut", DefaultValueFactory = _ => 8, HelpName = "N" };
        var program = new Option<string>("--program") { Description = "the command that starts this program there", DefaultValueFactory = _ => "permafrost" };
        var command = new Command("script", "print a study as an array of jobs for a cluster") { Name, scale, Root, slurm, kubernetes, jobs, program };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(slurm) == parsed.GetValue(kubernetes)) throw new UsageException("give either --slurm or --kubernetes");
            StudyPlan plan = StudyPlan.Of(StudyCatalog.Find(parsed.GetRequiredValue(Name)), parsed.GetRequiredValue(scale));
            int parts = Math.Min(parsed.GetValue(jobs), Math.Max(1, plan.Cells.Count(cell => cell.Missing is null)));
            if (parts < 1) throw new UsageException("--jobs must be at least 1");
            (string root, string start) = (parsed.GetRequiredValue(Root), parsed.GetRequiredValue(program));
            Output.Line((parsed.GetValue(slurm) ? StudyScript.Slurm(plan, parts, root, start) : StudyScript.Kubernetes(plan, parts, root, start)).TrimEnd('\n'));
            return 0;
        });
        return command;
    }

    private static Command Collect()
    {
        var from = new Argument<string[]>("FOLDER") { Description = "folders of studies' runs, from other machines", Arity = ArgumentArity.OneOrMore };
        Option<bool> json = CommonOptions.Json();
        var command = new Command("collect", "bring finished runs of other folders into one") { from, Root, json };
        command.SetAction(parsed =>
        {
            int runs = StudyCollection.Into(parsed.GetRequiredValue(Root), parsed.GetRequiredValue(from));
            if (parsed.GetValue(json)) Output.Json(new JsonObject { ["collected"] = runs, ["folder"] = parsed.GetRequiredValue(Root) });
            else Output.Line($"{runs} run(s) collected in {parsed.GetRequiredValue(Root)}");
            return 0;
        });
        return command;
    }

    private static void Write(StudyReport report, StudyPlan plan, string root)
    {
        string folder = Path.Combine(root, $"{plan.Study.Name}-{plan.Scale}");
        report.Write(folder, FigureFiles.ForPage);
        Output.Note($"written: {folder}");
    }
}
