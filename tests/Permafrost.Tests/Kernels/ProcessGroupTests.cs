using Permafrost.Kernels;

namespace Permafrost.Tests.Kernels;

/// <summary>What tells of several processes, and what one by itself does. Several are tested with the command line.</summary>
public class ProcessGroupTests
{
    [Theory]
    [InlineData("OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=3", "4 3 OMPI_COMM_WORLD_SIZE")]
    [InlineData("PMI_SIZE=2 PMI_RANK=1", "2 1 PMI_SIZE")]
    [InlineData("MV2_COMM_WORLD_SIZE=8", "8 0 MV2_COMM_WORLD_SIZE")]
    [InlineData("SLURM_STEP_NUM_TASKS=16 SLURM_PROCID=5 SLURM_NTASKS=16", "16 5 SLURM_STEP_NUM_TASKS")]
    // Inside a step of srun, mpirun starts one process.
    [InlineData("SLURM_STEP_NUM_TASKS=2 OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0", "1 0 OMPI_COMM_WORLD_SIZE")]
    // A batch script, and a task of an array, are one process whatever the job has been given.
    [InlineData("SLURM_NTASKS=4 SLURM_JOB_ID=7 SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_COUNT=9", "")]
    [InlineData("OMPI_COMM_WORLD_SIZE=many PMI_SIZE=0", "")]
    [InlineData("", "")]
    public void Launchers_tell_how_many_they_started(string environment, string expected)
    {
        Dictionary<string, string> variables = environment.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(pair => pair.Split('=')).ToDictionary(pair => pair[0], pair => pair[1]);
        LaunchedProcesses? found = LaunchedProcesses.Find(name => variables.GetValueOrDefault(name));
        Assert.Equal(expected, found is null ? "" : $"{found.Count} {found.Rank} {found.Variable}");
    }

    [Fact]
    public void A_process_by_itself_exchanges_with_itself()
    {
        Assert.Same(ProcessGroup.Alone, ProcessGroup.Join(null));
        ProcessGroup alone = ProcessGroup.Join(new LaunchedProcesses(1, 0, "OMPI_COMM_WORLD_SIZE"));
        Assert.Same(ProcessGroup.Alone, alone);
        Assert.Equal([2.5], alone.Gather(2.5));
        Assert.Null(alone.FirstUnlike([1, 2, 3]));
        using Tensor tensor = torch.zeros(3);
        tensor.grad = torch.ones(3);
        alone.SumGradients([tensor]);
        Assert.Equal([1f, 1f, 1f], tensor.grad.ToArray<float>());
    }
}
