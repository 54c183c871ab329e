using Permafrost.Runs;

namespace Permafrost.Tests.Runs;

/// <summary>Runs as YAML: every field survives, and what cannot be is refused with its line.</summary>
public class RunConfigTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose()
    {
        folder.Dispose();
        GC.SuppressFinalize(this);
    }

    // Every field with a value that is not its default: a new field is tested without anyone thinking of it.
    private static RunOptions Other()
    {
        var options = new RunOptions();
        foreach (OptionField field in OptionTable.All)
        {
            object? value = field.Value(options);
            Type type = Nullable.GetUnderlyingType(field.Property.PropertyType) ?? field.Property.PropertyType;
            options = field.With(options,
                field.IsMap ? new Dictionary<string, string> { ["some_name"] = "yes", ["other"] = "1e-4" }
                : type == typeof(string) ? $"* {value} #1: ü"
                : type == typeof(bool) ? !(bool)value!
                : type == typeof(double) ? (double)(value ?? 0.0) + 1e-7 / 3
                : Convert.ChangeType(Convert.ToInt64(value ?? 0) + int.MaxValue / 2, type));
        }
        return options;
    }

    public static TheoryData<string> Configs => [.. Directory.EnumerateFiles(Path.Combine(Repository.Root, "configs"), "*.yaml").Select(path => Path.GetFileName(path)).Order()];

    [Theory]
    [MemberData(nameof(Configs))]
    public void A_config_of_the_repository_is_read_and_names_its_command(string name)
    {
        string path = Path.Combine(Repository.Root, "configs", name);
        Assert.StartsWith($"# ./permafrost finetune --config configs/{name}", File.ReadLines(path).First(), StringComparison.Ordinal);
        RunOptions options = RunConfig.Load(path, new RunOptions());
        if (options.Data.Task.Length == 0) options = options with { Data = options.Data with { Task = "bit-xor" } };
        options.Validate();
    }

    [Fact]
    public void Every_field_survives_the_way_to_YAML_and_back()
    {
        (RunOptions defaults, RunOptions other) = (new RunOptions(), Other());
        Assert.All(OptionTable.All, field => Assert.NotEqual(field.Value(defaults), field.Value(other)));
        RunOptions read = RunConfig.Parse(RunConfig.ToYaml(other, "a header\nof two lines"), "x.yaml", defaults);
        Assert.All(OptionTable.All, field => Assert.Equal(field.Value(other), field.Value(read)));
        // The defaults over other options; entries of maps are added, never taken away.
        read = RunConfig.Parse(RunConfig.ToYaml(defaults, ""), "x.yaml", other);
        Assert.All(OptionTable.All.Where(field => !field.IsMap), field => Assert.Equal(field.Value(defaults), field.Value(read)));
    }

    [Fact]
    public void Keys_without_groups_are_read_as_the_first_versions_wrote_them()
    {
        RunOptions read = RunConfig.Parse("task: mnist\ndata: /somewhere\nbackbone: gpt2\ntask_options:\n  length: 3\nfloors: false\nseed: 4", "x.yaml", new RunOptions());
        Assert.Equal(("mnist", "/somewhere", "gpt2", "3", false, 4), (read.Data.Task, read.Data.Path, read.Model.Backbone, read.Data.TaskOptions["length"], read.Evaluation.Baselines, read.Seed));
        Assert.Equal(read.Data.Path, RunConfig.Parse("data:\n  data: /somewhere", "x.yaml", new RunOptions()).Data.Path);
        Assert.Contains("'model.learning_rate' does not exist", Refused("model:\n  learning_rate: 1"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("plain")]
    [InlineData(" leading and trailing ")]
    [InlineData("colon: space")]
    [InlineData("hash # sign")]
    [InlineData("- dash")]
    [InlineData("*star")]
    [InlineData("&anchor")]
    [InlineData("!tag")]
    [InlineData("%directive")]
    [InlineData("@at")]
    [InlineData("`tick`")]
    [InlineData("{a: b}")]
    [InlineData("[a]")]
    [InlineData("it's \"quoted\"")]
    [InlineData("back\\slash\\n")]
    [InlineData("line\nbreak")]
    [InlineData("carriage\rreturn")]
    [InlineData("tab\tstop")]
    [InlineData("bell\a")]
    [InlineData("ü漢😀")]
    [InlineData("12")]
    [InlineData("1e3")]
    [InlineData("true")]
    [InlineData("No")]
    [InlineData("---")]
    [InlineData("...")]
    [InlineData("? key")]
    [InlineData("| block")]
    [InlineData("next\u0085line")]
    public void Texts_survive_whatever_YAML_would_make_of_them(string text)
    {
        RunOptions options = new() { Model = new() { Backbone = text }, Data = new() { Path = text, TaskOptions = new Dictionary<string, string> { ["k"] = text } } };
        RunOptions read = RunConfig.Parse(RunConfig.ToYaml(options, text), "x.yaml", new RunOptions());
        Assert.Equal((text, text, text), (read.Model.Backbone, read.Data.Path, read.Data.TaskOptions["k"]));
    }

    [Fact]
    public void Given_keys_go_over_the_options_so_far_and_others_stay()
    {
        var start = new RunOptions { Optimizer = new() { LearningRate = 0.5 }, Data = new() { Task = "mnist", TaskOptions = new Dictionary<string, string> { ["a"] = "1" } } };
        RunOptions read = RunConfig.Parse("# only this\nlearning-rate: 1E-2\nmax_steps: 7\ntask_options:\n  b: 2\n", "x.yaml", start);
        Assert.Equal(("mnist", 0.01, 7), (read.Data.Task, read.Optimizer.LearningRate, read.Schedule.MaxSteps));
        Assert.Equal([("a", "1"), ("b", "2")], read.Data.TaskOptions.Select(pair => (pair.Key, pair.Value)).Order());
        Assert.Equal(0.5, start.Optimizer.LearningRate);  // not changed in place
        Assert.Null(RunConfig.Parse("max_steps: null", "x.yaml", read).Schedule.MaxSteps);
        Assert.Null(RunConfig.Parse("max_steps:", "x.yaml", read).Schedule.MaxSteps);
        Assert.Equal(read, RunConfig.Parse("", "x.yaml", read));
        Assert.Equal(read, RunConfig.Parse("# nothing\n", "x.yaml", read));
    }

    [Theory]
    [InlineData("task: mnist\nlearing_rate: 1", "x.yaml:2: the option 'learing_rate' does not exist; did you mean learning_rate?")]
    [InlineData("\n\nmaxsteps: 1", "x.yaml:3: the option 'maxsteps' does not exist; did you mean max_steps?")]
    [InlineData("something_else_entirely: 1", "x.yaml:1: the option 'something_else_entirely' does not exist; the help of `permafrost finetune` lists them")]
    [InlineData("Task: mnist", "x.yaml:1: the option 'Task' does not exist; did you mean task?")]
    public void An_unknown_key_is_refused_with_line_and_suggestion(string yaml, string expected) => Assert.StartsWith(expected, Refused(yaml), StringComparison.Ordinal);

    [Theory]
    [InlineData("learning_rate: fast", "x.yaml:1", "'fast' is not a number")]
    [InlineData("learning_rate: .nan", "x.yaml:1", "is not a number")]
    [InlineData("learning_rate: 1e999", "x.yaml:1", "'1e999' is too large")]
    [InlineData("learning_rate: 1,5", "x.yaml:1", "is not a number")]
    [InlineData("learning_rate:", "x.yaml:1", "learning_rate is empty")]
    [InlineData("task: a\nmax_steps: 1.5", "x.yaml:2", "'1.5' is not a whole number")]
    [InlineData("max_steps: 3000000000", "x.yaml:1", "is too large")]
    [InlineData("seed: 99999999999999999999", "x.yaml:1", "is too large")]
    [InlineData("shuffle: maybe", "x.yaml:1", "'maybe' is not true or false")]
    [InlineData("task: [a, b]", "x.yaml:1", "a single value is needed")]
    [InlineData("task: {a: b}", "x.yaml:1", "'task' has no parts")]
    [InlineData("task_options: 5", "x.yaml:1", "task_options.NAME=VALUE")]
    [InlineData("task_options:\n  length: [5]", "x.yaml:2", "a single value is needed")]
    [InlineData("[a]: b", "x.yaml:1", "a single value is needed")]
    public void A_wrong_value_is_refused_with_its_line(string yaml, string where, string why)
    {
        string message = Refused(yaml);
        Assert.StartsWith(where, message, StringComparison.Ordinal);
        Assert.Contains(why, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("task: a\ntask: b")]
    [InlineData("task_options:\n  a: 1\n  a: 2")]
    [InlineData("task: \"unclosed")]
    [InlineData("task: [unclosed\nbackbone: b")]
    [InlineData("task_options: {unclosed: 1\nbackbone: b")]
    [InlineData("policy: *")]
    [InlineData("policy: *all")]
    [InlineData("task: a\n  backbone: b")]
    [InlineData("{")]
    [InlineData("task: a: b")]
    [InlineData("just a text")]
    [InlineData("- a\n- b")]
    [InlineData("task: a\n---\ntask: b")]
    [InlineData("a\0b: c")]
    public void What_is_no_mapping_in_YAML_is_refused_with_the_file(string yaml) => Refused(yaml);

    [Fact]
    public void Nesting_that_would_break_the_stack_is_refused()
    {
        foreach (string deep in new[] { "[", "{a: ", "- ", "? " }) Refused(string.Concat(Enumerable.Repeat(deep, 20_000)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Whatever_a_slip_of_the_hand_makes_of_a_file_is_read_or_refused(int seed)
    {
        const string Marks = "[]{}:,-#&*!|>'\"%@`?\\\n\t ~<x1";
        var random = new Random(seed);
        string sound = RunConfig.ToYaml(Other() with { Model = Other().Model with { Policy = "fpt" } }, "header");
        (int read, int refused) = (0, 0);
        for (int i = 0; i < 3000; i++)
        {
            string text = sound;
            for (int slips = random.Next(1, 4); slips > 0; slips--)
            {
                int at = random.Next(text.Length);
                string mark = Marks[random.Next(Marks.Length)].ToString();
                text = random.Next(3) switch { 0 => text.Remove(at, 1), 1 => text.Insert(at, mark), _ => text[..at] + mark + text[(at + 1)..] };
            }
            try
            {
                RunConfig.Parse(text, "x.yaml", new RunOptions());
                read++;
            }
            catch (UsageException error)
            {
                Assert.StartsWith("x.yaml", error.Message, StringComparison.Ordinal);
                refused++;
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"seed {seed}, file {i}:\n{text}", error);
            }
        }
        Assert.InRange(read, 100, 2900);
        Assert.InRange(refused, 100, 2900);
    }

    [Fact]
    public void Files_are_read_and_missing_ones_told()
    {
        string path = folder.Write("run.yaml", "task: bit-xor\n");
        Assert.Equal("bit-xor", RunConfig.Load(path, new RunOptions()).Data.Task);
        Refusal.Of(folder["no.yaml"], () => RunConfig.Load(folder["no.yaml"], new RunOptions()));
        Refusal.Of(folder.Path, () => RunConfig.Load(folder.Path, new RunOptions()));
    }

    private static string Refused(string yaml) => Refusal.OfUsage("x.yaml", () => RunConfig.Parse(yaml, "x.yaml", new RunOptions()));
}
