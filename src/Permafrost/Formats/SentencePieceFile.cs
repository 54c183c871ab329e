using System.Text;
using Google.Protobuf;

namespace Permafrost.Formats;

/// <summary>What a piece is for (sentencepiece_model.proto, SentencePiece.Type).</summary>
internal enum SentencePieceType { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 }

/// <summary>A piece, by its number its id.</summary>
internal readonly record struct SentencePiece(string Text, float Score, SentencePieceType Type);

/// <summary>A SentencePiece model: the fields of its protobuf message (sentencepiece_model.proto, ModelProto) that say how texts are read.</summary>
internal sealed class SentencePieceFile
{
    private const long MostBytes = 1L << 28;
    private const int MostPieces = 1 << 22;

    private readonly string path;

    private SentencePieceFile(string path) => this.path = path;

    /// <summary>The pieces: id 0, 1, ...</summary>
    public List<SentencePiece> Pieces { get; } = [];

    /// <summary>1 Unigram, 2 byte-pair encoding, 3 words, 4 characters.</summary>
    public int ModelType { get; private set; } = 1;

    /// <summary>The ids of the pieces that begin and end a text, and that fill up; negative where there is none.</summary>
    public (int Begin, int End, int Pad) Ids { get; private set; } = (1, 2, -1);

    /// <summary>What unknown pieces are decoded to.</summary>
    public string UnknownSurface { get; private set; } = " \u2047 ";

    /// <summary>Characters that no piece has become pieces of their bytes.</summary>
    public bool ByteFallback { get; private set; }

    /// <summary>The blank that is added stands behind the text.</summary>
    public bool WhitespaceIsSuffix { get; private set; }

    /// <summary>What characters become; empty where they stay.</summary>
    public byte[] CharsMap { get; private set; } = [];

    public bool AddDummyPrefix { get; private set; } = true;

    public bool RemoveExtraWhitespaces { get; private set; } = true;

    public bool EscapeWhitespaces { get; private set; } = true;

    /// <exception cref="PermafrostException">The file is missing, too large, damaged, or no SentencePiece model.</exception>
    public static SentencePieceFile Read(string path)
    {
        try
        {
            byte[] bytes = BoundedFile.Read(path, MostBytes)
                ?? throw new PermafrostException($"{path} is larger than any SentencePiece model is ({MostBytes >> 20:N0} MiB)");
            if (WrongContent.Of(bytes) is { } what) throw new PermafrostException($"{path} is {what}");
            var file = new SentencePieceFile(path);
            file.Model(bytes);
            return file;
        }
        catch (Exception error) when (error is InvalidProtocolBufferException or InvalidOperationException or DecoderFallbackException)
        {
            throw new PermafrostException($"{path} is no SentencePiece model, or is damaged: it is not the protobuf message that such a file holds");
        }
        catch (Exception error) when (ReadFailure.Is(error))
        {
            throw ReadFailure.Of(path, error);
        }
    }

    private void Model(byte[] bytes)
    {
        Fields(bytes, (tag, input) =>
        {
            switch (tag)
            {
                case 1 << 3 | 2:
                    if (Pieces.Count == MostPieces) throw new PermafrostException($"{path} has more than {MostPieces:N0} pieces");
                    Pieces.Add(Piece(input.ReadBytes().ToByteArray()));
                    return true;
                case 2 << 3 | 2:
                    Training(input.ReadBytes().ToByteArray());
                    return true;
                case 3 << 3 | 2:
                    Normalization(input.ReadBytes().ToByteArray());
                    return true;
                default:
                    return false;
            }
        });
        if (Pieces.Count == 0) throw new PermafrostException($"{path} is no SentencePiece model, or is damaged: it has no pieces");
    }

    private static SentencePiece Piece(byte[] bytes)
    {
        (string text, float score, int type) = ("", 0f, (int)SentencePieceType.Normal);
        Fields(bytes, (tag, input) =>
        {
            switch (tag)
            {
                case 1 << 3 | 2:
                    text = Text(input);
                    return true;
                case 2 << 3 | 5:
                    score = input.ReadFloat();
                    return true;
                case 3 << 3:
                    type = input.ReadInt32();
                    return true;
                default:
                    return false;
            }
        });
        return new SentencePiece(text, score, (SentencePieceType)type);
    }

    private void Training(byte[] bytes) => Fields(bytes, (tag, input) =>
    {
        switch (tag)
        {
            case 3 << 3:
                ModelType = input.ReadInt32();
                return true;
            case 24 << 3:
                WhitespaceIsSuffix = input.ReadBool();
                return true;
            case 35 << 3:
                ByteFallback = input.ReadBool();
                return true;
            case 41 << 3:
                Ids = Ids with { Begin = input.ReadInt32() };
                return true;
            case 42 << 3:
                Ids = Ids with { End = input.ReadInt32() };
                return true;
            case 43 << 3:
                Ids = Ids with { Pad = input.ReadInt32() };
                return true;
            case 44 << 3 | 2:
                UnknownSurface = Text(input);
                return true;
            default:
                return false;
        }
    });

    private void Normalization(byte[] bytes) => Fields(bytes, (tag, input) =>
    {
        switch (tag)
        {
            case 2 << 3 | 2:
                CharsMap = input.ReadBytes().ToByteArray();
                return true;
            case 3 << 3:
                AddDummyPrefix = input.ReadBool();
                return true;
            case 4 << 3:
                RemoveExtraWhitespaces = input.ReadBool();
                return true;
            case 5 << 3:
                EscapeWhitespaces = input.ReadBool();
                return true;
            default:
                return false;
        }
    });

    // Field after field; read says whether it knew one. Lengths that a message does not have are refused before anything is allocated for them.
    private static void Fields(byte[] bytes, Func<uint, CodedInputStream, bool> read)
    {
        var input = new CodedInputStream(bytes);
        while (!input.IsAtEnd && input.ReadTag() is var tag)
            if (!read(tag, input)) input.SkipLastField();
    }

    private static string Text(CodedInputStream input) => new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(input.ReadBytes().Span);
}
