using System.Text.Json.Nodes;
using Permafrost.Formats;
using Permafrost.Studies;

namespace Permafrost.Cli.Terminal;

/// <summary>A study as an array of jobs on machines that share a folder. Exit code 75 means: again, from the checkpoint.</summary>
internal static class StudyScript
{
    /// <summary>A Slurm array job. Slurm's signal two minutes before the end of a job makes a run save a checkpoint; the job then queues again.</summary>
    /// <param name="plan">What is run.</param>
    /// <param name="parts">How many jobs.</param>
    /// <param name="root">The folder that they share.</param>
    /// <param name="program">The command that starts this program there.</param>
    public static string Slurm(StudyPlan plan, int parts, string root, string program) => $$"""
        #!/usr/bin/env bash
        # {{plan.Study.Name}} at the scale {{plan.Scale}}: {{plan.Runs}} runs in {{parts}} jobs. Start with: sbatch THIS_FILE
        # Afterwards: permafrost study report {{Name(plan)}} --scale {{plan.Scale}} --output-dir {{ShellWord.Quoted(root)}}
        #SBATCH --job-name={{plan.Study.Name}}-{{plan.Scale}}
        #SBATCH --array=1-{{parts}}
        #SBATCH --ntasks=1
        #SBATCH --signal=USR1@120
        #SBATCH --requeue
        #SBATCH --open-mode=append
        #SBATCH --output={{plan.Study.Name}}-{{plan.Scale}}-%a.log
        srun {{program}} study run {{Name(plan)}} --scale {{plan.Scale}} --output-dir {{ShellWord.Quoted(root)}} --index "$SLURM_ARRAY_TASK_ID/{{parts}}" --no-estimate
        code=$?
        # 75: stopped with a checkpoint, to be continued.
        if [ "$code" -eq 75 ]; then scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"; fi
        exit "$code"

        """;

    /// <summary>A Kubernetes Indexed Job. A pod that is evicted, or ends with 75, is started again and goes on from its checkpoint.</summary>
    /// <param name="plan">What is run.</param>
    /// <param name="parts">How many pods.</param>
    /// <param name="root">The folder that they share, an absolute path: the volume is mounted there.</param>
    /// <param name="program">The command that starts this program there.</param>
    /// <exception cref="UsageException">The path is not absolute.</exception>
    public static string Kubernetes(StudyPlan plan, int parts, string root, string program) => root.StartsWith('/') ? Job(plan, parts, root, program)
        : throw new UsageException($"--output-dir {root} is not absolute; pods mount a volume there, so give a path such as /runs");

    private static string Job(StudyPlan plan, int parts, string root, string program) => $$"""
        # {{plan.Study.Name}} at the scale {{plan.Scale}}: {{plan.Runs}} runs in {{parts}} pods. Put your image and your volume in, then: kubectl apply -f THIS_FILE
        apiVersion: batch/v1
        kind: Job
        metadata:
          name: {{Label(plan)}}
        spec:
          completions: {{parts}}
          parallelism: {{parts}}
          completionMode: Indexed
          backoffLimitPerIndex: 2
          podFailurePolicy:
            rules:
              - action: Ignore
                onExitCodes: { containerName: study, operator: In, values: [75, 143] }
              - action: Ignore
                onPodConditions:
                  - type: DisruptionTarget
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 120
              containers:
                - name: study
                  image: permafrost  # yours
                  command: [sh, -c, 'exec "$@" --index $((JOB_COMPLETION_INDEX + 1))/{{parts}}', sh, {{string.Join(", ", Words(plan, root, program).Select(Quoted))}}]
                  volumeMounts:
                    - { name: runs, mountPath: {{Quoted(root)}} }
              volumes:
                - name: runs
                  persistentVolumeClaim: { claimName: permafrost-runs }

        """;

    private static string[] Words(StudyPlan plan, string root, string program) =>
        [.. program.Split(' ', StringSplitOptions.RemoveEmptyEntries), "study", "run", plan.Study.Reference, "--scale", plan.Scale, "--output-dir", root];

    // As JSON, which YAML reads: whatever stands in it.
    private static string Quoted(string word) => JsonValue.Create(word).ToJsonString();

    // As Kubernetes takes names: small letters, digits and dashes, at most 63.
    private static string Label(StudyPlan plan)
    {
        string name = string.Concat($"{plan.Study.Name}-{plan.Scale}".ToLowerInvariant().Select(c => char.IsAsciiLetterOrDigit(c) ? c : '-')).Trim('-');
        return name.Length <= 63 ? name : name[..63].TrimEnd('-');
    }

    private static string Name(StudyPlan plan) => ShellWord.Quoted(plan.Study.Reference);
}
