using System.Globalization;
using System.Text;

namespace Permafrost.Tests.Shared;

/// <summary>Run folders made up for tests that read them, so that nothing has to train.</summary>
public sealed class SampleRun : IDisposable
{
    private readonly string parent = Directory.CreateTempSubdirectory("permafrost-runs-").FullName;

    /// <summary>The folder that holds the runs.</summary>
    public string Parent => parent;

    /// <summary>A path in that folder.</summary>
    public string At(string name) => Path.Combine(parent, name);

    /// <summary>Makes a run of 200 steps; returns its folder.</summary>
    /// <param name="name">The folder's name.</param>
    /// <param name="task">The task's name.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="seed">The seed.</param>
    /// <param name="accuracy">Test accuracy; null for a run that did not finish.</param>
    /// <param name="baselines">The baselines, as the inside of a JSON object.</param>
    /// <param name="command">What command.txt says.</param>
    public string Add(string name, string task = "bit-xor", string policy = "fpt", int seed = 0, double? accuracy = 0.97, string baselines = "\"majority\":0.494,\"linear\":0.503", string command = "permafrost finetune --task bit-xor")
    {
        string folder = At(name);
        Directory.CreateDirectory(folder);
        void Write(string file, string text) => File.WriteAllText(Path.Combine(folder, file), text);
        string Json(string text) => System.Text.Json.JsonSerializer.Serialize(text);
        var metrics = new StringBuilder();
        for (int step = 5; step <= 200; step += 5)
        {
            double loss = 0.7 * Math.Exp(-step / (60.0 + 20 * seed)) + 0.004 * (step % 3);
            metrics.Append(CultureInfo.InvariantCulture, $"{{\"step\":{step},\"time\":1760000000.5,\"train/loss\":{loss},\"train/grad_norm\":{1 + 3 * loss},\"lr\":0.001,\"tokens_per_second\":900,\"data_wait\":0.01}}\n");
            if (step % 50 == 0) metrics.Append(CultureInfo.InvariantCulture, $"{{\"step\":{step},\"time\":1760000001.5,\"eval/loss\":{loss * 1.1},\"eval/accuracy\":{1 - loss / 2}}}\n");
        }
        Write("metrics.jsonl", metrics.ToString());
        Write("config.yaml", $"# a comment\ntask: {task}\ntask_options:\n  length: \"5\"\nbackbone: gpt2-mini\ninit: random\npolicy: {policy}\nlearning_rate: 0.001\nmax_steps: 200\nseed: {seed}\noutput_dir: {folder}\n");
        Write("command.txt", command + "\n");
        Write("env.json", "{\"permafrost\":\"0.1.0\",\"libtorch\":\"1.13.0\",\"cpu\":\"AMD EPYC\",\"memory_bytes\":25276510208,\"variables\":{\"OMP_NUM_THREADS\":\"2\"}}");
        if (accuracy is null) return folder;
        string score = accuracy.Value.ToString(CultureInfo.InvariantCulture);
        Write("results.json", $$"""
            {"task":{{Json(task)}},"task_version":1,"backbone":"gpt2-mini","backbone_sha256":"84","init":"random","policy":{{Json(policy)}},"seed":{{seed}},"steps":200,"learning_rate":0.001,
             "parameters":{"total":16288514,"trained":267778,"trained_percent":1.644,"unused":12865792,"position_rows_used":10},
             "metrics":{"validation":{"accuracy":0.96,"loss":0.1,"count":1000},"test":{"accuracy":{{score}},"loss":0.09,"count":1000} },
             "baselines":{"trivial":{ {{baselines}} },"strong":{} },"frozen_unchanged":true,"seconds":89.9,"tokens_per_second":3559.2,"peak_memory_bytes":339697664}
            """);
        return folder;
    }

    /// <summary>Removes the runs.</summary>
    public void Dispose() => Directory.Delete(parent, recursive: true);
}
