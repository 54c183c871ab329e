using Permafrost.Tasks;

namespace Permafrost.Tests.Tasks;

/// <summary>Tasks by name and reading.</summary>
public class TaskRegistryTests
{
    [Fact]
    public void Tasks_are_found_by_name_and_reading()
    {
        Assert.Equal(("mnist", ""), Find("mnist"));
        Assert.Equal(("mnist", "paper"), Find("mnist@paper"));
        Assert.Equal(("mnist", ""), Find("mnist@"));
        Assert.Equal(["mnist", "mnist@paper"], TaskRegistry.Names(TaskRegistry.Find("mnist").Task));
    }

    [Theory]
    [InlineData("")]
    [InlineData("MNIST")]
    [InlineData("mnist ")]
    [InlineData("mnist@published")]
    [InlineData("bit-xor@paper")]
    [InlineData("@paper")]
    public void Others_are_refused_with_those_that_exist(string text) => Assert.Contains("there are ", Refusal.OfUsage($"`task` '{text}'", () => TaskRegistry.Find(text)), StringComparison.Ordinal);

    [Fact]
    public void Every_task_describes_itself()
    {
        Assert.Equal(TaskRegistry.All.Count, TaskRegistry.All.Select(task => task.Name).Distinct().Count());
        Assert.All(TaskRegistry.All, task =>
        {
            Assert.True(task.Version >= 1);
            Assert.Matches("^[a-z0-9-]+$", task.Name);
            Assert.DoesNotContain('\n', task.Summary);
            Assert.NotEmpty(task.InputFormat);
            foreach (string heading in new[] { "Input ", "Output ", "Splits " }) Assert.Contains(heading, task.Description, StringComparison.Ordinal);
        });
    }

    [Fact]
    public void Every_task_and_reading_is_held_to_the_contract()
    {
        var held = new HashSet<string>();
        foreach (Type type in typeof(TaskContract).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(TaskContract)) && !type.IsAbstract))
        {
            using var contract = (TaskContract)Activator.CreateInstance(type)!;
            if (contract.Name != "commonest-letter") held.Add(contract.Name);
        }
        Assert.Equal(TaskRegistry.All.SelectMany(TaskRegistry.Names).Order(), held.Order());
    }

    private static (string, string) Find(string text)
    {
        (TaskDefinition task, string reading) = TaskRegistry.Find(text);
        return (task.Name, reading);
    }
}
