using System.Text.RegularExpressions;
using Permafrost.Formats;

namespace Permafrost.Data.Published;

/// <summary>The data sets that can be fetched. Checksums are of files that were seen to be the published ones; where none was, there is none.</summary>
public static partial class PublishedDataSets
{
    /// <summary>What the name of a set of the UCR and UEA archive has before it, such as <c>ucr/FordA</c>.</summary>
    public const string Archive = "ucr/";

    private const string NoLicence = "none stated", Raw = "https://raw.githubusercontent.com";
    private const string Jigsaw = "https://storage.googleapis.com/jigsaw-unintended-bias-in-toxicity-classification";

    /// <summary>Every data set that can be fetched, but those of the UCR and UEA archive, which are many.</summary>
    public static IReadOnlyList<PublishedDataSet> All { get; } =
    [
        new("mnist", "MNIST: 60,000 and 10,000 handwritten digits of 28x28", NoLicence,
        [
            Mnist("train-images-idx3-ubyte.gz", 9912422, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            Mnist("train-labels-idx1-ubyte.gz", 28881, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            Mnist("t10k-images-idx3-ubyte.gz", 1648877, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            Mnist("t10k-labels-idx1-ubyte.gz", 4542, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ]) { Tasks = ["mnist"] },
        new("cifar10", "CIFAR-10: 50,000 and 10,000 photographs of 32x32", NoLicence,
        [
            Packed("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", 170052171, [new("cifar-10-batches-bin/", "cifar-10-batches-bin/")]),
        ]) { Tasks = ["cifar10", "cifar10-lra"] },
        new("listops", "ListOps of Long Range Arena (a packet of 7 GB; the task makes its own)", "Apache-2.0 (its repository)",
        [
            Packed("https://storage.googleapis.com/long-range-arena/lra_release.gz", null,
                [.. new[] { "train", "val", "test" }.Select(split => new ArchivePart($"listops-1000/basic_{split}.tsv", $"basic_{split}.tsv"))]),
        ]),
        new("remote_homology", "TAPE's remote homology, as JSON: 12,312 proteins and 1,195 folds", NoLicence,
        [
            Packed("http://s3.amazonaws.com/songlabdata/proteindata/data_raw_pytorch/remote_homology.tar.gz", null,
                [.. new[] { "train", "valid", "test_fold_holdout", "test_family_holdout", "test_superfamily_holdout" }
                    .Select(split => new ArchivePart($"remote_homology_{split}.json", $"remote_homology_{split}.json"))]),
        ]) { Tasks = ["remote-homology"] },
        new("sst2", "SST-2: sentences of film reviews, and GLUE's phrases of them", NoLicence,
        [
            .. new[] { "train", "dev", "test" }.Select(split =>
                new PublishedFile($"sentence_{split}.tsv", $"{Raw}/clairett/pytorch-sentiment-classification/master/data/SST2/{split}.tsv")),
            Packed("https://dl.fbaipublicfiles.com/glue/data/SST-2.zip", null, [new("SST-2/train.tsv", "phrase_binary_train.txt")]),
        ]) { Tasks = ["sst2"] },
        new("trec", "TREC: 5,452 and 500 questions of 6 and 50 classes", NoLicence,
        [
            Kept("https://cogcomp.seas.upenn.edu/Data/QA/QC/train_5500.label"),
            Kept("https://cogcomp.seas.upenn.edu/Data/QA/QC/TREC_10.label"),
        ]) { Tasks = ["trec"] },
        new("ag_news", "AG News: 120,000 and 7,600 pieces of news in four sections", NoLicence,
        [
            Kept($"{Raw}/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/train.csv"),
            Kept($"{Raw}/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/test.csv", 1857427, "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699"),
        ]) { Tasks = ["ag-news"] },
        new("imdb", "IMDb: 25,000 and 25,000 film reviews", NoLicence,
        [
            Packed("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz", 84125825,
                [.. new[] { "train/neg/", "train/pos/", "test/neg/", "test/pos/" }.Select(part => new ArchivePart($"aclImdb/{part}", $"aclImdb/{part}"))]),
        ]) { Tasks = ["imdb"] },
        new("toxic", "Wikipedia's toxic comments (Jigsaw), as TensorFlow Datasets has them", "CC0, the comments CC BY-SA 3.0",
        [
            Packed($"{Jigsaw}/wikipedia_toxicity_subtypes_v0.3.zip", null, [new("wikidata_train.csv", "train.csv"), new("wikidata_test.csv", "test.csv")]),
        ]) { Tasks = ["wiki-toxic"] },
        new("civil_comments", "Civil Comments: 1,804,874 comments to train on, 97,320 each to validate and test", "CC0",
        [
            Packed($"{Jigsaw}/civil_comments_v1.2.zip", null, [new("civil_comments.csv", "civil_comments.csv")]),
        ]) { Tasks = ["civil-comments"] },
        new("sentiment140", "Sentiment140: 1,600,000 and 498 tweets", NoLicence,
        [
            Packed("http://cs.stanford.edu/people/alecmgo/trainingandtestdata.zip", null,
                [.. new[] { "training.1600000.processed.noemoticon.csv", "testdata.manual.2009.06.14.csv" }.Select(name => new ArchivePart(name, name))]),
        ]) { Tasks = ["sentiment140"] },
        new("cogs", "COGS: sentences and their logical forms, and 21 kinds that are new", "MIT",
        [
            Cogs("train", 4146574, "220b3804b562c0156ee986eff1bdd15c27e52142549362a64f57baf86e304c78"),
            Cogs("dev", 522121, "ab66388a309c7ac1ad210c781a6a0ce12281a9ef24619a12422a752cef61bc21"),
            Cogs("test", 521111, "68f8e51e9f6d9cd22d64efe68dd21d7ea5ba327e9a2359481030161aea757035"),
            Cogs("gen", 5532102, "d013d9eee0bafc153f8decc85f42814ac97260f84964d980e1e2b84577b82361"),
        ]) { Tasks = ["cogs"] },
        new("multinli", "MultiNLI 1.0: 392,702 pairs of sentences to train on", "OANC's, and Creative Commons for fiction",
        [
            Packed("https://cims.nyu.edu/~sbowman/multinli/multinli_1.0.zip", null,
                [.. new[] { "train", "dev_matched", "dev_mismatched" }.Select(split => new ArchivePart($"multinli_1.0_{split}.jsonl", $"multinli_1.0_{split}.jsonl"))]),
        ]) { Tasks = ["multinli"] },
        new("squad", "SQuAD 2.0: questions with paragraphs that answer them, or do not", "CC BY-SA 4.0",
        [
            Kept("https://rajpurkar.github.io/SQuAD-explorer/dataset/train-v2.0.json"),
            Kept("https://rajpurkar.github.io/SQuAD-explorer/dataset/dev-v2.0.json"),
        ]) { Tasks = ["squad"] },
        new("timeseries", "Five sets of the UCR and UEA archive, as sktime has them (any other: ucr/NAME)", "BSD-3-Clause (sktime's repository)",
        [
            Series("GunPoint_TRAIN.ts", 84188, "f842401779fd9800d247d8b33121a1a4643710a19b24917dbdd9a060ca8630d5"),
            Series("GunPoint_TEST.ts", 252305, "79332750788a6227b325b96bd0d70130c8eb707b9731f8d7dec62b7a7d36017e"),
            Series("ArrowHead_TRAIN.ts", 100357, "a83c470aaf611a5f5284377cce27a5fc9f6292bc3d110257b0fd4905ced5ee72"),
            Series("ArrowHead_TEST.ts", 484894, "5417dab42626d41df5e435bb22458c2df40dfad4bcd3b59559bbe72e20e84904"),
            Series("ItalyPowerDemand_TRAIN.ts", 18300, "341269cb7e6cef96846b30e774580beec79addb93848ba360145219115a74b7c"),
            Series("ItalyPowerDemand_TEST.ts", 274054, "26122451f87dd0387ef90b18bc8a86c041371b8a1c068004922b939971247144"),
            Series("BasicMotions_TRAIN.ts", 227790, "8dc43cc6306cb679c888c01e26f91772ac4441a916da43bac8b79734a538b9d6"),
            Series("BasicMotions_TEST.ts", 227713, "79213102bc6fca1a398ad98ce1185dff0208fa3d1465e687f48288946b0ff8dc"),
            Series("JapaneseVowels_TRAIN.ts", 487971, "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"),
            Series("JapaneseVowels_TEST.ts", 649132, "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"),
        ]),
        new("optdigits", "UCI's handwritten digits as columns: 3,823 and 1,797 rows of 64 numbers", "CC BY 4.0 (UCI)",
        [
            Kept("https://archive.ics.uci.edu/ml/machine-learning-databases/optdigits/optdigits.tra"),
            Kept("https://archive.ics.uci.edu/ml/machine-learning-databases/optdigits/optdigits.tes"),
        ]),
    ];

    /// <summary>A data set by its name, by the name of a task that reads it, or, as <c>ucr/NAME</c>, one of the UCR and UEA archive.</summary>
    /// <returns>Null when there is none.</returns>
    /// <exception cref="UsageException">What is behind <c>ucr/</c> cannot be a name.</exception>
    public static PublishedDataSet? Find(string name)
    {
        if (!name.StartsWith(Archive, StringComparison.Ordinal)) return All.FirstOrDefault(set => set.Name == name) ?? All.FirstOrDefault(set => set.Tasks.Contains(name));
        string own = name[Archive.Length..];
        if (!ArchiveName().IsMatch(own)) throw new UsageException($"'{name}': the archive's names have letters and digits, such as {Archive}FordA");
        return new(name, $"{own} of the UCR and UEA archive", NoLicence,
        [
            Packed($"https://www.timeseriesclassification.com/aeon-toolkit/{own}.zip", null,
                [.. new[] { "TRAIN", "TEST" }.Select(split => new ArchivePart($"{own}_{split}.ts", $"{own}_{split}.ts"))]),
        ]);
    }

    private static PublishedFile Kept(string address, long? bytes = null, string? sha256 = null) => new(NameOf(address), address) { Bytes = bytes, Sha256 = sha256 };

    private static PublishedFile Packed(string address, long? bytes, IReadOnlyList<ArchivePart> parts) => new(NameOf(address), address) { Bytes = bytes, Parts = parts };

    private static PublishedFile Mnist(string name, long bytes, string sha256) => Kept($"https://ossci-datasets.s3.amazonaws.com/mnist/{name}", bytes, sha256);

    private static PublishedFile Cogs(string split, long bytes, string sha256) => Kept($"{Raw}/najoungkim/COGS/HEAD/data/{split}.tsv", bytes, sha256);

    private static PublishedFile Series(string name, long bytes, string sha256) =>
        Kept($"{Raw}/sktime/sktime/HEAD/sktime/datasets/data/{name[..name.IndexOf('_', StringComparison.Ordinal)]}/{name}", bytes, sha256);

    private static string NameOf(string address) => address[(address.LastIndexOf('/') + 1)..];

    [GeneratedRegex(@"^[A-Za-z0-9_-]+\z")]
    private static partial Regex ArchiveName();
}
